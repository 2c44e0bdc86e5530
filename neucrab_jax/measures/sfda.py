# SPDX-License-Identifier: Apache-2.0
"""SFDA: Fisher discriminants on features that challenge themselves.

Axes: N examples, D features, C classes.
"""

import numpy as np
import scipy.linalg
from jaxtyping import Float, Int
from scipy import special

from neucrab_jax.measures import measure
from neucrab_jax.ops import float64
from neucrab_jax.typing import Array

# Of the authors' code: how fast shrinkage falls with the largest within-class
# variance, its least value, and pairs of steps that find that variance.
_DECAY = 5.0
_SMALLEST_SHRINKAGE = 1e-10
_POWER_STEPS = 3

# Of the shrinkage, to see what the score owes to it.
_STEP = 1e-4


def _unit(v: np.ndarray) -> np.ndarray:
  # By the largest first, so that no square overflows.
  largest = np.abs(v).max()
  v = v / (largest if largest > 0 else 1)
  norm = np.linalg.norm(v)
  return v / (norm if norm > 0 else 1)


def _shrinkage(x: np.ndarray, labels: np.ndarray) -> tuple[float, np.ndarray]:
  """From the largest within-class variance in the features as given.

  The authors start from the row sums of the covariance, which a rotation
  changes, and so do the few steps that follow.

  Returns:
    The shrinkage, and its influence function, [N].
  """
  centred = x - float64.class_means(x, labels)[labels]

  def times(v):  # S v
    return (centred @ v) @ centred / len(x)

  previous = v = times(np.ones(x.shape[1]))
  for _ in range(_POWER_STEPS):
    previous = _unit(times(v))
    v = _unit(times(previous))
  largest = v @ times(previous)
  shrinkage = float(np.exp(-_DECAY * largest))
  if shrinkage < _SMALLEST_SHRINKAGE:
    return _SMALLEST_SHRINKAGE, np.zeros(len(x))
  return shrinkage, -_DECAY * shrinkage * ((centred @ v) ** 2 - largest)


class _Analysis:
  """A linear discriminant analysis, and what its examples' weights change.

  Attributes:
    posterior: P(c | x_i), [N, C].
  """

  def __init__(self, x, labels, shrinkage, num_dims):
    n = len(x)
    self._x, self._labels, self._shrinkage = x, labels, shrinkage
    self._num_dims = num_dims
    self._shares = np.bincount(labels) / n
    self._means = float64.class_means(x, labels)
    self._centred = x - self._means[labels]
    within = self._centred.T @ self._centred / n
    trace = np.trace(within)
    # Rounding keeps it invertible where nothing varies within a class.
    ridge = max(shrinkage * trace / num_dims, np.finfo(float).eps * trace) or 1
    self._within = within
    shrunk = (1 - shrinkage) * within + ridge * np.eye(x.shape[1])
    self._factor = scipy.linalg.cho_factor(shrunk, check_finite=False)
    self._kernel = self._solve(self._means.T)  # [D, C]
    bias = -0.5 * np.sum(self._means.T * self._kernel, axis=0)
    logits = x @ self._kernel + bias + np.log(self._shares)
    self.posterior = special.softmax(logits, axis=1)

  def _solve(self, b: np.ndarray) -> np.ndarray:
    return scipy.linalg.cho_solve(self._factor, b, check_finite=False)

  def pull_back(self, slopes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Derivatives of a mean over examples, from those by the posterior.

    Args:
      slopes: [N, C], N times the derivative by each posterior.

    Returns:
      N times the derivatives by the weights of the examples, [N], and by the
      examples themselves, [N, D].
    """
    n, labels, kernel = len(self._x), self._labels, self._kernel
    p = self.posterior
    logits = p * (slopes - np.sum(p * slopes, axis=1, keepdims=True))
    bias = logits.mean(axis=0)
    by_kernel = self._x.T @ logits / n - 0.5 * bias * self._means.T
    solved = self._solve(by_kernel)
    means = (solved - 0.5 * bias * kernel).T  # [C, D]
    shrunk = -0.5 * (solved @ kernel.T + kernel @ solved.T)
    within = (1 - self._shrinkage) * shrunk
    within += np.eye(len(shrunk)) * (
      self._shrinkage * np.trace(shrunk) / self._num_dims
    )
    turned = self._centred @ within
    shares = self._shares[labels]
    weights = np.sum(turned * self._centred, axis=1)
    weights += np.sum(means[labels] * self._centred, axis=1) / shares
    weights += bias[labels] / shares
    x = logits @ kernel.T + 2 * turned + means[labels] / shares[:, None]
    return weights, x


def _challenge(
  x: np.ndarray, labels: np.ndarray, shrinkage: float, num_dims: int
) -> tuple[float, np.ndarray]:
  """The score and its influence function [N], at a shrinkage."""
  rows = np.arange(len(x))
  num_classes = int(labels.max()) + 1
  first = _Analysis(x, labels, shrinkage, num_dims)
  softened = special.softmax(first.posterior, axis=1)
  share = softened[rows, labels][:, None]
  means = float64.class_means(x, labels)
  others = (means.sum(axis=0) - means) / (num_classes - 1)
  challenged = share * x + (1 - share) * others[labels]
  second = _Analysis(challenged, labels, shrinkage, num_dims)
  values = second.posterior[rows, labels]
  # Back through both analyses.
  members = float64.one_hot(labels)
  influence, moved = second.pull_back(members)
  by_share = np.sum(moved * (x - others[labels]), axis=1, keepdims=True)
  slopes = by_share * share * (members - softened)
  influence = values + influence + first.pull_back(slopes)[0]
  by_others = members.T @ ((1 - share) * moved)  # [C, D]
  by_means = (by_others.sum(axis=0) - by_others) / (num_classes - 1)
  pulled = np.sum(by_means[labels] * (x - means[labels]), axis=1)
  influence += pulled / np.bincount(labels)[labels]
  return float(values.mean()), influence


def sfda(
  *,
  features: Float[Array, 'N D'],
  labels: Int[Array, 'N'],
) -> measure.Score:
  """How well discriminants tell classes that were moved towards each other.

      S_w  = (1 − s) S + s tr(S)/D I,  s = max(exp(−5 λ_max(S)), 1e-10)
      p_ic = P(c | x_i) of a linear discriminant analysis with S_w
      q_i  = softmax(p_i)_{y_i}
      x'_i = q_i x_i + (1 − q_i) mean of the other classes' means
      SFDA = 1/N Σ_i P(y_i | x'_i) of another analysis, with the same s

  with S the covariance within classes. It depends on the features' scale: of
  large ones nothing is shrunk.

  Args:
    features: [N, D].
    labels: [N], integers from 0 to C − 1.

  Returns:
    A number in [0, 1].

  Reference:
    Shao et al., "Not All Models Are Equal: Predicting Model Transferability in
    a Self-challenging Fisher Space", ECCV 2022, section 3.
  """
  labels = np.asarray(labels)
  # Less an offset, which moves no difference.
  shrinkage, changes = _shrinkage(float64.centre(features), labels)
  x, num_dims = float64.spectrum(features).coordinates, features.shape[1]
  score, influence = _challenge(x, labels, shrinkage, num_dims)
  if changes.any():
    step = _STEP * shrinkage
    other, _ = _challenge(x, labels, shrinkage - step, num_dims)
    influence = influence + (score - other) / step * changes
  return measure.Score(score, influence=influence)


MEASURE = measure.Measure(
  sfda,
  bounds=lambda num_classes: (0.0, 1.0),
  variant="authors' code: mean probability without a log",
)
