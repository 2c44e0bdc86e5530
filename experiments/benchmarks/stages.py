# SPDX-License-Identifier: Apache-2.0
"""Where the time of NLEEP goes, beside what the machine could do.

    python -m experiments.benchmarks.stages

prints three tables. The first is the cold start of `kernels`' 16 checkpoints:
the seconds of importing, compiling and of each stage without its compilation.
The second is `kernels`' NLEEP of 5,000×2,048, warm: each stage's seconds
(median of five), floating-point operations per second, and their share of the
machine's matmul ceiling. The third is the same of `kernels`' k-means.
Operations are those of the mathematics, so padding counts as time lost; stages
without a count are not made of matmuls.
"""

import functools
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import jax
import numpy as np
import scipy.linalg
from rich import console, table

from experiments.benchmarks import peers, works
from neucrab_jax.ops import em, gmm, kmeans, leep, pca, seeding, standardise

_REPEATS = 5
_ENERGY = 0.8
_COLD_COMPONENTS, _COLD_CLASSES = 100, 20
_COMPONENTS, _CLASSES = 500, 100

# The events of JAX that make up a compilation.
_COMPILATION = '/jax/core/compile/'

# Elements of the array whose copying shows what the memory can do: 256 MiB.
_COPIED = 1 << 26


def _fit(z: jax.Array, num_components: int) -> gmm.GMM:
  return gmm.fit(jax.random.key(0), z, num_components=num_components)


def profile_cold() -> dict[str, float]:
  """Seconds of each stage of 16 checkpoints, the first of this process."""
  compiling = 0.0

  def listen(event: str, seconds: float, **unused):
    nonlocal compiling
    if event.startswith(_COMPILATION):
      compiling += seconds

  jax.monitoring.register_event_duration_secs_listener(listen)
  start = time.perf_counter()
  subprocess.run(
    [sys.executable, '-c', 'from neucrab_jax.ops import leep, pca'], check=True
  )
  seconds = {'Python and imports': time.perf_counter() - start}

  def timed(stage: str, function: Callable):
    compiled, start = compiling, time.perf_counter()
    result = jax.block_until_ready(function())
    spent = time.perf_counter() - start - (compiling - compiled)
    seconds[stage] = seconds.get(stage, 0.0) + spent
    return result

  for x, y in works.make_data('nleep_16_checkpoints'):
    z = timed('PCA', lambda x=x: pca.transform(pca.fit(x, energy=_ENERGY), x))
    mixture = timed('mixture', lambda z=z: _fit(z, _COLD_COMPONENTS))
    timed(
      'score',
      lambda m=mixture, z=z, y=y: (
        leep.leep(m, z, y, num_classes=_COLD_CLASSES),
        gmm.log_likelihood(m, z),
      ),
    )
  return {**seconds, 'compilation': compiling}


def _median(function: Callable) -> tuple[float, object]:
  """Seconds of a call that has been made before, and its result."""
  result = jax.block_until_ready(function())
  seconds = []
  for _ in range(_REPEATS):
    start = time.perf_counter()
    jax.block_until_ready(function())
    seconds.append(time.perf_counter() - start)
  return statistics.median(seconds), result


def _profile_kmeans(x, weights, num_dims: int, k: int):
  """Seconds and operations of its stages on placed examples; centroids."""
  noise = seeding.draw_noise(
    jax.random.key(0), num_examples=weights.size, num_clusters=k
  )
  seed = jax.jit(functools.partial(seeding.seed, num_clusters=k))
  seconds, centroids = _median(lambda: seed(noise, x, weights, num_dims))
  stages = {'k-means: seeding': (seconds, None)}
  lloyd = jax.jit(
    functools.partial(
      kmeans.lloyd,
      max_iterations=gmm.KMEANS_ITERATIONS,
      tolerance=kmeans.TOLERANCE,
    )
  )
  seconds, (centroids, passes) = _median(
    lambda: lloyd(x, weights, centroids, num_dims)
  )
  operations = int(passes) * 2 * weights.size * k * num_dims
  stages[f'k-means: {int(passes)} iterations'] = seconds, operations
  return stages, centroids


