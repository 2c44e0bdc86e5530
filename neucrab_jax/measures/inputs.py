# SPDX-License-Identifier: Apache-2.0
"""The one check of what measures are given, and the types they share.

Axes: N examples, D features, C classes, Z source classes.
"""

import contextlib
import contextvars
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

# A row of f16 probabilities, or one whose smallest entries were dropped, is
# renormalised without a word up to this distance from one.
_PROBS_TOLERANCE = 1e-2
# Labels from here on are identifiers of something, not numbers of classes.
_MAX_CLASSES = 1_000_000
# Who listens in this thread: what catches Python's warnings catches those of
# all threads.
_TOLD: contextvars.ContextVar[list[str] | None] = contextvars.ContextVar(
  'told', default=None
)


class MeasureWarning(UserWarning):
  """A score was found, but its reader should know something about it."""


class Score(NamedTuple):
  """What a measure says of one checkpoint.

  Attributes:
    value: [], larger is better; or [R], one for each weighting of the examples.
    std: [], how sure it is: what the measure's `SPREAD` says. None for the
      standard error over resamples.
  """

  value: jax.Array
  std: jax.Array | None = None


def as_score(found: Any) -> Score:
  """What a measure returned: a `Score`, or its value alone."""
  return found if isinstance(found, Score) else Score(found)


def mean_over_examples(
  values: np.ndarray, example_weights: np.ndarray
) -> Score:
  """The score that is a mean of one value for each example.

  Args:
    values: [N]; or [R, N] if they depend on the weights.
    example_weights: [R, N], of mean one.

  Returns:
    [R] means, and the standard error of the first.
  """
  values = np.asarray(values, np.float64)
  first = values.reshape(-1, values.shape[-1])[0]
  means = np.mean(values * np.asarray(example_weights), axis=1)
  return Score(means, first.std(ddof=1) / np.sqrt(first.size))


@contextlib.contextmanager
def listen() -> Iterator[list[str]]:
  """Gives the list of what measures tell in this block, in this thread."""
  told: list[str] = []
  token = _TOLD.set(told)
  try:
    yield told
  finally:
    _TOLD.reset(token)


def warn(message: str) -> None:
  """Tells the caller, and through `measures.evaluate` the ranking's reader."""
  told = _TOLD.get()
  if told is None:
    warnings.warn(message, MeasureWarning, stacklevel=3)
  else:
    told.append(message)


def check_labels(labels: np.ndarray) -> np.ndarray:
  """Checks that labels are integers from 0 of at least two classes.

  Returns:
    [N] int32, from 0 to C − 1, numbered anew if some class has no example: a
    measure meets none that is empty.

  Raises:
    ValueError: if not, naming what was found.
  """
  labels = np.asarray(labels)
  if labels.ndim != 1 or not labels.size:
    raise ValueError(
      f'labels must be a vector of N integers, but have shape {labels.shape}.'
    )
  if labels.dtype.kind not in 'iu':
    raise ValueError(
      f'labels must be integers, but are {labels.dtype}. Number the classes '
      '0, 1, 2 and so on.'
    )
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
      f'All {labels.size} labels are 0. A ranking needs at least two classes.'
    )
  single = np.flatnonzero(counts == 1)
  if single.size:
    warn(
      f'{single.size} of {len(counts)} classes have a single example, which '
      f'tells little about them; the first is class {single[0]}.'
    )
  numbers = np.cumsum(counts > 0) - 1
  return numbers[labels].astype(np.int32)


def _check_matrix(name: str, matrix: np.ndarray, *, rows: int) -> np.ndarray:
  matrix = np.asarray(matrix)
  if matrix.ndim != 2:
    raise ValueError(
      f'{name} must have rank 2, one row per example, but have shape '
      f'{matrix.shape}.'
    )
  if matrix.dtype.kind not in 'fiu':
    raise ValueError(f'{name} must be real numbers, but are {matrix.dtype}.')
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
  return matrix.astype(np.promote_types(matrix.dtype, np.float32), copy=False)


def check_features(features: np.ndarray, *, labels: np.ndarray) -> np.ndarray:
  """Checks features [N, D]: finite, and as many rows as labels.

  Returns:
    [N, D], f32 or wider.

  Raises:
    ValueError: if not, naming what was found.
  """
  return _check_matrix('features', features, rows=len(labels))


def check_source_probs(
  source_probs: np.ndarray, *, labels: np.ndarray
) -> np.ndarray:
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
  if furthest > _PROBS_TOLERANCE:
    warn(
      f'Rows of source_probs sum to as far as {furthest:.2g} from one, and '
      'were normalised.'
    )
  return (probs / sums).astype(probs.dtype)


def check_number(name: str, value: Any) -> float:
  """Checks what is known of a checkpoint as a whole: a finite number.

  Raises:
    ValueError: if not, naming what was found.
  """
  number = np.asarray(value)
  if number.ndim or number.dtype.kind not in 'fiu' or not np.isfinite(number):
    raise ValueError(f'{name} must be a number, not {value!r}.')
  return float(number)
