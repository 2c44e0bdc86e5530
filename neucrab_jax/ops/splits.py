# SPDX-License-Identifier: Apache-2.0
"""Splits of examples into some to fit and some to judge by.

Axes: N examples, S splits, R weightings.
"""

import jax
import numpy as np

# The share of every class that a split holds out.
HELD_OUT = 0.25


def held_out(
  key: jax.Array, labels: np.ndarray, *, num_splits: int
) -> np.ndarray:
  """Which examples each split holds out: a random quarter of every class.

  A class with a single example is never held out.

  Args:
    key: of the draws.
    labels: [N], integers from 0.
    num_splits: S.

  Returns:
    [S, N] bool.

  Raises:
    ValueError: if no class has two examples.
  """
  labels = np.asarray(labels)
  draws = np.asarray(jax.random.uniform(key, (num_splits, len(labels))))
  counts = np.bincount(labels)
  quarter = np.minimum(np.ceil(HELD_OUT * counts), counts - 1)
  starts = np.cumsum(counts) - counts
  if not quarter.any():
    raise ValueError('No class has two examples, so none can be held out.')
  chosen = np.zeros(draws.shape, bool)
  for split, draw in enumerate(draws):
    order = np.lexsort((draw, labels))  # By class, at random within it.
    place = np.arange(len(labels)) - starts[labels[order]]
    chosen[split, order] = place < quarter[labels[order]]
  return chosen


def mean_held_out(
  values: np.ndarray, chosen: np.ndarray, example_weights: np.ndarray
) -> np.ndarray:
  """Means over the examples that each split holds out.

  Args:
    values: [S, N].
    chosen: [S, N] bool, from `held_out`.
    example_weights: [R, N].

  Returns:
    [R, S]
  """
  weights = np.asarray(example_weights, np.float64)
  judged = np.where(chosen, np.asarray(values, np.float64), 0)
  return (weights @ judged.T) / (weights @ chosen.T)
