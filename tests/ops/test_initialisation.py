# SPDX-License-Identifier: Apache-2.0
import jax
import numpy as np
import pytest
from sklearn import datasets, mixture

from neucrab_jax.ops import gmm
from tests.ops.clusters import make_features

NUM_SEEDS = 10


def _digits():
  pixels = datasets.load_digits().data[:600].astype('f4')
  # Some pixels are always black: a variance of zero decides everything there.
  noise = np.random.default_rng(0).normal(size=pixels.shape)
  return (pixels + noise).astype('f4')


DATA = {
  'overlapping': lambda: make_features(0)[0],
  'separated': lambda: make_features(1, spread=6, classes=12)[0],
  'digits': _digits,
}


@pytest.mark.slow
@pytest.mark.parametrize('name', DATA)
def test_log_likelihood_is_as_good_as_from_scikit_learns_k_means(name):
  x = DATA[name]()
  keys = jax.random.split(jax.random.key(0), NUM_SEEDS)
  mixtures = gmm.fit_many(keys, x, num_components=20)
  ours = np.mean(mixtures.log_likelihoods[:, -1])
  # The same least variance, lest one of them wins by collapsing further.
  floor = 1e-6 * x.var(0).mean()
  theirs = [
    mixture.GaussianMixture(
      20, covariance_type='diag', random_state=seed, reg_covar=floor
    )
    .fit(np.float64(x))
    .lower_bound_
    for seed in range(NUM_SEEDS)
  ]
  assert ours >= np.mean(theirs) - np.std(theirs)