def profile_kmeans() -> dict[str, tuple[float, float | None]]:
  """As `profile_warm`, of `kernels`' k-means."""
  x, k = works.make_data('kmeans_20000x200_1000'), 1000
  seconds, placed = _median(lambda: standardise.place(x, None, k, None))
  stages, _ = _profile_kmeans(placed.x, placed.weights, x.shape[1], k)
  return {'placing': (seconds, None), **stages}


def profile_warm() -> dict[str, tuple[float, float | None]]:
  """Seconds and floating-point operations of each stage of one NLEEP."""
  ((x, y),) = works.make_data('nleep_5000x2048_500')
  (n, d), k = x.shape, _COMPONENTS
  centred = x - x.mean(0)
  gram = centred.T @ centred

  def reduce():
    with pca.one_lapack_thread():
      return scipy.linalg.lapack.ssytrd(gram.T, lower=1, lwork=64 * d)

  stages = {
    'PCA: Gram matrix': (_median(lambda: centred.T @ centred)[0], n * d**2),
    'PCA: to tridiagonal form': (_median(reduce)[0], 4 / 3 * d**3),
  }
  whole, projection = _median(lambda: pca.fit(x, energy=_ENERGY))
  rest = whole - sum(seconds for seconds, _ in stages.values())
  stages['PCA: the rest'] = rest, None
  seconds, z = _median(lambda: pca.transform(projection, x))
  kept = z.shape[1]
  stages['projection'] = seconds, 2 * n * d * kept

  placed = standardise.place(z, None, k, None)
  x = placed.x
  data = em.make_data(x, placed.weights, np.arange(x.shape[-1]) < kept, 'diag')
  found, centroids = _profile_kmeans(x, placed.weights, kept, k)
  stages |= found

  @jax.jit
  def run(centroids):
    return em.run(
      data, em.start(data, centroids), max_iterations=100, tolerance=1e-3
    )

  seconds, (_, iterations, *_) = _median(lambda: run(centroids))
  iterations = int(iterations)
  per_pass = 2 * n * k * (2 * kept + 1)
  stages[f'EM: {iterations} iterations'] = seconds, iterations * 2 * per_pass
  mixture = _fit(z, k)
  score = functools.partial(leep.leep, mixture, z, y, num_classes=_CLASSES)
  stages['score'] = _median(score)[0], 2 * per_pass
  return stages


def measure_ceilings() -> tuple[float, float]:
  """Operations per second of a matmul, bytes per second of a copy."""
  data = works.make_data('ceiling')
  multiply, _ = peers.prepare('ceiling', 'ours', data)
  source = np.ones(_COPIED, np.float32)
  target = np.empty_like(source)
  return (
    works.ceiling_flops() / _median(multiply)[0],
    2 * source.nbytes / _median(lambda: np.copyto(target, source))[0],
  )


def main():
  printer = console.Console(highlight=False)
  rows = table.Table('16 checkpoints, cold', 's')
  cold = profile_cold()
  for stage, seconds in cold.items():
    rows.add_row(stage, f'{seconds:.2f}')
  rows.add_row('all', f'{sum(cold.values()):.2f}')
  printer.print(rows)
  flops, bandwidth = measure_ceilings()
  for title, stages in {
    'NLEEP of 5,000×2,048, warm': profile_warm(),
    'k-means of 20,000×200, K = 1,000, warm': profile_kmeans(),
  }.items():
    rows = table.Table(title, 's', 'GFLOP/s', 'of ceiling')
    for stage, (seconds, operations) in stages.items():
      speed = ['', '']
      if operations is not None:
        speed = [
          f'{operations / seconds / 1e9:.0f}',
          f'{operations / seconds / flops:.0%}',
        ]
      rows.add_row(stage, f'{seconds:.3f}', *speed)
    total = sum(seconds for seconds, _ in stages.values())
    rows.add_row('all', f'{total:.3f}')
    printer.print(rows)
  printer.print(
    f'Ceilings: matmul {flops / 1e9:.0f} GFLOP/s, '
    f'copying {bandwidth / 1e9:.1f} GB/s'
  )


if __name__ == '__main__':
  main()
