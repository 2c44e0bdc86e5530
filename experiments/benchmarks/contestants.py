# SPDX-License-Identifier: Apache-2.0
"""One contestant at one piece of work, for `kernels`: a process of its own.

python -m experiments.benchmarks.contestants WORK CONTESTANT REPEATS OUT
"""

import json
import pathlib
import resource
import sys
import time
import warnings

import numpy as np

GROWTH = {'N': (5000, 10000, 20000), 'K': (250, 500, 1000)}

# What EM does: work to N, D, K and iterations.
EM = {
  'em_5000x128_500': (5000, 128, 500, 10),
  'em_20000x200_1000': (20000, 200, 1000, 3),
  'memory_200000x128_2000': (200000, 128, 2000, 1),
  **{f'growth_N_{n}': (n, 128, 500, 5) for n in GROWTH['N']},
  **{f'growth_K_{k}': (10000, 128, k, 5) for k in GROWTH['K']},
}

# How far the classes of `_features` are apart, in standard deviations: near
# enough that NLEEP does not saturate at zero.
_SEPARATION = 0.45

# Sides of the matrices whose product shows what the machine can do.
_CEILING_SIDE = 2048

_EM = ('ours', 'scikit-learn f64', 'scikit-learn f32', 'gmmx')
# Our least variance as a share of the data's; the others get it as reg_covar.
_FLOOR = 1e-6

_PAIR = ('ours', 'scikit-learn f64')

# Work: its contestants.
WORKS = {
  'ceiling': ('ours',),
  'em_5000x128_500': _EM,
  'em_20000x200_1000': _EM,
  'nleep_5000x2048_500': _PAIR,
  'nleep_16_checkpoints': _PAIR,
  'kmeans_20000x200_1000': ('ours', 'faiss', 'scikit-learn f32'),
  'pca_5000x2048': ('ours', 'scikit-learn f64', 'scikit-learn f32'),
  'pca_1500x2048': ('ours', 'scikit-learn f64', 'scikit-learn f32'),
  'seeds_apart': ('ours',),
  'seeds_together': ('ours',),
  'memory_200000x128_2000': ('ours',),
  **{f'growth_{a}_{size}': ('ours',) for a, v in GROWTH.items() for size in v},
}


def _mixture(n, d, clusters, seed=0):
  """Examples of overlapping clusters, and their labels."""
  rng = np.random.default_rng(seed)
  labels = rng.integers(clusters, size=n)
  centres = rng.normal(size=(clusters, d)).astype('f4')
  noise = rng.normal(size=(n, d)).astype('f4')
  return centres[labels] + noise, labels


def _features(n, d, classes, seed=0):
  """Like a network's: a decaying spectrum, classes apart, a constant offset."""
  rng = np.random.default_rng(seed)
  labels = rng.integers(classes, size=n)
  scales = (1 + np.arange(d)) ** -0.5
  centres = _SEPARATION * rng.normal(size=(classes, d))
  hidden = centres[labels] + rng.normal(size=(n, d))
  rotation = np.linalg.qr(rng.normal(size=(d, d)))[0]
  return ((hidden * scales) @ rotation + 0.5).astype('f4'), labels


def _start(x, means):
  """Weights and variances of the examples nearest to each mean, and floor."""
  from sklearn import metrics

  k = len(means)
  nearest = metrics.pairwise_distances_argmin(x, means)
  mass = np.bincount(nearest, minlength=k).astype('f4')
  variances = np.stack([x[nearest == i].var(0) for i in range(k)])
  floor = _FLOOR * x.var(0).mean()
  return mass / len(x), np.maximum(variances, floor), float(floor)


