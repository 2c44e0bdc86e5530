# SPDX-License-Identifier: Apache-2.0
"""Variables of TensorFlow 1's checkpoints and TF-Hub modules.

TensorFlow reads them itself, and is imported when there is something to read.
"""

import contextlib
import os
import pathlib
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np

from neucrab_jax import storage

# Where a TF1-Hub module keeps its variables.
_HUB_PREFIX = 'variables/variables'


def check_prefix(path: str) -> str:
  """Refuses what is no checkpoint's prefix, and says what would be one.

  Returns:
    The prefix of the variables; of a TF-Hub module's folder, that within it.

  Raises:
    FileNotFoundError: if there is no such checkpoint, or a part is missing.
    ValueError: if the path is a folder or one file of a checkpoint.
  """
  folder, name = os.path.split(path)
  for mark in ('.index', '.data-', '.meta'):
    if mark in name:
      prefix = os.path.join(folder, name.split(mark)[0])
      raise ValueError(
        f'{path!r} is one file of a checkpoint. Give what its files have in '
        f'common: {prefix!r}.'
      )
  if os.path.isdir(path):
    if os.path.exists(os.path.join(path, f'{_HUB_PREFIX}.index')):
      return os.path.join(path, _HUB_PREFIX)
    found = sorted(
      str(f.with_suffix('')) for f in pathlib.Path(path).glob('*.index')
    )
    raise ValueError(
      f'{path!r} is a folder, not a checkpoint. '
      + (
        f'Give one of those in it: {", ".join(found)}.'
        if found
        else 'There is none in it: no file ends in .index, and there is no '
        f'{_HUB_PREFIX}.index of a TF-Hub module.'
      )
    )
  if not os.path.exists(f'{path}.index'):
    raise FileNotFoundError(
      f'There is no checkpoint {path!r}: {path + ".index"!r} does not exist.'
    )
  if not list(pathlib.Path(folder).glob(f'{name}.data-*')):
    raise FileNotFoundError(
      f'{path!r} has an .index, but {path + ".data-00000-of-00001"!r}, which '
      'holds the values, does not exist. Copy both.'
    )
  return path


@contextlib.contextmanager
def _unpacked(archive: str) -> Iterator[str]:
  """The variables of a packed TF-Hub module, in a folder for the time being."""
  with tempfile.TemporaryDirectory() as folder:
    try:
      with tarfile.open(archive) as packed:
        members = [
          member
          for member in packed
          if member.isfile()
          and os.path.normpath(member.name).startswith(_HUB_PREFIX)
        ]
        packed.extractall(folder, members, filter='data')
    except (tarfile.TarError, EOFError, OSError) as error:
      raise storage.DamagedFileError(
        f'{archive!r} cannot be unpacked: {error}. Download it again.'
      ) from error
    if not members:
      raise ValueError(
        f'{archive!r} is no TF-Hub module: it has no {_HUB_PREFIX}.'
      )
    yield folder


def read(
  path: str, select: Callable[[Iterable[str]], Mapping[str, str]]
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
  """Reads some of a checkpoint's variables.

  Args:
    path: what the checkpoint's files have in common, such as
      'model.ckpt-300000'; or a TF-Hub module's folder or `.tar.gz`.
    select: from the names of all variables to new names of those to read.

  Returns:
    The variables by their new names, and the names of all others.

  Raises:
    FileNotFoundError: if there is no such checkpoint, or a part is missing.
    ValueError: if the path is a folder or one file of a checkpoint.
    RuntimeError: if TensorFlow is not installed.
    storage.DamagedFileError: if a file is truncated or damaged.
  """
  if path.endswith(('.tar.gz', '.tgz')):
    if not os.path.exists(path):
      raise FileNotFoundError(f'There is no file {path!r}.')
    with _unpacked(path) as folder:
      return read(folder, select)
  prefix = check_prefix(path)
  # It would greet with four lines about its build.
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '1')
  try:
    import tensorflow as tf
  except ImportError as error:
    raise RuntimeError(
      f'TensorFlow, which reads {path!r}, is not installed: pip install '
      f"'neucrab_jax[tfds]', or requirements/tfds.txt ({error})."
    ) from error

  try:
    reader = tf.train.load_checkpoint(prefix)
    names = sorted(reader.get_variable_to_shape_map())
    selected = select(names)
    variables = {new: reader.get_tensor(old) for old, new in selected.items()}
  except (tf.errors.OpError, LookupError, ValueError, RuntimeError) as error:
    raise storage.DamagedFileError(
      f'{path!r} is truncated or damaged: {error}. Download it again.'
    ) from error
  return variables, tuple(sorted(set(names) - set(selected)))
