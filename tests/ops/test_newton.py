# SPDX-License-Identifier: Apache-2.0
"""Logistic regression to its optimum, beside SciPy's in f64."""

import numpy as np
import pytest
from scipy import optimize, special

from neucrab_jax.ops import linear, newton

RNG = np.random.default_rng(0)
OPTIONS = {'num_classes': 3, 'max_iterations': 100, 'tolerance': 1e-8}


def make(n, d):
  labels = np.arange(n) % 3
  return RNG.standard_normal((3, d))[labels] + RNG.standard_normal((n, d))


def loss(kernel, bias, x, labels, l2):
  logs = special.log_softmax(x @ kernel + bias, axis=1)
  fit = -logs[np.arange(len(labels)), labels].mean()
  return fit + 0.5 * l2 * np.sum(kernel**2)


def least(x, labels, l2):
  shape = x.shape[1], 3

  def loss_of(parameters):
    kernel, bias = np.split(parameters, [x.shape[1] * 3])
    kernel = kernel.reshape(shape)
    p = special.softmax(x @ kernel + bias, axis=1)
    errors = (p - np.eye(3)[labels]) / len(labels)
    gradient = x.T @ errors + l2 * kernel
    return (
      loss(kernel, bias, x, labels, l2),
      np.append(gradient.ravel(), errors.sum(0)),
    )

  start = np.zeros(shape[0] * 3 + 3)
  options = {'gtol': 1e-9, 'ftol': 1e-16, 'maxiter': 5000, 'maxfun': 9000}
  return optimize.minimize(
    loss_of, start, jac=True, method='L-BFGS-B', options=options
  ).fun


PROBLEMS = {
  'few dimensions': (make(60, 4), 1e-2),
  'more dimensions than examples': (make(30, 50), 1e-2),
  'separable, with hardly a penalty': (make(24, 40), 1e-5),
  'axes of many sizes': (make(60, 6) * 10.0 ** -np.arange(6), 1e-3),
  'an offset': (make(60, 4) + 1e3, 1e-2),
  'columns that say the same': (np.repeat(make(60, 2), 3, axis=1), 1e-3),
  'a column of zeros': (make(60, 4) * [1, 0, 1, 1], 1e-2),
}


@pytest.mark.parametrize('problem', PROBLEMS)
def test_no_loss_is_less(problem):
  x, l2 = PROBLEMS[problem]
  labels = np.arange(len(x)) % 3
  found = newton.fit(x, labels, l2=l2, **OPTIONS)
  assert found.converged
  reached = loss(found.kernel, found.bias, x, labels, l2)
  # The bias takes up an offset, which would cost SciPy digits.
  assert reached <= least(x - x.mean(axis=0), labels, l2) * (1 + 1e-7) + 1e-10


def test_it_is_what_lbfgs_comes_to():
  x, labels = make(60, 4), np.arange(60) % 3
  found = newton.fit(x, labels, l2=0.1, **OPTIONS)
  other = linear.fit(x, labels, l2=0.1, **OPTIONS)
  np.testing.assert_allclose(found.kernel, other.kernel, atol=1e-6)
  np.testing.assert_allclose(
    linear.logits(found, x), linear.logits(other, x), atol=1e-5
  )


def test_features_that_are_all_equal_have_the_shares_of_the_classes():
  labels = np.array([0, 0, 0, 1, 1, 2])
  found = newton.fit(np.ones((6, 2)), labels, l2=0.1, **OPTIONS)
  p = special.softmax(linear.logits(found, np.ones((6, 2))), axis=1)
  np.testing.assert_allclose(p[0], [1 / 2, 1 / 3, 1 / 6], atol=1e-6)


@pytest.mark.parametrize('unit', [2.0**-120, 2.0**-60, 2.0**60])
def test_the_unit_moves_into_the_kernel(unit):
  x, labels = make(60, 4), np.arange(60) % 3
  found = newton.fit(x, labels, l2=0.1, **OPTIONS)
  other = newton.fit(x * unit, labels, l2=0.1 * unit**2, **OPTIONS)
  np.testing.assert_allclose(other.kernel * unit, found.kernel, rtol=1e-9)


def test_it_says_where_it_was_stopped():
  x, labels = make(60, 4), np.arange(60) % 3
  found = newton.fit(x, labels, l2=1e-3, **OPTIONS | {'max_iterations': 2})
  assert not found.converged
  assert found.num_iterations == 2


def test_a_penalty_beyond_f32_leaves_the_bias_alone():
  x, labels = make(60, 4), np.arange(60) % 3
  found = newton.fit(x, labels, l2=1e60, **OPTIONS)
  assert found.converged
  assert np.abs(found.kernel).max() < 1e-59
