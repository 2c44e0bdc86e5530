# SPDX-License-Identifier: Apache-2.0
"""What is ranked: checkpoints by name and group, restored into networks."""

import dataclasses
import os

from neucrab_jax import models, spelling, stores, untrusted
from neucrab_jax.checkpoints import groups as _groups
from neucrab_jax.checkpoints import readers, tf_names
from neucrab_jax.checkpoints import references as _references
from neucrab_jax.checkpoints import restoring as _restoring
from neucrab_jax.checkpoints.backbone import Backbone as Backbone
from neucrab_jax.checkpoints.exported_files import (
  save_exported as save_exported,
)
from neucrab_jax.checkpoints.presence import missing as missing
from neucrab_jax.checkpoints.references import get as get
from neucrab_jax.checkpoints.references import groups as groups
from neucrab_jax.checkpoints.references import names as names
from neucrab_jax.checkpoints.references import resolve as resolve
from neucrab_jax.checkpoints.spec import Checkpoint as Checkpoint
from neucrab_jax.checkpoints.spec import ValueRange as ValueRange
from neucrab_jax.checkpoints.spec import to_value_range as to_value_range
from neucrab_jax.models import precision


def expand(selection: str) -> tuple[str, ...]:
  """The names in a selection: groups, names and files, separated by commas.

  Files are also weights of your own, as `ARCHITECTURE=PATH`, and repositories
  of the Hugging Face hub, as `hf:OWNER/NAME`.

  Raises:
    OSError: if a repository cannot be had.
    ValueError: if the selection is empty or a part of it unknown.
  """
  return tuple(spec.name for spec in resolve(selection))


# How images are prepared for the groups of the paper.
PREPROCESSINGS = ('vtab', 'own')


# Of TF1's checkpoints, which of their weights.
WEIGHTS = ('raw', 'averages')


def notes(backbone: Backbone) -> tuple[str, ...]:
  """What a reader of a result should know of the weights that were read."""
  checkpoint = backbone.checkpoint
  if checkpoint.path.endswith('.npz') or readers.is_known(checkpoint.path):
    return ()
  return tf_names.averages_note(backbone.skipped, averages=checkpoint.averages)


def select(
  selection: str,
  folder: str = '',
  preprocessing: str = 'vtab',
  weights: str = 'raw',
  dtype: str = 'float32',
) -> tuple[Checkpoint, ...]:
  """The specs of a selection.

  Args:
    selection: as `expand` takes it.
    folder: where the weights are that are not bundled.
    preprocessing: for the groups of the paper, 'vtab' for its protocol, the
      whole image at 224 px; or 'own' for the size, crop and value range that
      the code of each network evaluates it with.
    weights: of TF1's checkpoints, 'raw', which is what the paper's groups are
      read by; or 'averages' for the exponential moving averages beside them,
      where there are any.
    dtype: that networks run in, 'float32' or 'bfloat16'.

  Returns:
    The specs in the order given, each once.

  Raises:
    ValueError: if the selection is empty, a part of it, the preprocessing, the
      weights or the dtype are unknown, or there is no such folder where one is
      needed.
  """
  if stores.is_address(folder):
    # Of which each checkpoint is fetched when it is restored.
    mirrored = stores.checked_place(folder)
    mirrored.mkdir(parents=True, exist_ok=True)
    folder = str(mirrored)
  untrusted.check_local(folder)
  if preprocessing not in PREPROCESSINGS:
    raise spelling.unknown('preprocessing', preprocessing, PREPROCESSINGS)
  if weights not in WEIGHTS:
    raise spelling.unknown('kind of weights', weights, WEIGHTS)
  if dtype not in precision.DTYPES:
    raise spelling.unknown('dtype', dtype, precision.DTYPES)
  specs = tuple(
    _references.locate(found, folder) for found in resolve(selection)
  )
  if preprocessing == 'own':
    specs = tuple(map(_groups.with_own_preprocessing, specs))
  if weights == 'averages':
    specs = tuple(dataclasses.replace(spec, averages=True) for spec in specs)
  if dtype != 'float32':
    specs = tuple(dataclasses.replace(spec, dtype=dtype) for spec in specs)
  if folder and not os.path.isdir(os.path.expanduser(folder)):
    raise ValueError(f'There is no folder {folder!r} of checkpoints.')
  return specs


def _one(reference: str) -> Checkpoint:
  """The spec of a name or of a file.

  Raises:
    ValueError: if it is of none, or of several.
  """
  if reference in names():
    return get(reference)
  first, *others = resolve(reference)
  if others:
    several = ', '.join(each.name for each in (first, *others))
    raise ValueError(
      f'{reference!r} are {1 + len(others)} checkpoints. Restore them one by '
      f'one: {several}.'
    )
  return first


def restore(
  checkpoint: str | Checkpoint, path: str | os.PathLike | None = None
) -> Backbone:
  """Restores a checkpoint: `restore(name)(images).features`.

  Args:
    checkpoint: a name, a file such as 'model.onnx', a folder with timm's or
      transformers' `config.json` and `model.safetensors`, a repository of the
      hub such as 'hf:timm/resnet50.a1_in1k', weights of your own such as
      'inception_v1=/ckpts/model.ckpt-90000', or a spec; with a path, also the
      name of an architecture.
    path: of the weights, if they are elsewhere than the spec says.

  Raises:
    FileNotFoundError: if there are no such weights.
    ValueError: if the name is unknown, or the weights don't fit.
  """
  if isinstance(checkpoint, str):
    if path is not None and checkpoint in set(models.names()) - set(names()):
      checkpoint = Checkpoint(checkpoint, architecture=checkpoint, path='')
    elif path is None:
      checkpoint = _one(checkpoint)
    else:
      checkpoint = get(checkpoint)
  if path is not None:
    untrusted.check_local(path)
    checkpoint = dataclasses.replace(checkpoint, path=os.fspath(path))
  return _restoring.restore(checkpoint)
