# SPDX-License-Identifier: Apache-2.0
"""Tasks from a folder of images, one sub-folder a class.

    root/<class>/**/*.jpg            one split, 'train'
    root/<split>/<class>/**/*.jpg    if every sub-folder is named like a split

Axes: N examples.
"""

import collections
import functools
import os
import pathlib
import stat
import warnings
from collections.abc import Iterator, Mapping

import numpy as np

from neucrab_jax import progress, storage
from neucrab_jax.tasks import image_files
from neucrab_jax.tasks import splits as splits_lib
from neucrab_jax.tasks import task as task_lib

# What systems and archivers leave behind in any folder.
_LEFT_BEHIND = {
  '__MACOSX',
  '@eaDir',
  '$RECYCLE.BIN',
  'System Volume Information',
  'Thumbs.db',
  'desktop.ini',
  'lost+found',
}

# The kinds of files that the warning of what is left out counts one by one.
_MOST_SUFFIXES = 10

# The files of each class, by its name.
_Classes = dict[str, list[pathlib.Path]]


class LeftOutWarning(UserWarning):
  """Some files of a folder are no part of the task."""


class _LeftOut:
  """Counts what is in a folder and no part of the task."""

  def __init__(self):
    self.suffixes = collections.Counter()
    self.beside = 0  # Images beside the classes.

  def warn(self, root: pathlib.Path) -> None:
    """Says what was left out, if anything."""
    most = self.suffixes.most_common(_MOST_SUFFIXES)
    parts = [
      f'{count} {suffix or "without a suffix"}' for suffix, count in most
    ]
    rest = self.suffixes.total() - sum(count for _, count in most)
    if rest:
      parts.append(f'{rest} others')
    said = []
    if parts:
      said.append(
        'left out of the classes, as files that are called like no image that '
        f'can be read: {", ".join(parts)}'
      )
    if self.beside:
      said.append(f'left out, as images beside the classes: {self.beside}')
    if said:
      warnings.warn(
        f'{str(root)!r}: {"; ".join(said)}.', LeftOutWarning, stacklevel=3
      )


def _is_left_behind(name: str) -> bool:
  return name.startswith('.') or name in _LEFT_BEHIND


def _list(folder: pathlib.Path) -> list[tuple[pathlib.Path, bool]]:
  """Visible entries by name, each with whether it is a folder.

  Raises:
    ValueError: if a link that could be a folder or an image leads nowhere.
  """
  entries = []
  for entry in sorted(folder.iterdir()):
    if _is_left_behind(entry.name):
      continue
    is_folder = False
    try:
      is_folder = stat.S_ISDIR(entry.stat().st_mode)
    except OSError as error:
      if not entry.suffix or image_files.is_image(entry):
        raise ValueError(
          f'{str(entry)!r} cannot be read: {error.strerror}. Repair or remove '
          'it.'
        ) from error
    entries.append((entry, is_folder))
  return entries


def _list_folders(folder: pathlib.Path) -> list[pathlib.Path]:
  return [entry for entry, is_folder in _list(folder) if is_folder]


def _walk(
  folder: pathlib.Path, left_out: _LeftOut, above: tuple[str, ...] = ()
) -> Iterator[pathlib.Path]:
  """The images of a folder, and after them those of its sub-folders.

  Args:
    folder: a class or a part of it.
    left_out: counts what is no image.
    above: the real paths of the folders that this one is in.
  """
  real = os.path.realpath(folder)
  if real in above:
    raise ValueError(
      f'The link {str(folder)!r} leads back to a folder that it is in. Remove '
      'it.'
    )
  entries = _list(folder)
  for entry, is_folder in entries:
    if image_files.is_image(entry):
      # A folder that is called like one, too: its reader refuses it by name.
      yield entry
    elif not is_folder:
      left_out.suffixes[entry.suffix.lower()] += 1
  for entry, is_folder in entries:
    if is_folder and not image_files.is_image(entry):
      yield from _walk(entry, left_out, (*above, real))


