# SPDX-License-Identifier: Apache-2.0
"""Concept variance: how often near examples are of another class.

Axes: N examples, D features, B examples of a block.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int

from neucrab_jax.measures import measure
from neucrab_jax.ops import float64
from neucrab_jax.typing import Array

# Of the definition: how fast nearness falls, and the least distance that is
# left to the farthest that two examples can be.
_DECAY = 2.0
_SMALLEST_REST = 1e-9


def _ends(
  x: Float[np.ndarray, 'N D'],
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
  """Of each dimension's least and largest value, whose it is and what it adds.

  That is the logarithm of the spread without it, as a share of that with it: 0
  where another example has the same. What is given is changed meanwhile.
  """
  spread, columns = np.ptp(x, axis=0), np.arange(x.shape[1])
  for find, beyond in ((np.argmax, -np.inf), (np.argmin, np.inf)):
    who = find(x, axis=0)
    first = x[who, columns]
    x[who, columns] = beyond
    second = x[find(x, axis=0), columns]
    x[who, columns] = first
    rest = spread - np.abs(first - second)
    some = rest > 0
    share = np.where(some, rest, 1) / np.where(some, spread, 1)
    yield who, np.log(share)


def _to_unit_interval(x: Float[np.ndarray, 'N D']) -> Float[np.ndarray, 'N D']:
  """Each dimension from its least value, at −½, to its largest, at ½."""
  low, high = x.min(axis=0), x.max(axis=0)
  return (x - (low + high) / 2) / np.where(high > low, high - low, 1)


@dataclasses.dataclass(frozen=True)
class _Block:
  """Some examples, and how near all are to them.

  Attributes:
    rows: which.
    weights: w, [B, N], of an example and itself 0.
    slopes: w' / d, [B, N]: twice the slope of w by the squared distance.
    differ: whether two are of different classes, [B, N].
  """

  rows: slice
  weights: np.ndarray
  slopes: np.ndarray
  differ: np.ndarray


def _blocks(
  x: Float[np.ndarray, 'N D'], labels: np.ndarray
) -> Iterator[_Block]:
  n, farthest = len(x), np.sqrt(x.shape[1])
  for rows, distances in float64.distances(x):
    rest = np.maximum(farthest - distances, _SMALLEST_REST)
    weights = np.exp2(-_DECAY * distances / rest)
    weights[np.arange(len(weights)), np.arange(n)[rows]] = 0
    slopes = -_DECAY * np.log(2) * farthest / rest**2 * weights
    slopes /= np.where(distances > 0, distances, np.inf)
    yield _Block(rows, weights, slopes, labels[rows, None] != labels)


def concept_variance(
  *,
  features: Float[Array, 'N D'],
  labels: Int[Array, 'N'],
) -> measure.Score:
  """How often those near to an example are of another class, negative.

      w_ij = 2^(−2 d_ij / (√D − d_ij)),  w_ii = 0
      CV   = −mean over i of Σ_j w_ij [y_i ≠ y_j] / Σ_j w_ij

  where d is the Euclidean distance of features that are scaled to [0, 1] by
  dimension. N² distances are made a few rows at a time, twice, never held.

  Args:
    features: [N, D].
    labels: [N], integers from 0 to C − 1.

  Returns:
    A number in [-1, 0].

  Reference:
    Singh, Hess and Vanschoren, "Occam's model: Selecting simpler
    representations for better transferability estimation", 2025; defined by
    Vilalta, "Understanding accuracy performance through concept
    characterization and algorithm analysis", 1999.
  """
  labels = np.asarray(labels)
  given = float64.centre(features)
  x = _to_unit_interval(given)
  n = len(x)
  totals, others = np.zeros((2, n))
  for block in _blocks(x, labels):
    totals[block.rows] = block.weights.sum(axis=1)
    others[block.rows] = np.sum(block.weights, axis=1, where=block.differ)
  # Who is as far from all as can be: all of them are as near.
  alone = totals == 0
  others[alone] = (n - np.bincount(labels)[labels[alone]]) / (n - 1)
  totals[alone] = 1
  shares = others / totals
  # By its own share, and by those of the examples that it is near to.
  influence = shares - shares.mean()
  # Of the sum of all shares, by the logarithm of each dimension's spread.
  by_spread = np.zeros(x.shape[1])
  for block in _blocks(x, labels):
    moved = (block.differ - shares) / totals
    influence[block.rows] += (block.weights * moved).sum(axis=1)
    # Less Σ_ij s_ij (x_i − x_j)², by a product of matrices.
    slopes = block.slopes * moved
    near = x[block.rows]
    by_spread -= slopes.sum(axis=1) @ near**2 + slopes.sum(axis=0) @ x**2
    by_spread += 2 * np.sum(near * (slopes @ x), axis=0)
  # To be without the example at an end moves that end, as no weight does.
  for who, change in _ends(given):
    np.add.at(influence, who, -by_spread * change)
  return measure.Score(-shares.mean(), influence=-influence)


MEASURE = measure.Measure(
  concept_variance,
  bounds=lambda num_classes: (-1.0, 0.0),
  variant='features scaled to [0, 1] by dimension',
  leaves_out=True,
  most_examples=measure.PAIRS_OF,
)
