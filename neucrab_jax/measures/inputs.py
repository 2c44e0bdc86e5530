# SPDX-License-Identifier: Apache-2.0
"""The one check of what measures are given.

Axes: N examples, D features, C classes, Z source classes.
"""

from typing import Any, NamedTuple

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Int

from neucrab_jax.measures import columns
from neucrab_jax.typing import Array

# A row of f16 probabilities, or one whose smallest entries were dropped, is
# renormalised without a word up to this distance from one.
_PROBS_TOLERANCE = 1e-2
# Labels from here on are identifiers of something, not numbers of classes.
_MAX_CLASSES = 1_000_000
# Fourth powers of features are finite up to here, and no zero down to here.
_LARGEST, _SMALLEST = 1e75, 1e-75
# What to do with an array of another kind than numbers.
_OF_KIND = {
  'U': ' Leave out the columns of text.',
  'b': ' Give x.astype(float).',
  'c': ' Give x.real, or real and imaginary parts side by side.',
  'V': ' Save bfloat16 as float32: NumPy does not know it again.',
}


class Checked(NamedTuple):
  """An input as a measure gets it, and what is to be said of it."""

  value: Any
  warnings: tuple[str, ...] = ()


def check_labels(labels: ArrayLike) -> Checked:
  """Checks that labels are integers from 0 of at least two classes.

  What else they may be, `columns.to_classes` says.

  Returns:
    [N] int32, from 0 to C − 1, numbered anew if some class has no example: a
    measure meets none that is empty.

  Raises:
    ValueError: if not, naming what was found.
  """
  labels = columns.to_classes(labels)
  if labels.min() != 0:
    raise ValueError(
      f'labels must start at 0, but the smallest is {labels.min()}. Number the '
      'classes 0, 1, 2 and so on.'
    )
  if labels.max() >= _MAX_CLASSES:
    raise ValueError(
      f'labels go up to {labels.max()}, more classes than there can be. Number '
      'the classes 0, 1, 2 and so on.'
    )
  counts = np.bincount(labels)
  if np.count_nonzero(counts) < 2:
    raise ValueError(
      f'All {labels.size} labels are one class. A ranking needs at least two '
      'classes.'
    )
  warnings = ()
  single = np.flatnonzero(counts == 1)
  if single.size:
    warnings = (
      f'{single.size} of {len(counts)} classes have a single example, which '
      f'tells little about them; the first is class {single[0]}.',
    )
  numbers = np.cumsum(counts > 0) - 1
  return Checked(numbers[labels].astype(np.int32), warnings)


def _check_matrix(name: str, matrix: ArrayLike, *, rows: int) -> np.ndarray:
  matrix = columns.to_array(matrix, name=name)
  if matrix.ndim != 2:
    maps = ' Maps are to be pooled first: x.mean(axis=(1, 2)).'
    raise ValueError(
      f'{name} must have rank 2, one row per example, but have shape '
      f'{matrix.shape}.' + maps * (matrix.ndim == 4)
    )
  if matrix.dtype.kind not in 'fiu':
    remedy = _OF_KIND.get(matrix.dtype.kind, '')
    raise ValueError(
      f'{name} must be real numbers, but are {matrix.dtype}.{remedy}'
    )
  if len(matrix) != rows:
    raise ValueError(
      f'There are {len(matrix)} rows of {name}, but {rows} labels.'
    )
  if not matrix.shape[1]:
    raise ValueError(f'{name} have no columns.')
  bad = np.flatnonzero(~np.isfinite(matrix).all(axis=1))
  if bad.size:
    raise ValueError(
      f'{name} have NaN or Inf in {bad.size} of {rows} rows, the first of '
      f'them row {bad[0]}.'
    )
  # Halves and whole numbers become f32 or f64, whichever holds them.
  wide = np.promote_types(matrix.dtype, np.float32).itemsize > 4
  return matrix.astype(np.float64 if wide else np.float32, copy=False)


def check_features(features: ArrayLike, *, labels: Int[Array, 'N']) -> Checked:
  """Checks features [N, D]: finite, and as many rows as labels.

  Returns:
    [N, D], f32 or f64, as they are; columns without variance and rows that are
    copies are warned of.

  Raises:
    ValueError: if not, naming what was found.
  """
  x = _check_matrix('features', features, rows=len(labels))
  largest = float(np.abs(x).max())
  if largest > _LARGEST or 0 < largest < _SMALLEST:
    raise ValueError(
      f'features go up to {largest:.3g}, of which no fourth power is a number. '
      'Bring them nearer to one.'
    )
  warnings = []
  constant = int(np.sum((x == x[0]).all(axis=0)))
  if constant:
    warnings.append(
      f'{constant} of {x.shape[1]} features are the same for all examples.'
    )
  # Equal rows have equal hashes; of others next to none have.
  copied = len(x) - len({hash(row.tobytes()) for row in x})
  if copied:
    warnings.append(
      f'{copied} of {len(x)} rows of features are copies of others, which '
      'measures that compare examples take for evidence.'
    )
  return Checked(x, tuple(warnings))


def check_source_probs(
  source_probs: ArrayLike, *, labels: Int[Array, 'N']
) -> Checked:
  """Checks probabilities [N, Z], and makes every row sum to one.

  Raises:
    ValueError: if one is negative, or a row is all zero.
  """
  probs = _check_matrix('source_probs', source_probs, rows=len(labels))
  if probs.min() < 0:
    raise ValueError(
      f'source_probs must not be negative, but one is {probs.min()}. Are they '
      'logits? Take their softmax first.'
    )
  sums = probs.sum(axis=1, keepdims=True, dtype=np.float64)
  if sums.min() <= 0:
    raise ValueError(
      f'Row {sums.argmin()} of source_probs is all zero: no distribution.'
    )
  furthest = np.abs(sums - 1).max()
  warnings = ()
  if furthest > _PROBS_TOLERANCE:
    warnings = (
      f'Rows of source_probs sum to as far as {furthest:.2g} from one, and '
      'were normalised.',
    )
  return Checked((probs / sums).astype(probs.dtype), warnings)


def check_number(name: str, value: Any) -> float:
  """Checks what is known of a checkpoint as a whole: a finite number.

  Raises:
    ValueError: if not, naming what was found.
  """
  number = np.asarray(value)
  if number.ndim or number.dtype.kind not in 'fiu' or not np.isfinite(number):
    raise ValueError(f'{name} must be a number, not {value!r}.')
  return float(number)
