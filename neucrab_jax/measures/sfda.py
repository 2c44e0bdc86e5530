# SPDX-License-Identifier: Apache-2.0
"""SFDA: Fisher discriminants on features that challenge themselves.

Axes: N examples, D features, C classes.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence

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

  Args:
    x: [N, D], centred; overwritten.
    labels: [N].

  Returns:
    The shrinkage, and its influence function, [N].
  """
  means = float64.class_means(x, labels)
  for rows in float64.row_blocks(*x.shape):
    x[rows] -= means[labels[rows]]

  def times(v):  # S v
    return (x @ v) @ x / len(x)

  previous = v = times(np.ones(x.shape[1]))
  for _ in range(_POWER_STEPS):
    previous = _unit(times(v))
    v = _unit(times(previous))
  largest = v @ times(previous)
  shrinkage = float(np.exp(-_DECAY * largest))
  if shrinkage < _SMALLEST_SHRINKAGE:
    return _SMALLEST_SHRINKAGE, np.zeros(len(x))
  return shrinkage, -_DECAY * shrinkage * ((x @ v) ** 2 - largest)


# From B of N examples to these, [B, K]: all at once are more than there is
# memory for.
_Examples = Callable[[slice], np.ndarray]


@dataclasses.dataclass(frozen=True)
class _Labelled:
  """Examples by blocks.

  Attributes:
    labels: [N].
    blocks: that make up all N.
  """

  labels: np.ndarray
  blocks: Sequence[slice]

  @functools.cached_property
  def counts(self) -> np.ndarray:
    """[C]"""
    return np.bincount(self.labels)

  def members(self, rows: slice) -> np.ndarray:
    """[B, C], one at an example's own class."""
    return np.eye(len(self.counts))[self.labels[rows]]

  def products(self, first_of: _Examples, second_of: _Examples) -> np.ndarray:
    """[W, K], of the transpose of all [N, W] and all [N, K]."""
    found = (first_of(rows).T @ second_of(rows) for rows in self.blocks)
    return functools.reduce(np.add, found)

  def sums(self, block_of: _Examples) -> np.ndarray:
    """[C, K], of each class."""
    return self.products(self.members, block_of)

  def means(self, block_of: _Examples) -> np.ndarray:
    """[C, K], of each class."""
    return self.sums(block_of) / self.counts[:, None]

  def by_blocks(self, of: _Examples) -> np.ndarray:
    """[N, ...], what there is of each example."""
    return np.concatenate([of(rows) for rows in self.blocks])


