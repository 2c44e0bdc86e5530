# SPDX-License-Identifier: Apache-2.0
"""A user's own function as a file: what `jax.export` wrote, and how to use it.

The first line is JSON: how images are prepared, how many parameters there are,
and a digest. What follows is the program, in bytes.
"""

import dataclasses
import os
from collections.abc import Callable, Sequence
from typing import Any

import jax
import msgspec
import numpy as np

from neucrab_jax import storage, untrusted
from neucrab_jax.checkpoints import backbone as backbone_lib
from neucrab_jax.checkpoints import exported_programs, preprocessing, spec
from neucrab_jax.models import exported

SUFFIX = '.jaxexport'

_FORMAT = 'neucrab.jaxexport'

# Of a header; it takes a few hundred bytes.
_MOST_HEADER = 1 << 16


class _Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
  """The first line of a file.

  Attributes:
    format: what file it is.
    version: of the format.
    jax: version of the package that exported the function.
    num_parameters: in it.
    preprocessing: of its images.
    size: of the program, bytes.
    flops: of one image; None of files of before it was written.
    sha256: of the program and of what is above.
  """

  format: str
  version: int
  jax: str
  num_parameters: int
  preprocessing: preprocessing.Preprocessing
  size: int
  sha256: str = ''
  flops: float | None = None

  def digest(self, program: bytes) -> str:
    told = msgspec.to_builtins(msgspec.structs.replace(self, sha256=''))
    if self.flops is None:  # As it was when there was no such number.
      del told['flops']
    return storage.digest(told, program)


def _read(path: str) -> tuple[_Header, bytes]:
  """The header and the program of a file.

  Raises:
    FileNotFoundError: if there is none.
    storage.DamagedFileError: if it is none of the kind, or damaged.
  """
  if not os.path.exists(path):
    raise FileNotFoundError(f'There is no file {path!r}.')
  try:
    untrusted.check_regular(path)
    with open(path, 'rb') as file:
      line = file.readline(_MOST_HEADER)
      header = msgspec.json.decode(line, type=_Header)
      program = file.read()
  except (OSError, ValueError, RecursionError) as error:
    raise storage.DamagedFileError(
      f'{path!r} is no file of checkpoints.save_exported: {error}.'
    ) from error
  if (header.format, header.version) != (_FORMAT, 1):
    raise storage.DamagedFileError(
      f'{path!r} is of format {header.format!r}, version {header.version}; '
      f'{_FORMAT!r}, version 1, can be read.'
    )
  if len(program) != header.size or header.digest(program) != header.sha256:
    raise storage.DamagedFileError(
      f'{path!r} is damaged: it has {len(program)} of the {header.size} bytes '
      'of its program, and not the digest that it should have. Save it again.'
    )
  return header, program


def _build(
  header: _Header,
  program: bytes,
  checkpoint: spec.Checkpoint,
  prepared: preprocessing.Preprocessing,
) -> backbone_lib.Backbone:
  key = storage.digest(program)
  read = exported_programs.read(program, key)
  size = exported_programs.image_size(read.function)
  if size > preprocessing.MOST_PIXELS or prepared.image_size not in (
    size,
    None,
  ):
    raise ValueError(
      f'its images are of {size} pixels, not of {prepared.image_size}'
    )
  is_reversed = prepared.channels == 'BGR'
  has_logits = len(read.function.out_avals) > 1
  return backbone_lib.Backbone(
    checkpoint=dataclasses.replace(
      checkpoint,
      architecture=SUFFIX[1:],
      image_size=size,
      value_range=prepared.levels(),
      resize_method=prepared.resize_method,
      upstream_accuracy=prepared.upstream_accuracy,
    ),
    module=exported.Network(
      read,
      reversed_channels=is_reversed,
      num_classes=read.function.out_avals[1].shape[1] if has_logits else None,
    ),
    variables={'params': {}},
    fingerprint=storage.digest(key, is_reversed),
    parameters_inside=header.num_parameters,
    flops_inside=header.flops,
  )


