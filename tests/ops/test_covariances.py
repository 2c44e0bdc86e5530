# SPDX-License-Identifier: Apache-2.0
import jax
import numpy as np
import pytest
from sklearn import mixture
from sklearn.mixture import _gaussian_mixture

from neucrab_jax.ops import covariances, gmm, leep

KEY = jax.random.key(0)


# All of them are made: a gain near the tolerance would leave it to rounding
# which iteration is the last.
ITERATIONS = 6


def _correlated(n=1200, d=12, k=5):
  rng = np.random.default_rng(0)
  mixing = np.eye(d) + 0.3 * rng.normal(size=(d, d))
  centres = 3 * rng.normal(size=(k, d))
  x = centres[rng.integers(k, size=n)] + rng.normal(size=(n, d)) @ mixing
  return x.astype('f4')


def _oracle(x, means, kind):
  """scikit-learn's EM in f64 from the examples nearest to each mean."""
  x, means, k = np.float64(x), np.float64(means), len(means)
  nearest = ((x[:, None] - means) ** 2).sum(-1).argmin(1)
  # Ours adds the floor to the diagonal for `full` and clamps for the others,
  # which these data never need.
  raised = covariances.VARIANCE_FLOOR * x.var(0).mean() * (kind == 'full')
  mass, _, start = _gaussian_mixture._estimate_gaussian_parameters(
    x, np.eye(k)[nearest], raised, kind
  )
  matrices = kind in ('tied', 'full')
  return mixture.GaussianMixture(
    k,
    covariance_type=kind,
    means_init=means,
    weights_init=mass / mass.sum(),
    precisions_init=np.linalg.inv(start) if matrices else 1 / start,
    reg_covar=raised,
    max_iter=ITERATIONS,
    tol=0,
    init_params='random_from_data',
  ).fit(x)


@pytest.mark.filterwarnings('ignore:.*did not converge')
@pytest.mark.parametrize('kind', covariances.KINDS)
def test_is_scikit_learn(kind):
  x = _correlated()
  fitted = gmm.fit(
    KEY,
    x,
    initial_means=x[:5],
    covariance=kind,
    max_iterations=ITERATIONS,
    tolerance=0,
  )
  oracle = _oracle(x, x[:5], kind)
  assert fitted.variances.shape == oracle.covariances_.shape
  np.testing.assert_allclose(fitted.variances, oracle.covariances_, atol=2e-3)
  np.testing.assert_allclose(
    gmm.responsibilities(fitted, x), oracle.predict_proba(x), atol=1e-4
  )
  assert gmm.log_likelihood(fitted, x) == pytest.approx(
    oracle.score(np.float64(x)), abs=1e-3
  )


@pytest.mark.parametrize('kind', ['tied', 'full'])
def test_few_examples_a_component_give_no_nan(kind):
  x = _correlated(n=40)
  fitted = gmm.fit(KEY, x, num_components=20, covariance=kind)
  score = leep.leep(fitted, x, np.arange(40) % 3, num_classes=3)
  leaves = jax.tree.leaves((fitted, score))
  assert all(np.isfinite(leaf).all() for leaf in leaves)


@pytest.mark.parametrize('kind', ['spherical', 'full'])
def test_scale_changes_nothing(kind):
  x = _correlated(n=200)
  y = np.arange(200) % 4
  scores = []
  for factor in (1e-3, 1, 1e3):
    scaled = x * np.float32(factor)
    fitted = gmm.fit(KEY, scaled, initial_means=scaled[:5], covariance=kind)
    scores.append(leep.leep(fitted, scaled, y, num_classes=4))
  np.testing.assert_allclose(scores, scores[1], atol=1e-4)


def test_many_seeds_of_full_matrices():
  x = _correlated(n=200)
  keys = jax.random.split(KEY, 2)
  many = gmm.fit_many(keys, x, num_components=4, covariance='full')
  assert many.variances.shape == (2, 4, 12, 12)
  assert leep.leep(many, x, np.arange(200) % 3, num_classes=3).shape == (2,)


def test_unknown_kind_lists_the_known_ones():
  with pytest.raises(ValueError, match='diag, spherical, tied, full'):
    gmm.fit(KEY, _correlated(), num_components=2, covariance='banded')