def _list_classes(folder: pathlib.Path, left_out: _LeftOut) -> _Classes:
  """The classes of one split, each with its image files."""
  entries = _list(folder)
  left_out.beside += sum(
    image_files.is_image(entry) for entry, is_folder in entries if not is_folder
  )
  classes = {
    entry.name: list(_walk(entry, left_out))
    for entry, is_folder in entries
    if is_folder
  }
  if not classes:
    raise ValueError(
      f'The folder {str(folder)!r} has no sub-folders. Put the images of '
      'each class in a sub-folder of its own, named like the class.'
    )
  for name, files in classes.items():
    if not files:
      raise ValueError(
        f'The folder {str(folder / name)!r} has no images '
        '(.jpg, .png, .webp, .tif or what else Pillow reads). Every sub-folder '
        'is a class: add images or remove it.'
      )
  if len(classes) == 1:
    only = next(iter(classes))
    hint = (
      f' If they are those of {str(folder / only)!r}, give that.'
      if len(_list_folders(folder / only)) > 1
      else ''
    )
    raise ValueError(
      f'The folder {str(folder)!r} has only one class, {only!r}'
      f'. There must be at least two sub-folders, one a class.{hint}'
    )
  return classes


def _holds_folders_only(folder: pathlib.Path) -> bool:
  """Whether there are sub-folders and, beside them, no images."""
  entries = _list(folder)
  return any(is_folder for _, is_folder in entries) and not any(
    image_files.is_image(entry) for entry, is_folder in entries if not is_folder
  )


def _list_splits(root: pathlib.Path) -> dict[str, pathlib.Path]:
  """Each split and the folder that holds its classes."""
  folders = _list_folders(root)
  named = [folder for folder in folders if splits_lib.find(folder.name)]
  # Classes may be called "train" and "test" too; those hold images.
  if not named or named != folders or not all(map(_list_folders, folders)):
    for folder in named:
      if _holds_folders_only(folder):
        others = [
          other.name
          for other in folders
          if other not in named or not _list_folders(other)
        ]
        raise ValueError(
          f'The folder {str(folder)!r} looks like a split, with a sub-folder '
          f'for each class. Beside it these do not: {", ".join(others)}. Every '
          'folder must be a split, or every folder a class.'
        )
    return {'train': root}
  splits: dict[str, pathlib.Path] = {}
  for folder in folders:
    split = splits_lib.find(folder.name) or folder.name
    if split in splits:
      raise ValueError(
        f'The folders {str(splits[split])!r} and {str(folder)!r} are both '
        f'the split {split!r}. Keep one.'
      )
    splits[split] = folder
  return {split: splits[split] for split in splits_lib.in_order(splits)}


def _read(classes: _Classes, *, source: str) -> task_lib.Examples:
  files = [file for members in classes.values() for file in members]
  labels = np.repeat(
    np.arange(len(classes), dtype=np.int32),
    [len(members) for members in classes.values()],
  )
  digests = image_files.digest_all(
    progress.track(files, total=len(files), description=f'Reading {source}')
  )

  def open_images(indices: np.ndarray) -> Iterator[task_lib.Decode]:
    return (
      functools.partial(image_files.decode, files[index]) for index in indices
    )

  return task_lib.Examples(
    labels=labels,
    fingerprint=storage.digest(labels, digests),
    opener=open_images,
  )


def _check_same_classes(splits: Mapping[str, _Classes], *, name: str) -> None:
  first, *others = splits
  for other in others:
    difference = sorted(set(splits[first]) ^ set(splits[other]))
    if difference:
      raise ValueError(
        f'The splits {first!r} and {other!r} of {name!r} differ in their '
        f'classes: {", ".join(difference)}. Every split must have the same '
        'sub-folders.'
      )


def load(name: str) -> task_lib.Task:
  """Loads a task from a folder of images.

  The classes are the sub-folders, in the order of their names. What lies deeper
  in one belongs to it. What is no image is left out, with a warning.

  Raises:
    ValueError: if there are no sub-folders, one without images, only one
      class, or other classes in one split than in another; or a link leads
      nowhere or in a circle.
  """
  root = pathlib.Path(os.path.expanduser(name))
  left_out = _LeftOut()
  folders = _list_splits(root)
  splits = {
    split: _list_classes(folder, left_out) for split, folder in folders.items()
  }
  if root not in folders.values():
    left_out.beside += sum(
      image_files.is_image(entry)
      for entry, is_folder in _list(root)
      if not is_folder
    )
  _check_same_classes(splits, name=name)
  left_out.warn(root)

  def read(split: str) -> task_lib.Examples:
    return _read(splits[split], source=f'{name}, split {split!r}')

  first = next(iter(splits.values()))
  return task_lib.Task(
    name=name,
    num_classes=len(first),
    class_names=tuple(first),
    splits=tuple(splits),
    reader=splits_lib.with_parts(read, known=splits, source=name),
  )
