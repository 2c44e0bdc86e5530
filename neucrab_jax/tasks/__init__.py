# SPDX-License-Identifier: Apache-2.0
"""Downstream tasks: what the checkpoints are ranked for.

    task = tasks.load('digits')
    examples = task.read('train')
    for decode in examples.open(np.arange(10)):
      image = decode()  # uint8 [H, W, 3]

A task is a name built in (`names()`), a folder of images, an `.npz`, or any
image classification data set of TFDS.
"""

import dataclasses
import functools
import os
import pathlib
import warnings
from typing import Any

from neucrab_jax import stores, untrusted
from neucrab_jax.tasks import (
  arrays,
  digits,
  folder,
  from_tfds,
  photographs,
  shapes,
  tfds_preparation,
  vtab,
)
from neucrab_jax.tasks.inspection import BadImagesError
from neucrab_jax.tasks.preprocessing import gives_uint8, resize
from neucrab_jax.tasks.splits import find as find_split
from neucrab_jax.tasks.task import Examples, Task
from neucrab_jax.typing import Config

__all__ = [
  'BadImagesError',
  'Examples',
  'SameNameWarning',
  'Task',
  'find_split',
  'folder_options',
  'gives_uint8',
  'load',
  'names',
  'resize',
]

_BUNDLED = {
  'digits': digits.load,
  'photos': functools.partial(photographs.load, 'photos'),
  'monochrome': functools.partial(photographs.load, 'monochrome'),
  'shapes': shapes.load,
}


class SameNameWarning(UserWarning):
  """A folder of images is called like a built-in task, which was loaded."""


def names() -> tuple[str, ...]:
  """The built-in tasks: the bundled ones and the four of the paper."""
  return (*_BUNDLED, *vtab.NAMES)


# What `load` takes of image folders alone.
_FOLDER_OPTIONS = ('class_depth', 'skip_damaged', 'max_megapixels')


def folder_options(config: Config) -> dict[str, Any]:
  """Of the settings of a task those that are of image folders alone."""
  return {name: config[name] for name in _FOLDER_OPTIONS if name in config}


def _load_path(name: str, options: dict[str, Any]) -> Task:
  """Loads a folder or a file that is there."""
  path = pathlib.Path(name).expanduser()
  # However the way there is written, it is the same task.
  own_name = path.resolve().name
  if path.is_dir():
    return dataclasses.replace(folder.load(name, **options), name=own_name)
  _refuse_depth(name, options)
  if path.suffix == '.npz':
    return dataclasses.replace(arrays.load(name), name=own_name)
  raise ValueError(
    f'The file {name!r} is no task. Give a folder of images or an .npz.'
  )


def _refuse_depth(name: str, options: dict[str, Any]) -> None:
  if options.get('class_depth', 1) != 1:
    raise ValueError(
      f'class_depth={options["class_depth"]} is for folders of images, and '
      f'{name!r} is none. Leave it at 1.'
    )


def load(
  name: str, data_dir: str | os.PathLike | None = None, **options: Any
) -> Task:
  """Loads a task, without reading its images.

  Args:
    name: a name of `names()`; a path to a folder of images or to an `.npz`; or
      a name of TFDS, such as 'cifar10', 'cats_vs_dogs' or
      'imagenet_v2/topimages:3.0.0'.
    data_dir: where TFDS keeps its data, downloaded and prepared there if it is
      not there yet. TFDS's own default if None.
    **options: of image folders, as `folder.load` takes them. Only class_depth
      means anything that other tasks cannot do.

  Raises:
    ValueError: if there is no such task, or it is not one of classification.
    RuntimeError: if TFDS cannot download or prepare it.
  """
  if stores.is_address(name):
    name = str(stores.fetch(name))
  untrusted.check_local(name)
  if name and name not in names() and pathlib.Path(name).expanduser().exists():
    return _load_path(name, options)
  if name in names() and pathlib.Path(name).is_dir():
    warnings.warn(
      f'{name!r} is the built-in task. For the folder of this name, write '
      f'./{name}',
      SameNameWarning,
      stacklevel=2,
    )
  _refuse_depth(name, options)
  if name in _BUNDLED:
    return _BUNDLED[name]()
  if name in vtab.NAMES:
    return vtab.load(name, data_dir)
  if name.startswith(('.', '~', os.sep)) or name.endswith('.npz'):
    raise ValueError(f'There is no folder or file {name!r}.')
  builder = from_tfds.find_builder(name, data_dir, built_in=names())
  tfds_preparation.prepare(builder)
  return from_tfds.load(name, builder)
