# SPDX-License-Identifier: Apache-2.0
"""Ridge regressions of one strength, against the singular values."""

import numpy as np
import pytest

from neucrab_jax.ops import gram


def _targets(n):
  return np.eye(3)[np.arange(n) % 3]


def _problem(shape, rank):
  rng = np.random.default_rng(0)
  n, d = shape
  return rng.standard_normal((n, rank)) @ rng.standard_normal((rank, d))


# Also where Cholesky's rounding would tell, and of fewer directions than that.
@pytest.mark.parametrize('strength', [1e-18, 1e-9, 1e-3, 1.0, 1e4, 1e13, 1e300])
@pytest.mark.parametrize(
  ('shape', 'rank'),
  [((40, 7), 7), ((40, 90), 40), ((40, 20), 5), ((300, 150), 150)],
)
def test_is_the_hat_matrix(shape, rank, strength):
  x = _problem(shape, rank)
  left, singular, _ = np.linalg.svd(x, full_matrices=False)
  values = np.where(np.arange(len(singular)) < rank, singular**2, 0)
  expected = (left * (values / (values + strength))) @ left.T
  hat = gram.Gram(x).hat(strength)
  np.testing.assert_allclose(1 - hat.left, np.diagonal(expected), atol=1e-8)
  targets = _targets(len(x))
  np.testing.assert_allclose(
    hat.predict(targets), expected @ targets, atol=1e-8
  )
  np.testing.assert_allclose(
    hat.log_det, np.sum(np.log1p(values / strength)), rtol=1e-8
  )


def test_knows_its_eigenvalues_sums():
  x = _problem((40, 90), 40)
  values = np.linalg.svd(x, compute_uv=False) ** 2
  products = gram.Gram(x)
  np.testing.assert_allclose(products.trace, values.sum())
  np.testing.assert_allclose(products.energy, np.sum(values**2))


def test_nothing_is_explained_by_zeros():
  hat = gram.Gram(np.zeros((40, 7))).hat(1e-3)
  assert hat.log_det == 0
  np.testing.assert_array_equal(hat.left, 1)
  np.testing.assert_array_equal(hat.predict(_targets(40)), 0)


@pytest.mark.parametrize('scale', [1e-200, 1.0, 1e200])
def test_measures_share_centred_features_in_a_unit_of_their_own(scale):
  x = scale * (5 + _problem((40, 7), 7))
  products = gram.centred(x)
  assert gram.centred(x.copy()) is products
  assert products.hat(0.5) is products.hat(0.5)
  assert products.hat(0.25) is not products.hat(0.5)
  np.testing.assert_allclose(products.x * products.unit, x - x.mean(axis=0))
  assert 0.5 <= np.abs(products.x).max() < 1
