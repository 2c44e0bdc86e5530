# SPDX-License-Identifier: Apache-2.0
"""Choosing some of the examples class by class, so that none loses its share.

Axes: N examples, C classes present, n chosen, S splits.
"""

import jax
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Bool, Int

from neucrab_jax.typing import Array, Key

# The share of every class that a split holds out.
HELD_OUT = 0.25


def _share_out(sizes: np.ndarray, *, num_examples: int) -> np.ndarray:
  """Largest remainder, at least one each: sizes [C] to counts [C].

  All in integers, so that no rounding decides.
  """
  total = sizes.sum()
  counts = np.maximum(num_examples * sizes // total, 1)
  owed = num_examples * sizes - counts * total
  while counts.sum() < num_examples:
    one = np.argmax(owed)
    counts[one] += 1
    owed[one] -= total
  while counts.sum() > num_examples:
    one = np.argmin(np.where(counts > 1, owed, np.iinfo(owed.dtype).max))
    counts[one] -= 1
    owed[one] += total
  return counts


def sample(
  labels: ArrayLike, num_examples: int = 200, seed: int = 0
) -> Int[np.ndarray, 'n']:
  """Chooses examples in proportion to the sizes of their classes.

  The same labels and seed give the same examples, with any version of NumPy:
  the stream of `np.random.RandomState` is frozen.

  >>> labels = np.array([0, 0, 0, 0, 0, 0, 1, 1, 1])
  >>> np.bincount(labels[sample(labels, num_examples=3)]).tolist()
  [2, 1]

  Args:
    labels: [N] integers.
    num_examples: n, how many to choose.
    seed: chooses which.

  Returns:
    [n] int64 indices into the labels, ascending, with at least one of each
    class present.

  Raises:
    ValueError: if n is less than the number of classes or more than N.
  """
  labels = np.asarray(labels)
  classes, sizes = np.unique(labels, return_counts=True)
  if num_examples > len(labels):
    raise ValueError(
      f'Cannot choose {num_examples} examples from {len(labels)}.'
    )
  if num_examples < len(classes):
    raise ValueError(
      f'{num_examples} examples are too few for {len(classes)} classes. '
      f'Choose at least {len(classes)}.'
    )
  counts = _share_out(sizes.astype(np.int64), num_examples=num_examples)
  random = np.random.RandomState(seed)
  chosen = [
    random.permutation(np.flatnonzero(labels == label))[:count]
    for label, count in zip(classes, counts, strict=True)
  ]
  return np.sort(np.concatenate(chosen)).astype(np.int64)


def nested(labels: ArrayLike, seed: int = 0) -> Int[np.ndarray, 'N']:
  """An order of all examples whose every beginning has all classes' shares.

  Each class is spread evenly over the order, its examples shuffled; before all
  others comes one of each class. As in `sample`, the draws are frozen.

  >>> labels = np.array([0, 0, 0, 0, 0, 0, 1, 1, 1])
  >>> [np.bincount(labels[nested(labels)[:n]]).tolist() for n in (2, 6, 9)]
  [[1, 1], [4, 2], [6, 3]]

  Args:
    labels: [N] integers.
    seed: shuffles.

  Returns:
    [N] int64 indices into the labels.
  """
  labels = np.asarray(labels)
  random = np.random.RandomState(seed)
  place = np.zeros(len(labels))
  for label in np.unique(labels):
    members = random.permutation(np.flatnonzero(labels == label))
    # Where in its class's turn it comes is drawn, so that classes alternate.
    place[members] = (np.arange(len(members)) + random.uniform()) / len(members)
    place[members[0]] -= 1
  return np.argsort(place, kind='stable').astype(np.int64)


def hold_out(
  labels: Int[np.ndarray, 'N'], *, share: float, seed: int
) -> tuple[Int[np.ndarray, 'kept'], Int[np.ndarray, 'held_out']]:
  """Splits examples in two, class by class, to fit and to choose by.

  Args:
    labels: [N].
    share: of the examples that are held out, at least one of each class.
    seed: chooses which.

  Returns:
    Ascending indices of those kept and of those held out.

  Raises:
    ValueError: if the classes are too many, or one has a single example.
  """
  classes, sizes = np.unique(labels, return_counts=True)
  if sizes.min() < 2:
    raise ValueError(
      f'Class {classes[sizes.argmin()]} has a single training example, so none '
      'can be held out for validation. Give a validation split, or more '
      'examples.'
    )
  count = max(round(share * len(labels)), len(classes))
  held_out = sample(labels, num_examples=count, seed=seed)
  return np.setdiff1d(np.arange(len(labels)), held_out), held_out


def held_out(
  key: Key, labels: Int[Array, 'N'], *, num_splits: int
) -> Bool[np.ndarray, 'S N']:
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
