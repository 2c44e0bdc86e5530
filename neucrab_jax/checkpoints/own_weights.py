# SPDX-License-Identifier: Apache-2.0
"""Weights of a user's own in a known architecture: `ARCHITECTURE=PATH`."""

import glob
import os
import pathlib

from neucrab_jax import models, spelling, stores, untrusted
from neucrab_jax.checkpoints import groups, readers, spec, tf1

_BETWEEN = '='

# Files that are whole checkpoints; TF1's are several of one prefix.
_ARCHIVES = ('.npz', '.tar.gz', '.tgz')
_INDEX = '.index'


def split(reference: str) -> tuple[str, str] | None:
  """The architecture and the path of a reference, if it is one of the kind.

  >>> split('inception_v1=/ckpts/model.ckpt-90000')
  ('inception_v1', '/ckpts/model.ckpt-90000')
  >>> split('models/rate=0.1.onnx')

  Raises:
    ValueError: if the architecture is unknown, or the path is empty.
  """
  architecture, between, path = reference.partition(_BETWEEN)
  architecture, path = architecture.strip(), path.strip()
  if not between or '/' in architecture:
    return None
  if architecture not in models.names():
    if readers.is_known(reference) and os.path.exists(reference):
      return None
    raise spelling.unknown('architecture', architecture, models.names())
  if not path:
    raise ValueError(
      f'{reference!r} names no weights. Give their path behind the =, such as '
      f'{architecture}=/ckpts/model.ckpt-90000.'
    )
  return architecture, path


def _check(path: str) -> str:
  """Refuses what is no checkpoint, before anything is computed."""
  if not path.endswith(_ARCHIVES):
    tf1.check_prefix(path)
  elif not os.path.isfile(path):
    raise FileNotFoundError(f'There is no file {path!r}.')
  return path


def find(pattern: str) -> list[str]:
  """The checkpoints that a path or a pattern means.

  Args:
    pattern: an `.npz`, what the files of a TF1 checkpoint have in common, or a
      TF-Hub module; or a pattern of these.

  Raises:
    FileNotFoundError: if there are none.
    ValueError: if it is one file of a TF1 checkpoint, or some folder.
  """
  if stores.is_address(pattern):
    stores.fetch_matches(f'{pattern}*')
    pattern = str(stores.place(pattern))
  untrusted.check_local(pattern)
  path = os.path.abspath(os.path.expanduser(pattern))
  if not glob.has_magic(pattern) or os.path.exists(path):
    return [_check(path)]
  found = {match for match in glob.glob(path) if match.endswith(_ARCHIVES)}
  for match in {*glob.glob(path), *glob.glob(f'{path}{_INDEX}')}:
    if match.endswith(_INDEX):
      found.add(match.removesuffix(_INDEX))
  if not found:
    raise FileNotFoundError(
      f'No checkpoint matches {pattern!r}: there is no .npz, .tar.gz or .index.'
    )
  return [_check(match) for match in sorted(found)]


def stem(path: str) -> pathlib.PurePath:
  """A path without the ending of an archive; a TF1 prefix has no ending."""
  for ending in _ARCHIVES:
    path = path.removesuffix(ending)
  return pathlib.PurePath(path)


def to_spec(name: str, architecture: str, path: str) -> spec.Checkpoint:
  """The spec of weights, prepared like those of the architecture's group."""
  like = next(
    (
      known
      for known in (each for group in groups.GROUPS.values() for each in group)
      if known.architecture.split('|')[0] == architecture
    ),
    spec.Checkpoint('', architecture=architecture, path=''),
  )
  return spec.Checkpoint(
    name,
    architecture=architecture,
    path=path,
    image_size=like.image_size,
    value_range=like.value_range,
    resize_method=like.resize_method,
  )
