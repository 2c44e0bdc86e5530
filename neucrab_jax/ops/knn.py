# SPDX-License-Identifier: Apache-2.0
"""Nearest neighbours of each example among the others, by blocks of examples.

On the host: the product of the features with themselves is all the work, and
the smallest entries of its rows are found there sooner than XLA has compiled.

Axes: N examples, D features, C classes, k neighbours, B examples of a block.
"""

import numpy as np
from jaxtyping import Float, Int

from neucrab_jax.ops import blocks, float64
from neucrab_jax.typing import Array

# Distances of one block.
_BLOCK_ELEMENTS = 1 << 23

# Neighbours that are sooner found one after the other than by sorting all.
_FEW = 512


def _smallest(
  distances: Float[np.ndarray, 'B N'], k: int
) -> Int[np.ndarray, 'B k']:
  """Columns of the k smallest of each row, in order, the first of equals.

  Those of a few are overwritten.
  """
  if k > _FEW:
    return np.argsort(distances, axis=1, kind='stable')[:, :k]
  rows = np.arange(len(distances))
  chosen = np.empty((len(distances), k), np.int64)
  for place in range(k):
    chosen[:, place] = np.argmin(distances, axis=1)
    distances[rows, chosen[:, place]] = np.inf
  return chosen


def nearest(features: Float[Array, 'N D'], k: int) -> Int[np.ndarray, 'N k']:
  """The k nearest other examples of each, nearest first.

  Distances are Euclidean. Among examples equally far the first is nearer.

  >>> nearest(np.array([[0.0], [1.0], [9.0], [11.0]]), 2).tolist()
  [[1, 2], [0, 2], [3, 1], [2, 1]]

  Args:
    features: [N, D].
    k: neighbours, at most N − 1.

  Returns:
    [N, k] indices of examples.

  Raises:
    ValueError: `features` is not [N, D], or k is not between 1 and N − 1.
  """
  blocks.check(features, 1, None)
  n = features.shape[0]
  if not 1 <= k < n:
    raise ValueError(
      f'k = {k} neighbours of {n} examples: choose between 1 and {n - 1}.'
    )
  x = float64.standard(features)
  norms = np.sum(x**2, axis=1)
  size = max(1, _BLOCK_ELEMENTS // n)
  found = np.empty((n, k), np.int64)
  for start in range(0, n, size):
    own = np.arange(start, min(start + size, n))
    # An example's own norm shifts all of its distances alike.
    distances = x[own] @ x.T
    distances *= -2
    distances += norms
    distances[own - start, own] = np.inf
    found[own] = _smallest(distances, k)
  return found


def vote(votes: Int[Array, '*B k']) -> Int[np.ndarray, '*B']:
  """The class that is most often among k, the smallest of equals.

  >>> vote(np.array([[1, 0, 1], [2, 0, 1]])).tolist()
  [1, 0]
  """
  ordered = np.sort(votes, axis=-1)
  # Of a class that is there m times, the last of a run of m.
  counts = np.sum(ordered[..., None] == ordered[..., None, :], axis=-1)
  best = np.argmax(counts, axis=-1)
  return np.take_along_axis(ordered, best[..., None], axis=-1)[..., 0]


def leave_one_out(
  features: Float[Array, 'N D'], labels: Int[Array, 'N'], *, k: int = 1
) -> Float[np.ndarray, 'N']:
  """Whether the k nearest other examples vote for each example's own class.

  Among classes with as many votes the smallest wins.

  >>> features = np.array([[0.0], [1.0], [9.0], [10.0]])
  >>> leave_one_out(features, np.array([0, 0, 1, 1])).tolist()
  [1.0, 1.0, 1.0, 1.0]

  Args:
    features: [N, D].
    labels: [N], integers from 0.
    k: neighbours, at most N − 1.

  Returns:
    [N] floats, 1 where right and 0 where wrong.

  Raises:
    ValueError: as `nearest`, and if the labels are not as many as features.
  """
  blocks.check(features, 1, labels)
  labels = np.asarray(labels)
  return (vote(labels[nearest(features, k)]) == labels).astype(np.float64)
