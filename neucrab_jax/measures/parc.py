# SPDX-License-Identifier: Apache-2.0
"""PARC: rank correlation of distances of features with those of labels.

Axes: N examples, D features, C classes, T blocks, B examples of a block.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int

from neucrab_jax.measures import measure
from neucrab_jax.ops import float64
from neucrab_jax.typing import Array

# Pairs in one bin tie. What that takes from the variance of the ranks is the
# square of a bin's share of all pairs.
_NUM_BINS = 1 << 18

# Distances of one block.
_BLOCK_ELEMENTS = 1 << 22


def _blocks(
  units: Float[np.ndarray, 'N D'], labels: np.ndarray
) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
  """For some examples at a time, the bins of their pairs and who is alike."""
  n = len(units)
  size = max(1, _BLOCK_ELEMENTS // n)
  for start in range(0, n, size):
    rows = slice(start, min(start + size, n))
    distances = units[rows] @ units.T
    np.subtract(1, distances, out=distances)
    distances /= 2
    np.clip(distances, 0, 1, out=distances)
    distances *= _NUM_BINS - 1
    bins = np.round(distances, out=distances).astype(np.int32)
    # A bin of its own for an example and itself.
    bins[np.arange(len(bins)), np.arange(n)[rows]] = _NUM_BINS
    yield rows, bins, labels[rows, None] == labels


def _units(x: np.ndarray) -> np.ndarray:
  """[N, D] f32, whose inner products are the correlations of rows of `x`."""
  units = np.empty(x.shape, np.float32)
  for rows in float64.row_blocks(*x.shape):
    away = x[rows] - x[rows].mean(axis=1, keepdims=True)
    norms = np.linalg.norm(away, axis=1, keepdims=True)
    units[rows] = away / np.where(norms > 0, norms, 1)
  return units


def _count(bins: np.ndarray) -> np.ndarray:
  counts = np.bincount(bins.ravel(), minlength=_NUM_BINS + 1)
  return counts[:_NUM_BINS].astype(np.float64)


def parc(
  *,
  features: Float[Array, 'N D'],
  labels: Int[Array, 'N'],
) -> measure.Score:
  """Whether examples whose features differ more have different labels.

      PARC = Spearman(1 − corr(f_i, f_j), 1 − corr(y_i, y_j)),  i < j

  over pairs of standardised features and of one-hot labels. N² distances are
  counted, never held.

  Args:
    features: [N, D].
    labels: [N], integers from 0 to C − 1.

  Returns:
    A number in [-1, 1].

  Reference:
    Bolya, Mittapalli and Hoffman, "Scalable Diverse Model Selection for
    Accessible Transfer Learning", NeurIPS 2021, section 4.
  """
  labels = np.asarray(labels)
  n = len(labels)
  units = _units(float64.standardise(features))
  pairs, alike = np.zeros((2, _NUM_BINS))
  for _, bins, same in _blocks(units, labels):
    pairs += _count(bins)
    alike += _count(bins[same])
  total, mass = pairs.sum(), alike.sum()
  ranks = (np.cumsum(pairs) - pairs / 2) / total  # of the middle of each bin
  variance = pairs @ (ranks - 0.5) ** 2 / total
  share = mass / total
  if variance * mass * (total - mass) <= 0:
    return measure.Score(0.0, influence=np.zeros(n))
  spread = np.sqrt(variance * share * (1 - share))
  # Two examples of one class have the smaller distance of labels.
  covariance = alike @ (ranks - 0.5) / total
  score = -covariance / spread
  # What a pair adds: by its own rank, by the ranks of others that it moves, and
  # by the share of pairs of one class.
  beyond = (mass - np.cumsum(alike) + alike / 2) / total
  added = np.append(-beyond / spread, 0)
  added_alike = np.append(-(ranks - 0.5) / spread, 0)
  by_share = 0.5 * (1 / spread - score * (1 - 2 * share) / share / (1 - share))

  def influence():
    found = np.zeros(n)
    for rows, bins, same in _blocks(units, labels):
      values = added[bins] + same * (added_alike[bins] + by_share)
      found[rows] = 2 * values.sum(axis=1) / (n - 1)
    return found

  return measure.Score(score, influence=influence)


MEASURE = measure.Measure(
  parc,
  variant='paper, without its PCA and not in per cent',
  most_examples=measure.PAIRS_OF,
)
