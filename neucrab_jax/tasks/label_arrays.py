# SPDX-License-Identifier: Apache-2.0
"""Labels as other libraries store them, made a vector of integers.

Axes: N examples, C classes.
"""

import numpy as np

_WANTED = 'The labels must be a vector of integers, one an image'


def _to_whole(labels: np.ndarray, *, source: str) -> np.ndarray:
  """Floats that are whole numbers as integers; integers as they are."""
  given = f'{labels.dtype}{list(labels.shape)}'
  if np.issubdtype(labels.dtype, np.integer):
    return labels
  if labels.dtype.kind in 'US':
    raise ValueError(
      f'{source}: the labels are text, {given}. {_WANTED}: '
      'save np.unique(labels, return_inverse=True)[1].'
    )
  if not np.issubdtype(labels.dtype, np.floating):
    raise ValueError(
      f'{source}: the labels must be a vector of integers, not {given}. '
      "Save labels.astype('int32') if that is what they mean."
    )
  labels = labels.astype(np.float64)  # Half precision ends before int32 does.
  # A cast keeps whole numbers up to 2^63 and makes anything of what is beyond;
  # NaN and infinity equal no whole number.
  if not np.all(np.isfinite(labels)) or np.any(labels != np.floor(labels)):
    raise ValueError(
      f'{source}: the labels are {given}, and not all are whole numbers. '
      f'{_WANTED}; targets of a regression are no classes.'
    )
  if np.any(np.abs(labels) > np.iinfo(np.int32).max):
    raise ValueError(
      f'{source}: a label is {labels[np.argmax(np.abs(labels))]}. Number the '
      'classes 0, 1, 2 and so on.'
    )
  return labels.astype(np.int64)


def _from_one_hot(labels: np.ndarray, *, source: str) -> np.ndarray:
  """The column [N] of the single one in each row of [N, C]."""
  given = f'{labels.dtype}{list(labels.shape)}'
  numeric = labels.dtype.kind in 'biuf'
  if not numeric or not np.all((labels == 0) | (labels == 1)):
    raise ValueError(
      f'{source}: the labels are {given}, and neither integers nor one-hot. '
      f'{_WANTED}; of scores or probabilities save labels.argmax(1), and of '
      'several labels an image the column of one.'
    )
  ones = np.count_nonzero(labels, axis=1)
  if np.any(ones != 1):
    row = int(np.argmax(ones != 1))
    raise ValueError(
      f'{source}: the labels are {given}, and image {row} has {ones[row]} '
      'labels. A task of one label an image is needed: save the column of one '
      'label, labels[:, 0], as a task of its own.'
    )
  return np.argmax(labels, axis=1)


def to_vector(
  labels: np.ndarray, *, source: str
) -> tuple[np.ndarray, int | None]:
  """Makes labels a vector where it is certain what they mean.

  Args:
    labels: [N] or [N, 1] integers or whole floats, or [N, C] one-hot.
    source: where they come from, to begin the error message with.

  Returns:
    [N] integers, not checked any further, and C where it is known.

  Raises:
    ValueError: if they are anything else, with what to save instead.
  """
  if labels.ndim == 2 and labels.shape[1] > 1:
    return _from_one_hot(labels, source=source), labels.shape[1]
  if labels.ndim == 2 and labels.shape[1] == 1:
    labels = labels[:, 0]
  if labels.ndim != 1:
    raise ValueError(
      f'{source}: the labels have the shape {list(labels.shape)}. {_WANTED}, '
      'of shape [N] or [N, 1], or one-hot, [N, C].'
    )
  return _to_whole(labels, source=source), None
