# SPDX-License-Identifier: Apache-2.0
"""What the bundled tasks that are drawn from a seed have in common.

Scores on other examples cannot be compared, so a task gives the same bytes for
good and on any machine: it draws from `np.random.RandomState`, whose stream is
frozen, and computes in integers, or in float64 with nothing but operations that
IEEE 754 rounds in only one way.

Axes: N examples, H height, W width.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from neucrab_jax.tasks import arrays
from neucrab_jax.tasks import splits as splits_lib
from neucrab_jax.tasks import task as task_lib

IMAGE_SIZE = 32

# Enough test examples for a standard error of 1.6 points at an accuracy of .5.
SIZES = {'train': 1000, 'validation': 500, 'test': 1000}
_SPLITS = ('train', 'validation', 'trainval', 'test')

# Images [N, H, W, 1 or 3] uint8 and labels [N] int32.
Drawn = tuple[np.ndarray, np.ndarray]


def balanced_labels(num_examples: int, num_classes: int) -> np.ndarray:
  """Labels [N] int32 of which no class has two more than another."""
  return np.arange(num_examples, dtype=np.int32) % num_classes


def make_task(
  name: str, class_names: tuple[str, ...], draw: Callable[[str], Drawn]
) -> task_lib.Task:
  """Makes a task of splits, each drawn when it is first read.

  Args:
    name: as in `tasks.names`.
    class_names: a name for each class.
    draw: gives one of `SIZES`; better cached.
  """

  def read(split: str) -> task_lib.Examples:
    parts = ('train', 'validation') if split == 'trainval' else (split,)
    drawn = [draw(part) for part in parts]
    # Copies: what a reader does to them is no concern of the next one.
    images = np.concatenate([images for images, _ in drawn])
    labels = np.concatenate([labels for _, labels in drawn])
    ids = [
      task_lib.number(_SPLITS.index(part), np.arange(SIZES[part]))
      for part in parts
    ]
    examples = arrays.make_examples(images, labels)
    return dataclasses.replace(examples, ids=np.concatenate(ids))

  return task_lib.Task(
    name=name,
    num_classes=len(class_names),
    class_names=class_names,
    splits=_SPLITS,
    reader=splits_lib.with_parts(read, known=_SPLITS, source=name),
  )
