# SPDX-License-Identifier: Apache-2.0
"""Readers of files and folders that say themselves what network they are.

A reader is a module with `restore`, which gives a `Backbone` of a `Checkpoint`
whose `path` it knows by its ending. It reads data, never code, checks sizes
before it takes memory, tells the preprocessing from the file, and calls
`backbone.check` on what it made. What is wrong with a file is a ValueError that
names it. A new reader is one file here, and one line of `_BY_SUFFIX`.
"""

import importlib
import pathlib
from typing import Protocol

from neucrab_jax.checkpoints import backbone, safetensors_files, spec

# What references to repositories of the hub begin with.
HUB = 'hf:'
_REPOSITORIES = 'neucrab_jax.checkpoints.hub'

# Of folders with a config and weights.
_FOLDERS = 'neucrab_jax.checkpoints.torch_folders'

_KERAS = 'neucrab_jax.checkpoints.keras_files'

# Ending of a file → module; imported when there is something to read.
_BY_SUFFIX = {
  '.onnx': 'neucrab_jax.checkpoints.onnx_files',
  '.jaxexport': 'neucrab_jax.checkpoints.exported_files',
  '.safetensors': _FOLDERS,
  '.keras': _KERAS,
  '.h5': _KERAS,
  '.hdf5': _KERAS,
}

# Between a file and what is chosen within it.
_CHOICE = '#'


class Reader(Protocol):
  """What the module of a reader has."""

  def restore(self, checkpoint: spec.Checkpoint) -> backbone.Backbone: ...


def suffixes() -> tuple[str, ...]:
  """The endings of files that can be restored without an architecture."""
  return tuple(_BY_SUFFIX)


def split(path: str) -> tuple[str, str]:
  """The path of a file, and what is chosen within it.

  >>> split('models/x.onnx#pool5')
  ('models/x.onnx', 'pool5')
  """
  for suffix in _BY_SUFFIX:
    file, found, choice = path.partition(f'{suffix}{_CHOICE}')
    if found:
      return file + suffix, choice
  return path, ''


def _module(path: str) -> str | None:
  path = split(path)[0]
  if path.startswith(HUB):
    return _REPOSITORIES
  if safetensors_files.is_folder(path):
    return _FOLDERS
  return _BY_SUFFIX.get(pathlib.PurePath(path).suffix)


def is_known(path: str) -> bool:
  """Whether a file, a folder or a repository of the hub can be restored."""
  return _module(path) is not None


def find(path: str) -> Reader | None:
  """The reader of a file, folder or repository; None of no known kind."""
  module = _module(path)
  if module is None:
    return None
  reader: Reader = importlib.import_module(module)  # type: ignore
  return reader
