# SPDX-License-Identifier: Apache-2.0
"""What a user writes for a checkpoint: a group, a name, a file, a repository.

Names are of the groups. A file is one that a reader of `readers` knows, a
folder one with `config.json` and `model.safetensors`, or with such files or
folders in it; a pattern means all that match, and `x.onnx#NODE` what is chosen
within one. `ARCHITECTURE=PATH` is weights that don't say what network they are
of, `hf:OWNER/NAME` a repository of the Hugging Face hub.
"""

import collections
import dataclasses
import os
import pathlib
from collections.abc import Iterable, Sequence

from neucrab_jax import input_files, spelling, stores, untrusted
from neucrab_jax.checkpoints import groups as groups_lib
from neucrab_jax.checkpoints import (
  hub,
  own_weights,
  readers,
  safetensors_files,
  spec,
  torch_preprocessing,
)

_CONFIG = 'config.json'

# Endings of weights that no reader here knows.
_FOREIGN = ('.gguf', '.msgpack', '.pb', '.tflite')
# Endings of pickled ones.
_PICKLED = ('.bin', '.ckpt', '.pkl', '.pt', '.pth')

# What can be done with any network at all.
_BY_FEATURES = (
  'extract its features there, save them as an .npz of `features` and '
  '`labels`, and rank these with --config=configs/features.py:nleep.'
)

# HDF5 may be anything: it is taken by its own name or a pattern only.
_ANYTHING = ('.h5', '.hdf5')

# What is looked for in a folder: weights that say what they are, or those of
# the folders in it.
_INSIDE = (
  _CONFIG,
  *(f'*{suffix}' for suffix in readers.suffixes() if suffix not in _ANYTHING),
  f'*/{_CONFIG}',
)

_WILDCARDS = '*?['


def groups() -> tuple[str, ...]:
  """The known groups."""
  return tuple(groups_lib.GROUPS)


def names(group: str | None = None) -> tuple[str, ...]:
  """The checkpoints of a group, or of all groups.

  Raises:
    ValueError: if the group is unknown.
  """
  if group is not None and group not in groups_lib.GROUPS:
    raise spelling.unknown('group', group, groups())
  chosen = groups() if group is None else (group,)
  return tuple(spec.name for key in chosen for spec in groups_lib.GROUPS[key])


def get(name: str) -> spec.Checkpoint:
  """The spec of a checkpoint.

  Raises:
    ValueError: if the name is unknown.
  """
  for specs in groups_lib.GROUPS.values():
    for known in specs:
      if known.name == name:
        return known
  if name.endswith(_PICKLED):
    raise ValueError(safetensors_files.pickle_message(name))
  if name.endswith(_FOREIGN):
    raise ValueError(
      f'{name!r} is a file of another framework, which cannot be restored '
      f'here. Export the network as {" or ".join(readers.suffixes())}; or '
      f'{_BY_FEATURES}'
    )
  untrusted.check_local(name)
  # All names of all groups would fill the screen.
  hint = spelling.nearest(name, (*names(), *groups()))
  raise ValueError(
    f'Unknown checkpoint {name!r}.{hint} Groups: {", ".join(groups())}; or '
    f'files that end in {" or ".join(readers.suffixes())}; or '
    'ARCHITECTURE=PATH for weights of your own, or hf:OWNER/NAME of the '
    'Hugging Face hub. Of a network that another library knows by this name, '
    f'{_BY_FEATURES}'
  )


def _is_of_folder(path: pathlib.Path) -> bool:
  """Whether a file is one of those that make a folder a checkpoint."""
  return path.name in (
    _CONFIG,
    safetensors_files.WEIGHTS,
  ) and safetensors_files.is_folder(path.parent)


def _files(reference: str) -> list[str]:
  """The files that a reference means, each with what is chosen within it."""
  pattern, choice = readers.split(reference)
  found = input_files.find(pattern, setting='checkpoints', inside=_INSIDE)
  for path in found:
    if path.name == safetensors_files.WEIGHTS:
      # Of an object store, what lies beside it is not fetched yet.
      for name in (_CONFIG, torch_preprocessing.PREPROCESSOR):
        stores.pull(path.with_name(name))
  files = [
    os.path.abspath(path.parent if _is_of_folder(path) else path)
    for path in found
  ]
  known = [file for file in files if readers.is_known(file)]
  if not known:
    pickled = [
      pickle
      for file in files
      for pickle in (
        safetensors_files.pickles(pathlib.Path(file).parent)
        if file.endswith(_CONFIG)
        else [file]
      )
      if pickle.endswith(_PICKLED)
    ]
    if pickled:
      raise ValueError(safetensors_files.pickle_message(pickled[0]))
    raise ValueError(
      f'No file of {pattern!r} ends in {" or ".join(readers.suffixes())}.'
    )
  return [f'{file}#{choice}' if choice else file for file in known]


