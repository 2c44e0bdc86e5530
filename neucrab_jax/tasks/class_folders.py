# SPDX-License-Identifier: Apache-2.0
"""Where the splits and the classes of a folder of images are.

    root/<class>/**/*.jpg            one split, 'train'
    root/<split>/<class>/**/*.jpg    if every sub-folder is named like a split

Classes may be deeper: of depth 2, `fruit/apple` is one.
"""

import collections
import os
import pathlib
import stat
import warnings
from collections.abc import Iterator, Mapping

from neucrab_jax.tasks import image_files
from neucrab_jax.tasks import splits as splits_lib

# What systems and archivers leave behind in any folder.
_LEFT_BEHIND = {
  '#recycle',
  '__MACOSX',
  '__pycache__',
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
Classes = dict[str, list[pathlib.Path]]


class LeftOutWarning(UserWarning):
  """Some files of a folder are no part of the task."""


class ClassDepthWarning(UserWarning):
  """The classes may be deeper than they are looked for."""


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


def _find_classes(
  folder: pathlib.Path,
  left_out: _LeftOut,
  *,
  depth: int,
  above: tuple[str, ...] = (),
) -> Classes:
  """The folders of a depth, or less where a branch ends, and their images.

  Args:
    folder: that they are in.
    left_out: counts what is no image, and images beside the classes.
    depth: 1 for the sub-folders themselves.
    above: names of the folders on the way to this one.
  """
  entries = _list(folder)
  left_out.beside += sum(
    image_files.is_image(entry) for entry, is_folder in entries if not is_folder
  )
  classes = {}
  for entry, is_folder in entries:
    if not is_folder:
      continue
    way = (*above, entry.name)
    if depth > 1 and _list_folders(entry):
      classes |= _find_classes(entry, left_out, depth=depth - 1, above=way)
    else:
      classes['/'.join(way)] = list(_walk(entry, left_out))
  return classes


def _list_classes(
  folder: pathlib.Path, left_out: _LeftOut, *, depth: int
) -> Classes:
  """The classes of one split, each with its image files."""
  classes = _find_classes(folder, left_out, depth=depth)
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


def _check_same_classes(splits: Mapping[str, Classes], *, name: str) -> None:
  first, *others = splits
  for other in others:
    difference = sorted(set(splits[first]) ^ set(splits[other]))
    if difference:
      raise ValueError(
        f'The splits {first!r} and {other!r} of {name!r} differ in their '
        f'classes: {", ".join(difference)}. Every split must have the same '
        'sub-folders.'
      )


def find_splits(root: pathlib.Path, *, depth: int) -> dict[str, Classes]:
  """The splits of a folder, with the files of their classes.

  What is no image is left out, with a warning.

  Args:
    root: the folder.
    depth: of the folders that are classes; 1 for the sub-folders of a split.

  Raises:
    ValueError: if there are no sub-folders, one without images, only one
      class, or other classes in one split than in another; or a link leads
      nowhere or in a circle.
  """
  left_out = _LeftOut()
  folders = _list_splits(root)
  splits = {
    split: _list_classes(folder, left_out, depth=depth)
    for split, folder in folders.items()
  }
  if root not in folders.values():
    left_out.beside += sum(
      image_files.is_image(entry)
      for entry, is_folder in _list(root)
      if not is_folder
    )
  _check_same_classes(splits, name=str(root))
  left_out.warn(root)
  if all(
    _holds_folders_only(folders[split] / name)
    for split, classes in splits.items()
    for name in classes
  ):
    warnings.warn(
      f'{str(root)!r}: the images of every class are in sub-folders of it. If '
      'these are the classes, give --config.task.class_depth='
      f'{depth + 1}.',
      ClassDepthWarning,
      stacklevel=2,
    )
  return splits
