# SPDX-License-Identifier: Apache-2.0
"""What goes around a compiler's present choice, and whether it still pays.

    python -m experiments.benchmarks.workarounds [--repeats=20]

Times each workaround beside the plain operation that it stands for, both
jitted, in turns, on what a network or a kernel gives it: medians of `--repeats`
calls. One that gains nothing with the jaxlib of the day can go, with its line
here. They run on a CPU alone, and are to be timed on one that is idle.
"""

import argparse
import functools
import statistics
import time
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import jaxlib
import numpy as np

from neucrab_jax.models import depthwise, pooling, slim
from neucrab_jax.models.pytorch import activations
from neucrab_jax.ops import blocks, distances

# Less than this to gain, and the plain operation is the better one to read.
_WORTH_IT = 1.1

_ROW = '{:46} {:>9} {:>9} {:>7}  {}'
_CONV = {
  'dimension_numbers': ('NHWC', 'HWIO', 'NHWC'),
  'precision': slim.PRECISION,
}


def _plain_conv(x, kernel, stride=1):
  return jax.lax.conv_general_dilated(
    x, kernel, (stride, stride), 'SAME', **_CONV
  )


def _convolve(x, kernel, stride=1):
  return slim.convolve(x, kernel, (stride, stride), 'SAME', **_CONV)


def _gated(relu):
  """A depthwise convolution, a gate by its means, and a 1×1 convolution."""

  def apply(x, kernel, matrix):
    y = relu(depthwise.shifted(x, kernel, stride=1))
    gate = jnp.clip(jnp.mean(y, (1, 2), keepdims=True), 0, 1)
    return jnp.matmul(y * gate, matrix, precision=slim.PRECISION)

  return apply


def _plain_nearest(x, centroids):
  product = jnp.matmul(x, centroids.T, precision=blocks.PRECISION)
  partial = jnp.sum(centroids**2, axis=1) - 2 * product
  best = jnp.min(partial, axis=1) + jnp.sum(x**2, axis=1)
  return jnp.argmin(partial, axis=1), jnp.maximum(best, 0)


# Name: the workaround, the plain operation, and the shapes of both's arguments.
WORKAROUNDS: dict[str, tuple[Callable, Callable, tuple]] = {
  'slim: a convolution with a row more': (
    _convolve, _plain_conv, ((4, 35, 35, 48), (5, 5, 48, 64)),
  ),
  'winograd: 3×3 with fewer products': (
    _convolve, _plain_conv, ((4, 14, 14, 256), (3, 3, 256, 256)),
  ),
  'slim: a kernel larger than the map': (
    _convolve, _plain_conv, ((4, 1, 1, 512), (3, 3, 512, 512)),
  ),
  'slim: a 1×1 convolution by a matmul': (
    _convolve, _plain_conv, ((4, 28, 28, 256), (1, 1, 256, 128)),
  ),
  'slim: a colour more than there are': (
    functools.partial(_convolve, stride=2),
    functools.partial(_plain_conv, stride=2),
    ((4, 224, 224, 3), (3, 3, 3, 32)),
  ),
  'activations: a choice, not a maximum': (
    _gated(activations.relu),
    _gated(nn.relu),
    ((4, 28, 28, 120), (5, 5, 120, 1), (120, 40)),
  ),
  'depthwise: shifted multiply-adds': (
    functools.partial(depthwise.shifted, stride=1),
    functools.partial(depthwise.grouped, stride=1),
    ((4, 56, 56, 64), (3, 3, 64, 1)),
  ),
  'pooling: the maximum of shifted maps': (
    lambda x: pooling.max_pool(x, 3, 1),
    lambda x: nn.max_pool(x, (3, 3), padding='SAME'),
    ((4, 28, 28, 256),),
  ),
  'pooling: the mean of shifted maps': (
    lambda x: pooling.average_pool(x, 3),
    lambda x: nn.avg_pool(x, (3, 3), padding='SAME', count_include_pad=False),
    ((4, 28, 28, 256),),
  ),
  'pooling: the mean of a map by its parts': (
    pooling.global_average,
    lambda x: jnp.mean(x, axis=(1, 2)),
    ((4, 56, 56, 144),),
  ),
  'distances: the nearest without an argmin': (
    lambda x, y: distances.nearest(x, y, x.shape[1]),
    _plain_nearest,
    ((4096, 64), (500, 64)),
  ),
}  # fmt: skip


def measure(name: str, repeats: int) -> tuple[float, float]:
  """Median seconds with the workaround, and without it."""
  *functions, shapes = WORKAROUNDS[name]
  rng = np.random.default_rng(0)
  arguments = jax.device_put(
    [rng.standard_normal(shape, np.float32) for shape in shapes]
  )
  jitted = [jax.jit(function) for function in functions]
  seconds = [[], []]
  # The first turn waits for compilations.
  for turn in range(repeats + 1):
    for taken, function in zip(seconds, jitted, strict=True):
      start = time.perf_counter()
      jax.block_until_ready(function(*arguments))
      if turn:
        taken.append(time.perf_counter() - start)
  with_it, without = map(statistics.median, seconds)
  return with_it, without


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--repeats', type=int, default=20)
  arguments = parser.parse_args()
  print(f'jaxlib {jaxlib.__version__}, {jax.default_backend()}')
  print(_ROW.format('workaround', 'with, ms', 'without', 'gain', ''))
  for name in WORKAROUNDS:
    with_it, without = measure(name, arguments.repeats)
    gain = without / with_it
    print(
      _ROW.format(
        name,
        f'{1e3 * with_it:.2f}',
        f'{1e3 * without:.2f}',
        f'{gain:.1f}×',
        '' if gain > _WORTH_IT else 'can go',
      ),
      flush=True,
    )


if __name__ == '__main__':
  main()
