# SPDX-License-Identifier: Apache-2.0
"""What is ranked: checkpoints by name and group, restored into networks."""

import dataclasses
import os

from neucrab_jax import models, spelling, storage
from neucrab_jax.checkpoints import groups as _groups
from neucrab_jax.checkpoints import restoring as _restoring
from neucrab_jax.checkpoints import tf_names
from neucrab_jax.checkpoints.restoring import Backbone as Backbone
from neucrab_jax.checkpoints.spec import Checkpoint as Checkpoint
from neucrab_jax.checkpoints.spec import ValueRange as ValueRange
from neucrab_jax.checkpoints.spec import to_value_range as to_value_range


def groups() -> tuple[str, ...]:
  """The known groups."""
  return tuple(_groups.GROUPS)


def names(group: str | None = None) -> tuple[str, ...]:
  """The checkpoints of a group, or of all groups.

  Raises:
    ValueError: if the group is unknown.
  """
  if group is not None and group not in _groups.GROUPS:
    raise spelling.unknown('group', group, groups())
  chosen = groups() if group is None else (group,)
  return tuple(spec.name for key in chosen for spec in _groups.GROUPS[key])


# Endings of weights that no reader here knows.
_FOREIGN = ('.pt', '.pth', '.bin', '.safetensors', '.onnx', '.keras', '.h5')


def get(name: str) -> Checkpoint:
  """The spec of a checkpoint.

  Raises:
    ValueError: if the name is unknown.
  """
  for specs in _groups.GROUPS.values():
    for spec in specs:
      if spec.name == name:
        return spec
  if name.endswith(_FOREIGN):
    raise ValueError(
      f'{name!r} is a file of another framework, which cannot be restored '
      'here. Extract its features there, save them as an .npz of `features` '
      'and `labels`, and rank these with --config=configs/features.py:nleep.'
    )
  # All names of all groups would fill the screen.
  hint = spelling.nearest(name, (*names(), *groups()))
  raise ValueError(
    f'Unknown checkpoint {name!r}.{hint} Groups: {", ".join(groups())}.'
  )


def _locate(checkpoint: Checkpoint, folder: str) -> Checkpoint:
  """Completes a path that is relative to a folder of checkpoints."""
  if os.path.isabs(checkpoint.path):
    return checkpoint
  if not folder:
    raise ValueError(
      f'The weights of {checkpoint.name} are not bundled. Give the folder that '
      f'has {checkpoint.path!r} in it, as --config.checkpoint_dir; `python -m '
      'neucrab_jax.download` fills one.'
    )
  path = os.path.join(os.path.expanduser(folder), checkpoint.path)
  return dataclasses.replace(checkpoint, path=path)


def expand(selection: str) -> tuple[str, ...]:
  """The names in a selection: groups and names, separated by commas.

  Raises:
    ValueError: if the selection is empty or a part of it unknown.
  """
  parts = [part.strip() for part in selection.split(',') if part.strip()]
  if not parts:
    raise ValueError(
      'No checkpoint is chosen. Give a group or names separated by commas; '
      f'groups: {", ".join(groups())}.'
    )
  chosen = [
    name
    for part in parts
    for name in (names(part) if part in groups() else (get(part).name,))
  ]
  return tuple(dict.fromkeys(chosen))


# How images are prepared for the groups of the paper.
PREPROCESSINGS = ('vtab', 'own')


# Of TF1's checkpoints, which of their weights.
WEIGHTS = ('raw', 'averages')


def notes(backbone: Backbone) -> tuple[str, ...]:
  """What a reader of a result should know of the weights that were read."""
  checkpoint = backbone.checkpoint
  if checkpoint.path.endswith('.npz'):
    return ()
  return tf_names.averages_note(backbone.skipped, averages=checkpoint.averages)


def select(
  selection: str,
  folder: str = '',
  preprocessing: str = 'vtab',
  weights: str = 'raw',
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

  Returns:
    The specs in the order given, each once.

  Raises:
    ValueError: if the selection is empty, a part of it, the preprocessing or
      the weights are unknown, or there is no such folder where one is needed.
  """
  storage.check_local(folder)
  if preprocessing not in PREPROCESSINGS:
    raise spelling.unknown('preprocessing', preprocessing, PREPROCESSINGS)
  if weights not in WEIGHTS:
    raise spelling.unknown('kind of weights', weights, WEIGHTS)
  specs = tuple(_locate(get(name), folder) for name in expand(selection))
  if preprocessing == 'own':
    specs = tuple(map(_groups.with_own_preprocessing, specs))
  if weights == 'averages':
    specs = tuple(dataclasses.replace(spec, averages=True) for spec in specs)
  if folder and not os.path.isdir(os.path.expanduser(folder)):
    raise ValueError(f'There is no folder {folder!r} of checkpoints.')
  return specs


def restore(
  checkpoint: str | Checkpoint, path: str | os.PathLike | None = None
) -> Backbone:
  """Restores a checkpoint: `restore(name)(images).features`.

  Args:
    checkpoint: a name or a spec; with a path, also the name of an architecture.
    path: of the weights, if they are elsewhere than the spec says.

  Raises:
    FileNotFoundError: if there are no such weights.
    ValueError: if the name is unknown, or the weights don't fit.
  """
  if isinstance(checkpoint, str):
    if path is not None and checkpoint in set(models.names()) - set(names()):
      checkpoint = Checkpoint(checkpoint, architecture=checkpoint, path='')
    else:
      checkpoint = get(checkpoint)
  if path is not None:
    checkpoint = dataclasses.replace(checkpoint, path=os.fspath(path))
  return _restoring.restore(checkpoint)