def restore(checkpoint: spec.Checkpoint) -> backbone_lib.Backbone:
  """Reads a network that `save_exported` wrote.

  Args:
    checkpoint: whose `path` is of the file.

  Raises:
    FileNotFoundError: if there is no such file.
    ValueError: if the file is damaged or of another kind, was exported for
      other devices, or gives no features.
  """
  path = checkpoint.path
  header, program = _read(path)
  told = msgspec.json.encode(header.preprocessing).decode()
  prepared = preprocessing.read(path, told)
  if checkpoint.dtype != 'float32':
    raise ValueError(
      f'{path!r} cannot run in {checkpoint.dtype}: what its program computes '
      'in is written into it. Leave dtype at float32, or export a function '
      'that converts itself, and gives f32.'
    )
  try:
    made = _build(header, program, checkpoint, prepared)
    backbone_lib.check(made)
  except (ValueError, OSError, MemoryError, RuntimeError, TypeError) as error:
    raise ValueError(
      f'{path!r}, exported by JAX {header.jax} and read by {jax.__version__}, '
      f'cannot be used: {error}'
    ) from error
  return made


def save_exported(
  function: Callable[[jax.Array], Any],
  path: str | os.PathLike,
  *,
  image_size: int,
  value_range: spec.ValueRange,
  resize_method: str = 'bilinear',
  platforms: Sequence[str] = ('cpu', 'cuda', 'tpu'),
  upstream_accuracy: float | None = None,
  num_parameters: int | None = None,
) -> None:
  """Writes a function as a checkpoint that can be ranked like the others.

  Args:
    function: from images [B, H, W, 3], f32 in the value range, to features
      [B, D], or to features and logits [B, Z]; of inference, with the weights
      inside. Any network of Flax, Equinox or Haiku is one.
    path: of the file, which ends in '.jaxexport'.
    image_size: H and W.
    value_range: what 0 and 255 become, for all colours or for each.
    resize_method: a method of `tasks.resize`.
    platforms: where the function shall run.
    upstream_accuracy: on the task that it was pre-trained for, if known.
    num_parameters: of the network; if it is None, all floats in arrays are
      counted, those of BatchNorm's statistics, too.

  Raises:
    ValueError: if the path ends otherwise, the function cannot be exported, or
      it tells two images not apart; then nothing is written.
  """
  path = os.fspath(path)
  untrusted.check_local(path)
  if not path.endswith(SUFFIX):
    raise ValueError(f'The path must end in {SUFFIX}, and is {path!r}.')
  if not 1 <= image_size <= preprocessing.MOST_PIXELS:
    raise ValueError(
      f'image_size is {image_size}, not from 1 to {preprocessing.MOST_PIXELS}.'
    )
  told = {
    'resize_method': resize_method,
    'image_size': int(image_size),
    # As JSON has numbers, so that the digest is that of what is read again.
    'value_range': [np.asarray(e, np.float64).tolist() for e in value_range],
    'upstream_accuracy': upstream_accuracy,
  }
  try:
    prepared = msgspec.convert(told, preprocessing.Preprocessing)
    prepared.levels()
  except ValueError as error:
    raise ValueError(f'{told} is no preprocessing: {error}.') from error
  program, counts = exported_programs.make(function, image_size, platforms)
  counted = counts.num_parameters
  header = _Header(
    format=_FORMAT,
    version=1,
    jax=jax.__version__,
    num_parameters=counted if num_parameters is None else int(num_parameters),
    preprocessing=prepared,
    size=len(program),
    flops=counts.flops,
  )
  header = msgspec.structs.replace(header, sha256=header.digest(program))
  checkpoint = spec.Checkpoint(
    os.path.basename(path), architecture='', path=path
  )
  backbone_lib.check(_build(header, program, checkpoint, prepared))
  with storage.atomic_path(path) as temporary:
    temporary.write_bytes(msgspec.json.encode(header) + b'\n' + program)
