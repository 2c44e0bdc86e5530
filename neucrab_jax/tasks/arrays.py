# SPDX-License-Identifier: Apache-2.0
"""Tasks from arrays: an `.npz` of images and labels.

Axes: N examples, H height, W width.
"""

import functools
import os
import pathlib
from collections.abc import Iterator, Mapping

import numpy as np

from neucrab_jax import storage
from neucrab_jax.tasks import label_arrays
from neucrab_jax.tasks import splits as splits_lib
from neucrab_jax.tasks import task as task_lib

# The split that plain `images` and `labels` make.
_ONLY_SPLIT = 'train'


def _to_rgb(image: np.ndarray) -> np.ndarray:
  """[H, W], [H, W, 1] or [H, W, 3] to [H, W, 3]."""
  return np.repeat(image, 3, 2) if image.shape[2] == 1 else image


def make_examples(images: np.ndarray, labels: np.ndarray) -> task_lib.Examples:
  """Makes a split of arrays that are in memory.

  Args:
    images: [N, H, W, 1] or [N, H, W, 3] uint8
    labels: [N] int32, already checked.
  """

  def open_images(indices: np.ndarray) -> Iterator[task_lib.Decode]:
    return (functools.partial(_to_rgb, images[index]) for index in indices)

  return task_lib.Examples(
    labels=labels,
    fingerprint=storage.digest(images, labels),
    opener=open_images,
    in_memory=True,
  )


def _check_images(images: np.ndarray, *, source: str) -> np.ndarray:
  """Checks one array of images and gives it a channel axis."""
  if np.issubdtype(images.dtype, np.floating):
    raise ValueError(
      f'{source}: the images are {images.dtype}; they must be uint8, from 0 '
      'to 255. If theirs go from 0 to 1, save (255 * images).round()'
      ".astype('uint8')."
    )
  if images.dtype != np.uint8:
    raise ValueError(
      f'{source}: the images are {images.dtype}; they must be uint8, from 0 '
      'to 255.'
    )
  if images.ndim == 3:
    images = images[..., np.newaxis]
  if images.ndim != 4 or images.shape[3] not in (1, 3):
    raise ValueError(
      f'{source}: the images have the shape {list(images.shape)}; it must be '
      '[N, H, W], [N, H, W, 1] or [N, H, W, 3].'
    )
  if 0 in images.shape:
    raise ValueError(
      f'{source}: the images are empty, of shape {list(images.shape)}.'
    )
  return images


def _find_splits(
  names: Mapping[str, np.ndarray], *, source: str
) -> dict[str, tuple[str, str]]:
  """The splits an archive holds, each with its arrays of images and labels.

  They are called as Keras does, `x_train` and `y_train`, or as we and MedMNIST
  do, `train_images` and `train_labels`.
  """
  # The split's own name, then the arrays'.
  found: list[tuple[str, str, str]] = []
  for name in names:
    # scikit-learn's X_train is Keras' x_train.
    keras = name.removeprefix('x_').removeprefix('X_')
    if name == 'images':
      found.append((_ONLY_SPLIT, name, 'labels'))
    elif name.endswith('_images'):
      split = name.removesuffix('_images')
      found.append((split, name, f'{split}_labels'))
    elif keras != name and splits_lib.find(keras):
      found.append((keras, name, f'y_{keras}'))
  missing = [labels for _, _, labels in found if labels not in names]
  if missing or not found:
    wanted = ' and '.join(missing) or 'images'
    raise ValueError(
      f'{source}: there is no array {wanted}; there must be `images` and '
      '`labels`, or `<split>_images` and `<split>_labels`. Present: '
      f'{", ".join(names) or "none"}.'
    )
  splits: dict[str, tuple[str, str]] = {}
  for name, images, labels in found:
    split = splits_lib.find(name) or name
    if split in splits:
      raise ValueError(
        f'{source}: `{splits[split][0]}` and `{images}` are both the split '
        f'{split!r}. Keep one.'
      )
    splits[split] = images, labels
  return splits


def load(name: str) -> task_lib.Task:
  """Loads a task from an `.npz`.

  It holds `images`, uint8 [N, H, W], [N, H, W, 1] or [N, H, W, 3], and
  `labels`, integers [N] from 0 on; these are the split 'train'. Further or
  other splits are `<split>_images` and `<split>_labels`, or `x_<split>` and
  `y_<split>`. Labels may also be [N, 1], whole floats, or one-hot [N, C].

  Raises:
    FileNotFoundError: if there is no such file.
    ValueError: if it is damaged or holds anything else.
  """
  path = pathlib.Path(os.path.expanduser(name))
  source = repr(str(path))
  loaded = storage.read_npz(path)
  arrays = {}
  num_classes = 0
  for split, (of_images, of_labels) in _find_splits(
    loaded, source=source
  ).items():
    images = _check_images(loaded[of_images], source=source)
    labels, columns = label_arrays.to_vector(
      loaded[of_labels], source=f'{source}, {of_labels}'
    )
    if len(labels) != len(images):
      raise ValueError(
        f'{source}: there are {len(images)} {of_images} but {len(labels)} '
        f'{of_labels}.'
      )
    labels = task_lib.check_labels(
      labels, source=f'{source}, {of_labels}', num_classes=columns
    )
    arrays[split] = images, labels
    num_classes = max(num_classes, columns or 1 + int(labels.max()))

  def read(split: str) -> task_lib.Examples:
    return make_examples(*arrays[split])

  return task_lib.Task(
    name=name,
    num_classes=num_classes,
    class_names=None,
    splits=tuple(arrays),
    reader=splits_lib.with_parts(read, known=arrays, source=name),
  )
