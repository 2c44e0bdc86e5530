# SPDX-License-Identifier: Apache-2.0
"""Variables in safetensors files, one or several of a folder.

A file is data: a header of names, types and shapes, and bytes. The header is
compared with the bytes that are there before anything is read.
"""

import contextlib
import fnmatch
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import safetensors

from neucrab_jax import storage, untrusted

WEIGHTS = 'model.safetensors'
INDEX = f'{WEIGHTS}.index.json'

_PICKLES = ('*.bin', '*.pt', '*.pth', '*.ckpt')

_FLOATS = ('F16', 'BF16', 'F32', 'F64')


class _Index(msgspec.Struct, frozen=True):
  """Which file has which variable."""

  weight_map: dict[str, str]


def pickles(folder: pathlib.Path) -> list[str]:
  """The files with pickled weights of a folder."""
  return [
    str(file) for ending in _PICKLES for file in sorted(folder.glob(ending))
  ]


def pickle_message(path: str) -> str:
  """Why a file of pickled weights is not read, and what to do about it."""
  return (
    f'{path!r} holds pickled weights, which can run code and are never opened '
    'here. Convert them where PyTorch is: `import torch, safetensors.torch as '
    's; weights = torch.load("FILE", weights_only=True)` and `s.save_file({k: '
    'v.contiguous() for k, v in weights.items()}, "model.safetensors")`, '
    'beside a config.json; or export the network as ONNX.'
  )


def is_pickle(name: str) -> bool:
  """Whether a file is called as pickled weights are."""
  return any(fnmatch.fnmatch(name, ending) for ending in _PICKLES)


def parts(index: pathlib.Path) -> list[str]:
  """The names of the files, beside it, that an index says to have variables.

  Raises:
    ValueError: if it is damaged, or names something else.
  """
  names = sorted(set(storage.read_json(index, _Index).weight_map.values()))
  for name in names:
    if pathlib.PurePath(name).name != name or not name:
      raise ValueError(f'{str(index)!r} names {name!r}, not a file beside it')
  return names


def find(folder: pathlib.Path) -> list[pathlib.Path]:
  """The files with the weights of a folder; none if it has none.

  Raises:
    ValueError: if it is not clear which they are.
  """
  if (folder / WEIGHTS).exists():
    return [folder / WEIGHTS]
  index = folder / INDEX
  if index.exists():
    names = parts(index)
    for name in names:
      if not (folder / name).exists():
        raise FileNotFoundError(
          f'{str(folder)!r} lacks {name!r}, of which {INDEX} says that it has '
          'variables.'
        )
    return [folder / name for name in names]
  files = sorted(folder.glob('*.safetensors'))
  if len(files) > 1:
    raise ValueError(
      f'{str(folder)!r} has several files of weights. Name one of them: '
      f'{", ".join(file.name for file in files)}.'
    )
  return files


class Weights:
  """Open files; to be closed.

  Attributes:
    shapes: of all variables, by name.
  """

  def __init__(self, files: list[pathlib.Path]):
    """Opens files.

    Raises:
      FileNotFoundError: if one is not there.
      storage.DamagedFileError: if one is none of the kind, or was cut.
    """
    self._stack = contextlib.ExitStack()
    self._files: dict[str, tuple[pathlib.Path, Any]] = {}
    self.shapes: dict[str, tuple[int, ...]] = {}
    try:
      for file in files:
        self._open(file)
    except BaseException:
      self.close()
      raise

  def _open(self, file: pathlib.Path) -> None:
    try:
      untrusted.check_regular(file)
      opened = self._stack.enter_context(
        safetensors.safe_open(file, framework='numpy')
      )
      shapes = {
        name: tuple(opened.get_slice(name).get_shape())
        for name in opened.keys()  # noqa: SIM118
      }
    except FileNotFoundError:
      raise FileNotFoundError(f'There is no file {str(file)!r}.') from None
    except (safetensors.SafetensorError, OSError, ValueError) as error:
      raise storage.DamagedFileError(
        f'{str(file)!r} is no readable safetensors file: {error}. Was it '
        'written whole?'
      ) from error
    for name, shape in shapes.items():
      if name in self.shapes:
        raise storage.DamagedFileError(
          f'{str(file)!r} has {name!r}, as another file of these weights has.'
        )
      self.shapes[name] = shape
      self._files[name] = file, opened

  def close(self) -> None:
    self._stack.close()

  def file(self, name: str) -> str:
    """The path of the file with a variable."""
    return str(self._files[name][0])

  def read(self, name: str) -> np.ndarray:
    """A variable as f32.

    Raises:
      ValueError: if it is no float, or not finite.
    """
    file, opened = self._files[name]
    kind = opened.get_slice(name).get_dtype()
    if kind not in _FLOATS:
      raise ValueError(
        f'{str(file)!r} has {name!r} of type {kind}; it must be one of '
        f'{", ".join(_FLOATS)}.'
      )
    # As it will be used: 1e300 is no f32.
    with np.errstate(over='ignore'):
      value = opened.get_tensor(name).astype(np.float32)
    if not np.isfinite(value).all():
      raise ValueError(f'{str(file)!r} has NaN or Inf in {name!r}, as f32.')
    return value


@contextlib.contextmanager
def opened(files: list[pathlib.Path]) -> Iterator[Weights]:
  """Weights, closed behind the block."""
  weights = Weights(files)
  try:
    yield weights
  finally:
    weights.close()


def is_folder(path: str | os.PathLike) -> bool:
  """Whether a folder has weights and says of what network they are."""
  folder = pathlib.Path(path)
  return (folder / 'config.json').is_file() and (
    (folder / WEIGHTS).exists()
    or (folder / INDEX).exists()
    or any(folder.glob('*.safetensors'))
  )