def _is_file(reference: str) -> bool:
  """Whether a reference is a file, a pattern of files or a folder."""
  return readers.is_known(reference) or (
    reference not in names()
    and (
      any(sign in reference for sign in _WILDCARDS)
      or os.path.isdir(os.path.expanduser(reference))
      or stores.is_address(reference)
    )
  )


@dataclasses.dataclass(frozen=True)
class _File:
  """A file that was chosen.

  Attributes:
    path: absolute, with what is chosen within it.
    architecture: of weights; '' of a file that says itself what it is.
  """

  path: str
  architecture: str = ''

  def name(self, depth: int) -> str:
    """What it is called: its stem, and so many of its folders.

    Beyond all folders only the architecture can tell it from another.
    """
    file, choice = readers.split(self.path)
    stem = pathlib.PurePath(file)
    if not os.path.isdir(file):
      stem = stem.with_suffix('')
    if self.architecture:
      stem = own_weights.stem(file)
    parts = stem.parts
    name = '-'.join(part for part in parts[-1 - depth :] if part != os.sep)
    name = spelling.of_file(name)
    if self.architecture and depth >= len(parts):
      name = f'{self.architecture}-{name}'
    return f'{name}#{choice}' if choice else name

  def to_spec(self, name: str) -> spec.Checkpoint:
    if self.architecture:
      return own_weights.to_spec(name, self.architecture, self.path)
    suffix = pathlib.PurePath(readers.split(self.path)[0]).suffix
    if os.path.isdir(self.path):
      suffix = '.safetensors'
    return spec.Checkpoint(name, architecture=suffix[1:], path=self.path)


_Chosen = _File | hub.Repository


def _of_files(
  files: Sequence[_Chosen], taken: Iterable[str]
) -> dict[_Chosen, spec.Checkpoint]:
  """The specs of files: short names, longer where two are the same.

  Args:
    files: and repositories, each once.
    taken: names that are another's.
  """
  depths = dict.fromkeys(files, 0)
  most = max((len(pathlib.PurePath(f.path).parts) for f in files), default=0)
  for _ in range(most + 1):
    named = {file: file.name(depth) for file, depth in depths.items()}
    counts = collections.Counter([*named.values(), *taken])
    same = [file for file, name in named.items() if counts[name] > 1]
    for file in same:
      depths[file] += 1
    if not same:
      break
  return {f: f.to_spec(f.name(depth)) for f, depth in depths.items()}


def resolve(selection: str) -> tuple[spec.Checkpoint, ...]:
  """The specs of a selection, in the order given, each once.

  Args:
    selection: groups, names, files, `ARCHITECTURE=PATH`, `hf:OWNER/NAME` and
      patterns, separated by commas.

  Raises:
    FileNotFoundError: if there are no such weights.
    OSError: if a repository of the hub cannot be had.
    ValueError: if the selection is empty or a part of it unknown.
  """
  parts = [part.strip() for part in selection.split(',') if part.strip()]
  if not parts:
    raise ValueError(
      'No checkpoint is chosen. Give a group, names or files separated by '
      f'commas; groups: {", ".join(groups())}.'
    )
  order: list[_Chosen | spec.Checkpoint] = []
  for part in parts:
    if part in groups():
      order += map(get, names(part))
    elif part.startswith(readers.HUB):
      order += hub.find(part)
    elif own := own_weights.split(part):
      architecture, path = own
      order += [_File(p, architecture) for p in own_weights.find(path)]
    elif _is_file(part):
      order += map(_File, _files(part))
    else:
      order.append(get(part))
  order = list(dict.fromkeys(order))
  files = [each for each in order if not isinstance(each, spec.Checkpoint)]
  specs = _of_files(files, taken=names())
  return tuple(e if isinstance(e, spec.Checkpoint) else specs[e] for e in order)


def locate(checkpoint: spec.Checkpoint, folder: str) -> spec.Checkpoint:
  """Completes a path that is relative to a folder of checkpoints.

  Raises:
    ValueError: if the folder is not given.
  """
  path = checkpoint.path
  if os.path.isabs(path) or path.startswith(readers.HUB):
    return checkpoint
  if not folder:
    raise ValueError(
      f'The weights of {checkpoint.name} are not bundled. Give the folder that '
      f'has {checkpoint.path!r} in it, as --config.checkpoint_dir; `python -m '
      'neucrab_jax.download` fills one.'
    )
  path = os.path.join(os.path.expanduser(folder), checkpoint.path)
  return dataclasses.replace(checkpoint, path=path)
