# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from sklearn import linear_model

from neucrab_jax.ops import float64, linear

# Strong enough that the optimum is well conditioned, weak enough to fit.
L2 = 1e-2


def _oracle(x, y, weights=None):
  total = len(x) if weights is None else weights.sum()
  return linear_model.LogisticRegression(
    C=1 / (L2 * total), tol=1e-9, max_iter=5000
  ).fit(np.float64(x), y, weights)


def test_is_scikit_learn(features):
  x, y = features
  found = linear.fit(x, y, num_classes=6, l2=L2)
  oracle = _oracle(x, y)
  np.testing.assert_allclose(found.kernel, oracle.coef_.T, atol=2e-3)
  np.testing.assert_allclose(
    linear.logits(found, x), oracle.decision_function(x), atol=1e-2
  )
  assert bool(found.converged)


def test_predicts_as_scikit_learn(features):
  x, y = features
  found = linear.fit(x, y, num_classes=6, l2=L2)
  agreement = linear.predict(found, x) == _oracle(x, y).predict(x)
  assert np.mean(agreement) > 0.995


def test_several_splits_are_each_split(features):
  x, y = features
  splits = np.stack([np.arange(len(x)) % 3 != i for i in range(3)])
  found = linear.fit(x, y, num_classes=6, l2=L2, example_weights=splits)
  for kernel, split in zip(found.kernel, splits, strict=True):
    oracle = _oracle(x[split], y[split])
    np.testing.assert_allclose(kernel, oracle.coef_.T, atol=5e-3)


def test_an_offset_changes_nothing_but_the_bias(features):
  x, y = features
  moved = linear.fit(x + np.float32(100), y, num_classes=6, l2=L2)
  found = linear.fit(x, y, num_classes=6, l2=L2)
  np.testing.assert_allclose(moved.kernel, found.kernel, atol=2e-3)


def test_blocks_do_not_show(features, monkeypatch):
  x, y = features
  splits = np.stack([np.arange(len(x)) % 3 != i for i in range(2)])
  options = {'num_classes': 6, 'l2': L2, 'example_weights': splits}
  whole = linear.fit(x, y, **options)
  monkeypatch.setattr(float64, '_BLOCK_ELEMENTS', 70 * x.shape[1])
  parts = linear.fit(x, y, **options)
  np.testing.assert_allclose(parts.kernel, whole.kernel, atol=2e-3)


@pytest.mark.parametrize('scale', [1e-3, 1e3])
def test_converges_at_any_scale(features, scale):
  x, y = features
  found = linear.fit(x * np.float32(scale), y, num_classes=6, l2=L2 * scale**2)
  plain = linear.fit(x, y, num_classes=6, l2=L2)
  np.testing.assert_allclose(found.kernel * scale, plain.kernel, atol=2e-3)


def test_a_class_without_examples_is_never_predicted(features):
  x, y = features
  found = linear.fit(x, y, num_classes=8, l2=L2)
  assert np.isfinite(found.kernel).all()
  assert (linear.predict(found, x) < 6).all()


@pytest.mark.usefixtures('unchecked_shapes')
def test_refuses_labels_of_another_length(features):
  x, y = features
  with pytest.raises(ValueError, match='600'):
    linear.fit(x, y[:-1], num_classes=6)
