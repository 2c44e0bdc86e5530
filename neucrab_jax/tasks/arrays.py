# SPDX-License-Identifier: Apache-2.0
"""Tasks from arrays: an `.npz` of images and labels.

Axes: N examples, H height, W width.
"""

import functools
import os
import pathlib
from collections.abc import Iterator, Mapping

import numpy as np

from neucrab_jax import spelling, storage
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


def _find_splits(names: Mapping[str, np.ndarray], *, source: str) -> list[str]:
  """The splits an archive holds, as prefixes of `images` and `labels`."""
  prefixes = [
    name.removesuffix('images')
    for name in names
    if name == 'images' or name.endswith('_images')
  ]
  missing = [
    f'{prefix}labels' for prefix in prefixes if f'{prefix}labels' not in names
  ]
  if missing or not prefixes:
    wanted = ' and '.join(missing) or 'images'
    raise ValueError(
      f'{source}: there is no array {wanted}; there must be `images` and '
      '`labels`, or `<split>_images` and `<split>_labels`. Present: '
      f'{", ".join(names) or "none"}.'
    )
  if '' in prefixes and f'{_ONLY_SPLIT}_' in prefixes:
    raise ValueError(
      f'{source}: `images` and `{_ONLY_SPLIT}_images` are both the split '
      f'{_ONLY_SPLIT!r}. Keep one.'
    )
  return prefixes


def load(name: str) -> task_lib.Task:
  """Loads a task from an `.npz`.

  It holds `images`, uint8 [N, H, W], [N, H, W, 1] or [N, H, W, 3], and
  `labels`, integers [N] from 0 on; these are the split 'train'. Further or
  other splits are `<split>_images` and `<split>_labels`.

  Raises:
    FileNotFoundError: if there is no such file.
    ValueError: if it is damaged or holds anything else.
  """
  path = pathlib.Path(os.path.expanduser(name))
  source = repr(str(path))
  loaded = storage.read_npz(path)
  arrays = {}
  for prefix in _find_splits(loaded, source=source):
    images = _check_images(loaded[f'{prefix}images'], source=source)
    labels = loaded[f'{prefix}labels']
    if labels.ndim == 1 and len(labels) != len(images):
      raise ValueError(
        f'{source}: there are {len(images)} {prefix}images but {len(labels)} '
        f'{prefix}labels.'
      )
    arrays[prefix.removesuffix('_') or _ONLY_SPLIT] = (
      images,
      task_lib.check_labels(labels, source=f'{source}, {prefix}labels'),
    )
  num_classes = 1 + max(int(labels.max()) for _, labels in arrays.values())

  def read(split: str) -> task_lib.Examples:
    if split not in arrays:
      raise spelling.unknown(f'split of {name!r}', split, arrays)
    return make_examples(*arrays[split])

  return task_lib.Task(
    name=name,
    num_classes=num_classes,
    class_names=None,
    splits=tuple(arrays),
    reader=read,
  )
