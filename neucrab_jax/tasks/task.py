# SPDX-License-Identifier: Apache-2.0
"""What a task is: labelled images in named splits.

Axes: N examples, H height, W width; values of an image are 0 to 255.
"""

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np

from neucrab_jax import storage

# Decodes one image: np.uint8 [H, W, 3]. Safe to call from any thread.
Decode = Callable[[], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Examples:
  """The labelled images of one split.

  Attributes:
    labels: [N] int32, in the order of the split.
    fingerprint: SHA-256 of the split's images and labels, as hex.
    opener: what `open` calls, its indices already checked.
    ids: [N] int64, the same number for the same example of a task in whatever
      split; None where that is not known.
    num_damaged: images of the split that were left out, as they are damaged.
    whole_fingerprint: of the split that these are a part of; empty for none.
    in_memory: whether its images are there, with nothing to decode.
  """

  labels: np.ndarray
  fingerprint: str
  opener: Callable[[np.ndarray], Iterator[Decode]] = dataclasses.field(
    repr=False
  )
  ids: np.ndarray | None = dataclasses.field(default=None, repr=False)
  num_damaged: int = 0
  whole_fingerprint: str = ''
  in_memory: bool = False

  @property
  def split_fingerprint(self) -> str:
    """The fingerprint of the whole split."""
    return self.whole_fingerprint or self.fingerprint

  def fingerprint_of(self, indices: np.ndarray) -> str:
    """SHA-256 of some of the examples, as records have it."""
    return storage.digest(self.fingerprint, indices)

  def __len__(self) -> int:
    return len(self.labels)

  def open(self, indices: np.ndarray) -> Iterator[Decode]:
    """Goes through some of the images, in order, without decoding them.

    Args:
      indices: [n] unique integers in ascending order, each below N.

    Returns:
      An iterator with one function per index. Iterating is sequential and may
      read from disk; calling a function decodes its image, and may be done in
      any thread.

    Raises:
      ValueError: if the indices are not ascending, not unique or not within N.
    """
    indices = np.asarray(indices)
    if indices.size == 0:
      return iter(())
    if indices.ndim != 1 or not np.issubdtype(indices.dtype, np.integer):
      raise ValueError(
        'The indices must be a vector of integers, not '
        f'{indices.dtype}{list(indices.shape)}.'
      )
    if np.any(np.diff(indices) <= 0):
      raise ValueError('The indices must be unique and in ascending order.')
    if indices[0] < 0 or indices[-1] >= len(self):
      raise ValueError(
        f'The indices go from {indices[0]} to {indices[-1]}, but the split '
        f'has {len(self)} examples.'
      )
    return self.opener(indices)


@dataclasses.dataclass(frozen=True)
class Task:
  """A downstream task: what the checkpoints are ranked for.

  Attributes:
    name: as given to `tasks.load`.
    num_classes: number of classes C; every label is below it.
    class_names: a name for each of the C classes, or None if they have none.
    splits: the names that `read` takes, in other spellings, too: 'val' means
      'validation'. It also takes parts of them, such as 'train[:10%]', and of
      tasks from TFDS sums, 'train+test'.
    reader: what `read` calls.
  """

  name: str
  num_classes: int
  class_names: tuple[str, ...] | None
  splits: tuple[str, ...]
  reader: Callable[[str], Examples] = dataclasses.field(repr=False)

  def read(self, split: str) -> Examples:
    """Reads a split's labels and fingerprint; its images are left for `open`.

    Raises:
      ValueError: if there is no such split, or what it holds is no
        classification task.
    """
    return self.reader(split)


# No split has as many examples.
_MOST_EXAMPLES = 2**40


def number(split: int, indices: np.ndarray) -> np.ndarray:
  """The `ids` of examples of a split.

  Args:
    split: its number among the task's.
    indices: [n] of the examples in it.
  """
  return split * _MOST_EXAMPLES + np.asarray(indices, np.int64)


def check_labels(
  labels: np.ndarray, *, source: str, num_classes: int | None = None
) -> np.ndarray:
  """Checks that labels make a classification task.

  Args:
    labels: [N]
    source: where they come from, to begin the error message with.
    num_classes: C where it is known beforehand. A split may then lack some of
      the classes, and its smallest label may be above zero.

  Returns:
    [N] int32

  Raises:
    ValueError: if they are not integers, don't start at zero, are negative or
      not below C, are beyond int32, or are all of one class.
  """
  labels = np.asarray(labels)
  if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
    raise ValueError(
      f'{source}: the labels must be a vector of integers, not '
      f'{labels.dtype}{list(labels.shape)}.'
    )
  if labels.size == 0:
    raise ValueError(f'{source}: there are no examples.')
  smallest, largest = int(labels.min()), int(labels.max())
  if smallest < 0:
    raise ValueError(
      f'{source}: the labels must not be negative, and one is {smallest}. '
      'If that means "no label", leave those examples out.'
    )
  if smallest > 0 and num_classes is None:
    raise ValueError(
      f'{source}: the labels must start at 0, not at {smallest}. Number the '
      'classes 0, 1, 2 and so on.'
    )
  if num_classes is not None and largest >= num_classes:
    raise ValueError(
      f'{source}: a label is {largest}, but there are {num_classes} classes, '
      f'numbered 0 to {num_classes - 1}.'
    )
  # A cast would wrap it around, and so merge classes.
  if largest >= np.iinfo(np.int32).max:
    raise ValueError(
      f'{source}: a label is {largest}. Number the classes 0, 1, 2 and so on: '
      'save np.unique(labels, return_inverse=True)[1].'
    )
  if smallest == largest:
    raise ValueError(
      f'{source}: all {labels.size} examples have the label {smallest}. '
      'There must be at least two classes to tell apart.'
    )
  return labels.astype(np.int32)
