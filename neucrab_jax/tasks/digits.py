# SPDX-License-Identifier: Apache-2.0
"""A bundled task: 1,797 real handwritten digits.

They come with scikit-learn: the test set of the UCI "Optical Recognition of
Handwritten Digits", 8×8 with values 0 to 16.
"""

import dataclasses
import functools
import gzip

import numpy as np

from neucrab_jax.ops import stratified
from neucrab_jax.tasks import arrays, package_files, preprocessing
from neucrab_jax.tasks import splits as splits_lib
from neucrab_jax.tasks import task as task_lib

# A row for each digit: its 64 pixels, and which it is.
_FILE = 'sklearn/datasets/data/digits.csv.gz'
_SIZE = 32
_NUM_CLASSES = 10

# The rest, 1,000, is 'train'. These numbers and the seed make the split: it is
# fixed for good, as scores on another split cannot be compared.
_NUM_TEST = 497
_NUM_VALIDATION = 300
_SPLIT_SEED = 0

_SPLITS = ('train', 'validation', 'trainval', 'test')


def _upsample(image: np.ndarray) -> np.ndarray:
  """[8, 8] with values 0 to 16, to [32, 32, 1] uint8.

  Every step is exact in float32, so any bilinear resizing gives these bytes.
  """
  grey = np.rint(image * (255 / 16)).astype(np.uint8)
  rgb = np.repeat(grey[:, :, np.newaxis], 3, 2)
  return np.rint(preprocessing.resize(rgb, _SIZE)[:, :, :1]).astype(np.uint8)


def split_indices(labels: np.ndarray) -> dict[str, np.ndarray]:
  """The stratified splits, as ascending indices into the 1,797 digits."""
  everything = np.arange(len(labels))
  test = stratified.sample(labels, _NUM_TEST, _SPLIT_SEED)
  trainval = np.setdiff1d(everything, test)
  validation = trainval[
    stratified.sample(labels[trainval], _NUM_VALIDATION, _SPLIT_SEED)
  ]
  return {
    'train': np.setdiff1d(trainval, validation),
    'validation': validation,
    'trainval': trainval,
    'test': test,
  }


@functools.cache
def _load_arrays() -> tuple[np.ndarray, np.ndarray]:
  """Images [1797, 32, 32, 1] uint8 and labels [1797] int32."""
  with gzip.open(package_files.find(_FILE)) as file:
    table = np.loadtxt(file, delimiter=',')
  digits = table[:, :-1].reshape(-1, 8, 8)
  images = np.stack([_upsample(image) for image in digits])
  labels = table[:, -1].astype(np.int32)
  # They are shared by all who read the task.
  images.setflags(write=False)
  labels.setflags(write=False)
  return images, labels


def _read(split: str) -> task_lib.Examples:
  images, labels = _load_arrays()
  indices = split_indices(labels)[split]
  examples = arrays.make_examples(images[indices], labels[indices])
  return dataclasses.replace(examples, ids=indices)


def load() -> task_lib.Task:
  """The task `digits`: splits of 1,000, 300 and 497, and 'trainval'."""
  return task_lib.Task(
    name='digits',
    num_classes=_NUM_CLASSES,
    class_names=tuple(str(digit) for digit in range(_NUM_CLASSES)),
    splits=_SPLITS,
    reader=splits_lib.with_parts(_read, known=_SPLITS, source='digits'),
  )
