# SPDX-License-Identifier: Apache-2.0
"""One peer at one piece of work, for `kernels`: a process of its own.

python -m experiments.benchmarks.peers WORK PEER REPEATS OUT
"""

import json
import pathlib
import resource
import sys
import time
import warnings

import numpy as np

from experiments.benchmarks import works

_EM = ('ours', 'scikit-learn f64', 'scikit-learn f32', 'gmmx')
# Our least variance as a share of the data's; the others get it as reg_covar.
_FLOOR = 1e-6

_PAIR = ('ours', 'scikit-learn f64')

# Work: its peers.
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
  **{
    f'growth_{a}_{size}': ('ours',)
    for a, v in works.GROWTH.items()
    for size in v
  },
}


def _start(x, means):
  """Weights and variances of the examples nearest to each mean, and floor."""
  from sklearn import metrics

  k = len(means)
  nearest = metrics.pairwise_distances_argmin(x, means)
  mass = np.bincount(nearest, minlength=k).astype('f4')
  variances = np.stack([x[nearest == i].var(0) for i in range(k)])
  floor = _FLOOR * x.var(0).mean()
  return mass / len(x), np.maximum(variances, floor), float(floor)


def _em(peer, x, k, iterations):
  means = x[:k]
  if peer == 'ours':
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
  if peer == 'gmmx':
    return _gmmx(x, means, weights, variances, floor, iterations)
  from sklearn import mixture

  dtype = 'f8' if peer.endswith('f64') else 'f4'
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


def _nleep(peer, checkpoints, k, classes):
  if peer == 'ours':
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


def _kmeans(peer, x, k, iterations=25):
  if peer == 'ours':
    import jax

    from neucrab_jax.ops import kmeans

    def fit():
      return jax.block_until_ready(
        kmeans.fit(
          jax.random.key(0), x, num_clusters=k, max_iterations=iterations
        )
      )

    return fit, lambda found: {'inertia': float(found.inertia)}
  if peer == 'faiss':
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


def _pca(peer, x):
  if peer == 'ours':
    import jax

    from neucrab_jax.ops import pca

    def kept(projection):
      return {'dimensions': projection.components.shape[1]}

    return lambda: jax.block_until_ready(pca.fit(x)), kept
  from sklearn import decomposition

  x = x.astype('f8' if peer.endswith('f64') else 'f4')
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


def prepare(work: str, peer: str, data):
  """The function to time, and the one that says what it found."""
  if work == 'ceiling':
    return _ceiling(data)
  if work in works.EM:
    _, _, k, iterations = works.EM[work]
    return _em(peer, data, k, iterations)
  if work == 'nleep_5000x2048_500':
    return _nleep(peer, data, 500, 100)
  if work == 'nleep_16_checkpoints':
    return _nleep(peer, data, 100, 20)
  if work.startswith('kmeans'):
    return _kmeans(peer, data, 1000)
  if work.startswith('pca'):
    return _pca(peer, data)
  return _seeds(data, 500, work == 'seeds_together')


def _peak_mb() -> float:
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  return peak / (2**20 if sys.platform == 'darwin' else 2**10)


def _timed(function):
  started = time.perf_counter()
  result = function()
  return time.perf_counter() - started, result


def main():
  work, peer, repeats, out = sys.argv[1:]
  warnings.simplefilter('ignore')
  data = works.make_data(work)
  started = time.perf_counter()
  run, found = prepare(work, peer, data)
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
