# SPDX-License-Identifier: Apache-2.0
"""Tasks from a folder of images, one sub-folder a class.

    root/<class>/*.jpg            one split, 'train'
    root/<split>/<class>/*.jpg    if every sub-folder is named like a split

Axes: N examples, H height, W width.
"""

import functools
import os
import pathlib
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageOps

from neucrab_jax import progress, spelling, storage
from neucrab_jax.tasks import task as task_lib

_SUFFIXES = ('.bmp', '.gif', '.jpeg', '.jpg', '.png', '.webp')

# What a sub-folder is called, and the split that it makes.
_SPLIT_OF_FOLDER = {
  'train': 'train',
  'val': 'validation',
  'validation': 'validation',
  'test': 'test',
}

# What Pillow raises on damaged, foreign or absurdly large files.
_DAMAGE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)


def _flatten_on_white(image: Image.Image) -> Image.Image:
  """Removes transparency the way a viewer shows it.

  Dropping it would show whatever colour is stored under transparent pixels.
  """
  rgba = image.convert('RGBA')
  white = Image.new('RGBA', rgba.size, 'white')
  return Image.alpha_composite(white, rgba).convert('RGB')


def _to_rgb(image: Image.Image) -> Image.Image:
  """Any mode of Pillow to 'RGB'."""
  if image.mode.startswith('I'):
    # 16 bits of grey. Pillow itself would cut them off at 255.
    values = np.clip(np.asarray(image), 0, 2**16 - 1) >> 8
    image = Image.fromarray(values.astype(np.uint8))
  elif image.has_transparency_data:
    return _flatten_on_white(image)
  return image.convert('RGB')


def decode(path: pathlib.Path) -> np.ndarray:
  """Decodes an image file as people see it, the first frame of an animation.

  Returns:
    [H, W, 3] uint8

  Raises:
    ValueError: if it is not a whole image.
  """
  try:
    with Image.open(path) as image:
      # Cameras store which way was up beside the pixels.
      return np.asarray(_to_rgb(ImageOps.exif_transpose(image)))
  except _DAMAGE as error:
    raise ValueError(
      f'The image {str(path)!r} cannot be decoded: {error}. Replace or '
      'remove it.'
    ) from error


def _list_folders(folder: pathlib.Path) -> list[pathlib.Path]:
  """Visible sub-folders, by name."""
  return sorted(
    entry
    for entry in folder.iterdir()
    if entry.is_dir() and not entry.name.startswith('.')
  )


def _list_images(folder: pathlib.Path) -> list[pathlib.Path]:
  """Visible image files, by name."""
  return sorted(
    entry
    for entry in folder.iterdir()
    if entry.suffix.lower() in _SUFFIXES and not entry.name.startswith('.')
  )


def _list_classes(folder: pathlib.Path) -> dict[str, list[pathlib.Path]]:
  """The classes of one split, each with its image files."""
  classes = {entry.name: _list_images(entry) for entry in _list_folders(folder)}
  if not classes:
    raise ValueError(
      f'The folder {str(folder)!r} has no sub-folders. Put the images of '
      'each class in a sub-folder of its own, named like the class.'
    )
  for name, files in classes.items():
    if not files:
      raise ValueError(
        f'The folder {str(folder / name)!r} has no images '
        f'({", ".join(_SUFFIXES)}). Every sub-folder is a class: add images '
        'or remove it.'
      )
  if len(classes) == 1:
    raise ValueError(
      f'The folder {str(folder)!r} has only one class, {next(iter(classes))!r}'
      '. There must be at least two sub-folders, one a class.'
    )
  return classes


def _list_splits(root: pathlib.Path) -> dict[str, pathlib.Path]:
  """Each split and the folder that holds its classes."""
  folders = _list_folders(root)
  # Classes may be called "train" and "test" too; those hold images.
  if not folders or not all(
    folder.name in _SPLIT_OF_FOLDER and _list_folders(folder)
    for folder in folders
  ):
    return {'train': root}
  splits = {}
  for folder in folders:
    split = _SPLIT_OF_FOLDER[folder.name]
    if split in splits:
      raise ValueError(
        f'The folders {str(splits[split])!r} and {str(folder)!r} are both '
        f'the split {split!r}. Keep one.'
      )
    splits[split] = folder
  # In the order of their use, not of their names.
  order = list(_SPLIT_OF_FOLDER.values())
  return dict(sorted(splits.items(), key=lambda item: order.index(item[0])))


def _read(
  classes: dict[str, list[pathlib.Path]], *, source: str
) -> task_lib.Examples:
  files = [file for members in classes.values() for file in members]
  labels = np.repeat(
    np.arange(len(classes), dtype=np.int32),
    [len(members) for members in classes.values()],
  )
  digests = [
    storage.digest(file.read_bytes())
    for file in progress.track(
      files, total=len(files), description=f'Reading {source}'
    )
  ]

  def open_images(indices: np.ndarray) -> Iterator[task_lib.Decode]:
    return (functools.partial(decode, files[index]) for index in indices)

  return task_lib.Examples(
    labels=labels,
    fingerprint=storage.digest(labels, digests),
    opener=open_images,
  )


def load(name: str) -> task_lib.Task:
  """Loads a task from a folder of images.

  The classes are the sub-folders, in the order of their names.

  Raises:
    ValueError: if there are no sub-folders, one without images, only one
      class, or other classes in one split than in another.
  """
  root = pathlib.Path(os.path.expanduser(name))
  splits = {
    split: _list_classes(folder) for split, folder in _list_splits(root).items()
  }
  first, *others = splits
  for other in others:
    difference = sorted(set(splits[first]) ^ set(splits[other]))
    if difference:
      raise ValueError(
        f'The splits {first!r} and {other!r} of {name!r} differ in their '
        f'classes: {", ".join(difference)}. Every split must have the same '
        'sub-folders.'
      )

  def read(split: str) -> task_lib.Examples:
    if split not in splits:
      raise spelling.unknown(f'split of {name!r}', split, splits)
    return _read(splits[split], source=f'{name}, split {split!r}')

  return task_lib.Task(
    name=name,
    num_classes=len(splits[first]),
    class_names=tuple(splits[first]),
    splits=tuple(splits),
    reader=read,
  )