def _em(contestant, x, k, iterations):
  means = x[:k]
  if contestant == 'ours':
    import jax

    from neucrab_jax.ops import gmm

    def fit():
      return gmm.fit(
        jax.random.key(0),
        x,
        initial_means=means,
        max_iterations=iterations,
        tolerance=0,
      )

    def score(mixture):
      return {'log-likelihood': float(gmm.log_likelihood(mixture, x))}

    return lambda: jax.block_until_ready(fit()), score
  weights, variances, floor = _start(x, means)
  if contestant == 'gmmx':
    return _gmmx(x, means, weights, variances, floor, iterations)
  from sklearn import mixture

  dtype = 'f8' if contestant.endswith('f64') else 'f4'
  x = x.astype(dtype)

  def fit_scikit():
    return mixture.GaussianMixture(
      k,
      covariance_type='diag',
      means_init=x[:k],
      weights_init=weights.astype(dtype),
      precisions_init=(1 / variances).astype(dtype),
      max_iter=iterations,
      tol=0,
      reg_covar=floor,
      init_params='random_from_data',
    ).fit(x)

  return fit_scikit, lambda model: {'log-likelihood': model.score(x)}


def _gmmx(x, means, weights, variances, floor, iterations):
  import gmmx
  import jax
  import jax.numpy as jnp

  model = gmmx.GaussianMixtureModelJax.from_squeezed(
    means=jnp.asarray(means),
    covariances=jnp.asarray(variances),
    weights=jnp.asarray(weights),
    covariance_type='diag',
  )
  fitter = gmmx.EMFitter(tol=0, max_iter=iterations, reg_covar=floor)

  def fit():
    return jax.block_until_ready(fitter.fit(x=jnp.asarray(x), gmm=model))

  def score(result):
    return {'log-likelihood': float(result.log_likelihood)}

  return fit, score


def _nleep(contestant, checkpoints, k, classes):
  if contestant == 'ours':
    import jax

    from neucrab_jax.ops import gmm, leep, pca

    def run():
      scores = []
      for x, y in checkpoints:
        z = pca.transform(pca.fit(x), x)
        mixture = gmm.fit(jax.random.key(0), z, num_components=k)
        score = leep.leep(mixture, z, y, num_classes=classes)
        scores.append((float(score), float(gmm.log_likelihood(mixture, z))))
      return scores

  else:
    from sklearn import decomposition, mixture

    def run():
      scores = []
      for x, y in checkpoints:
        x = x.astype('f8')
        z = decomposition.PCA(0.8, svd_solver='full').fit_transform(x)
        model = mixture.GaussianMixture(
          k, covariance_type='diag', random_state=0
        ).fit(z)
        r = model.predict_proba(z)
        joint = np.stack([r[y == c].sum(0) for c in range(classes)])
        mass = joint.sum(0)
        p = (joint / np.where(mass > 0, mass, 1))[y]
        score = np.log((p * r).sum(1)).mean()
        scores.append((score, model.score(z)))
      return scores

  def found(scores):
    nleep, log_likelihood = np.mean(scores, axis=0)
    return {'NLEEP': nleep, 'log-likelihood': log_likelihood}

  return run, found


def _kmeans(contestant, x, k, iterations=25):
  if contestant == 'ours':
    import jax

    from neucrab_jax.ops import kmeans

    def fit():
      return jax.block_until_ready(
        kmeans.fit(
          jax.random.key(0), x, num_clusters=k, max_iterations=iterations
        )
      )

    return fit, lambda found: {'inertia': float(found.inertia)}
  if contestant == 'faiss':
    import faiss

    def fit_faiss():
      model = faiss.Kmeans(x.shape[1], k, niter=iterations, seed=1)
      model.train(x)
      return model

    def inertia(model):
      return {'inertia': float(model.index.search(x, 1)[0].sum())}

    return fit_faiss, inertia
  from sklearn import cluster

  model = cluster.KMeans(k, n_init=1, max_iter=iterations, random_state=0)
  return lambda: model.fit(x), lambda model: {'inertia': model.inertia_}


def _pca(contestant, x):
  if contestant == 'ours':
    import jax

    from neucrab_jax.ops import pca

    def kept(projection):
      return {'dimensions': projection.components.shape[1]}

    return lambda: jax.block_until_ready(pca.fit(x)), kept
  from sklearn import decomposition

  x = x.astype('f8' if contestant.endswith('f64') else 'f4')
  model = decomposition.PCA(0.8, svd_solver='full')
  return lambda: model.fit(x), lambda model: {'dimensions': model.n_components_}


