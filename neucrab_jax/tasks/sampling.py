# SPDX-License-Identifier: Apache-2.0
"""Choosing some of a task's examples.

Axes: N examples, C classes present, n chosen.
"""

import numpy as np


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


def stratified_sample(
  labels: np.ndarray, num_examples: int = 200, seed: int = 0
) -> np.ndarray:
  """Chooses examples in proportion to the sizes of their classes.

  The same labels and seed give the same examples, with any version of NumPy:
  the stream of `np.random.RandomState` is frozen.

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