class _Analysis:
  """A linear discriminant analysis, and what its examples' weights change.

  Attributes:
    posterior: P(c | x_i), [N, C].
  """

  def __init__(
    self,
    examples: _Labelled,
    block_of: _Examples,
    shrinkage: float,
    num_dims: int,
  ):
    n = len(examples.labels)
    self._examples, self._block_of = examples, block_of
    self._shrinkage, self._num_dims = shrinkage, num_dims
    self._shares = examples.counts / n
    self._means = examples.means(block_of)
    within = examples.products(self._centred, self._centred) / n
    trace = np.trace(within)
    # Rounding keeps it invertible where nothing varies within a class.
    ridge = max(shrinkage * trace / num_dims, np.finfo(float).eps * trace) or 1
    shrunk = (1 - shrinkage) * within + ridge * np.eye(len(within))
    self._factor = scipy.linalg.cho_factor(shrunk, check_finite=False)
    self._kernel = self._solve(self._means.T)  # [K, C]
    bias = -0.5 * np.sum(self._means.T * self._kernel, axis=0)
    bias = bias + np.log(self._shares)
    self.posterior = examples.by_blocks(
      lambda rows: special.softmax(block_of(rows) @ self._kernel + bias, axis=1)
    )

  def _centred(self, rows: slice) -> np.ndarray:
    return self._block_of(rows) - self._means[self._examples.labels[rows]]

  def _solve(self, b: np.ndarray) -> np.ndarray:
    return scipy.linalg.cho_solve(self._factor, b, check_finite=False)

  def pull_back(self, slopes_of: _Examples) -> tuple[np.ndarray, _Examples]:
    """Derivatives of a mean over examples, from those by the posterior.

    Args:
      slopes_of: [B, C], N times the derivative by each posterior.

    Returns:
      N times the derivatives by the weights of the examples, [N], and by the
      examples themselves, [B, K].
    """
    labels, kernel = self._examples.labels, self._kernel
    n = len(labels)

    def logits_of(rows):
      p, slopes = self.posterior[rows], slopes_of(rows)
      return p * (slopes - np.sum(p * slopes, axis=1, keepdims=True))

    logits = self._examples.by_blocks(logits_of)
    bias = logits.mean(axis=0)
    by_kernel = self._examples.products(
      self._block_of, lambda rows: logits[rows]
    )
    by_kernel = by_kernel / n - 0.5 * bias * self._means.T
    solved = self._solve(by_kernel)
    means = (solved - 0.5 * bias * kernel).T  # [C, K]
    shrunk = -0.5 * (solved @ kernel.T + kernel @ solved.T)
    within = (1 - self._shrinkage) * shrunk
    within += np.eye(len(shrunk)) * (
      self._shrinkage * np.trace(shrunk) / self._num_dims
    )

    def by_weights(rows):
      own, centred = labels[rows], self._centred(rows)
      weights = np.sum((centred @ within) * centred, axis=1)
      weights += np.sum(means[own] * centred, axis=1) / self._shares[own]
      return weights + bias[own] / self._shares[own]

    def by_examples(rows):
      own = labels[rows]
      moved = logits[rows] @ kernel.T + 2 * self._centred(rows) @ within
      return moved + means[own] / self._shares[own, None]

    return self._examples.by_blocks(by_weights), by_examples


def _challenge(
  examples: _Labelled, block_of: _Examples, shrinkage: float, num_dims: int
) -> tuple[float, np.ndarray]:
  """The score and its influence function [N], at a shrinkage."""
  labels, counts = examples.labels, examples.counts
  all_rows = np.arange(len(labels))
  first = _Analysis(examples, block_of, shrinkage, num_dims)
  softened = special.softmax(first.posterior, axis=1)
  share = softened[all_rows, labels][:, None]
  means = examples.means(block_of)
  others = (means.sum(axis=0) - means) / (len(counts) - 1)

  def challenged_of(rows):
    kept = share[rows]
    return kept * block_of(rows) + (1 - kept) * others[labels[rows]]

  second = _Analysis(examples, challenged_of, shrinkage, num_dims)
  values = second.posterior[all_rows, labels]
  # Back through both analyses.
  influence, moved_of = second.pull_back(examples.members)

  def slopes_of(rows):
    away = block_of(rows) - others[labels[rows]]
    by_share = np.sum(moved_of(rows) * away, axis=1, keepdims=True)
    return by_share * share[rows] * (examples.members(rows) - softened[rows])

  influence = values + influence + first.pull_back(slopes_of)[0]
  by_others = examples.sums(lambda rows: (1 - share[rows]) * moved_of(rows))
  by_means = (by_others.sum(axis=0) - by_others) / (len(counts) - 1)

  def pulled_of(rows):
    own = labels[rows]
    pulls = by_means[own] * (block_of(rows) - means[own])
    return np.sum(pulls, axis=1) / counts[own]

  influence += examples.by_blocks(pulled_of)
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
  spectrum = float64.spectrum(features)
  width = max(len(spectrum.values), 1)
  blocks = tuple(float64.row_blocks(len(labels), width))
  challenge = functools.partial(
    _challenge,
    _Labelled(labels, blocks),
    spectrum.coordinates,
    num_dims=features.shape[1],
  )
  score, influence = challenge(shrinkage)
  if changes.any():
    step = _STEP * shrinkage
    other, _ = challenge(shrinkage - step)
    influence = influence + (score - other) / step * changes
  return measure.Score(score, influence=influence)


MEASURE = measure.Measure(
  sfda,
  bounds=lambda num_classes: (0.0, 1.0),
  variant="authors' code: mean probability without a log",
)