def _seeds(x, k, together):
  import jax

  from neucrab_jax.ops import gmm

  keys = jax.random.split(jax.random.key(0), 5)

  def fit():
    if together:
      fitted = [gmm.fit_many(keys, x, num_components=k)]
    else:
      fitted = [gmm.fit(key, x, num_components=k) for key in keys]
    return jax.block_until_ready(fitted)

  def found(fitted):
    last = [mixture.log_likelihoods[..., -1].mean() for mixture in fitted]
    return {'log-likelihood': float(np.mean(last))}

  return fit, found


def _ceiling(x):
  """The matmul that all of the kernels are made of, at its best."""
  import jax

  from neucrab_jax.ops import blocks

  multiply = jax.jit(
    lambda x: jax.numpy.matmul(x, x, precision=blocks.PRECISION)
  )
  x = jax.device_put(x)
  return lambda: multiply(x).block_until_ready(), lambda _: {}


def ceiling_flops() -> float:
  """Of the work 'ceiling'."""
  return 2 * _CEILING_SIDE**3


def em_flops(work: str) -> float:
  """Of the matmuls in a work of `EM`, those of its start included."""
  n, d, k, iterations = EM[work]
  return 2 * n * k * (d + iterations * 2 * (2 * d + 1))


def make_data(work: str):
  """The same for all contestants, and not in the time of any."""
  if work == 'ceiling':
    side = _CEILING_SIDE
    return np.random.default_rng(0).normal(size=(side, side)).astype('f4')
  if work in EM:
    n, d, _, _ = EM[work]
    return _mixture(n, d, 100)[0]
  if work == 'nleep_5000x2048_500':
    return [_features(5000, 2048, 100)]
  if work == 'nleep_16_checkpoints':
    dims = np.linspace(512, 2048, 16).astype(int)
    return [_features(2000, d, 20, seed=d) for d in dims]
  if work == 'kmeans_20000x200_1000':
    return _mixture(20000, 200, 300)[0]
  if work.startswith('pca'):
    n = int(work.split('_')[1].split('x')[0])
    return _features(n, 2048, 100)[0]
  return _mixture(5000, 128, 50)[0]


def prepare(work: str, contestant: str, data):
  """The function to time, and the one that says what it found."""
  if work == 'ceiling':
    return _ceiling(data)
  if work in EM:
    _, _, k, iterations = EM[work]
    return _em(contestant, data, k, iterations)
  if work == 'nleep_5000x2048_500':
    return _nleep(contestant, data, 500, 100)
  if work == 'nleep_16_checkpoints':
    return _nleep(contestant, data, 100, 20)
  if work.startswith('kmeans'):
    return _kmeans(contestant, data, 1000)
  if work.startswith('pca'):
    return _pca(contestant, data)
  return _seeds(data, 500, work == 'seeds_together')


def _peak_mb() -> float:
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  return peak / (2**20 if sys.platform == 'darwin' else 2**10)


def _timed(function):
  started = time.perf_counter()
  result = function()
  return time.perf_counter() - started, result


def main():
  work, contestant, repeats, out = sys.argv[1:]
  warnings.simplefilter('ignore')
  data = make_data(work)
  started = time.perf_counter()
  run, found = prepare(work, contestant, data)
  before = _peak_mb()
  first, result = _timed(run)
  cold = time.perf_counter() - started
  peak = _peak_mb()
  warm = [_timed(run)[0] for _ in range(int(repeats))] or [first]
  record = {
    'cold_seconds': cold,  # with imports
    'first_seconds': first,
    'warm_seconds': float(np.median(warm)),
    'peak_mb': peak,
    'peak_mb_before': before,
    'found': {k: float(v) for k, v in found(result).items()},
  }
  pathlib.Path(out).write_text(json.dumps(record))


if __name__ == '__main__':
  main()
