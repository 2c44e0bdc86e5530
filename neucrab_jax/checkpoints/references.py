# SPDX-License-Identifier: Apache-2.0
"""What a user writes for a checkpoint: a group, a name, or a file.

Names are of the groups. A file is one that a reader of `readers` knows; a
pattern means all such files that match, and `x.onnx#NODE` what is chosen within
one.
"""

import collections
import dataclasses
import os
import pathlib
from collections.abc import Iterable, Sequence

from neucrab_jax import input_files, spelling
from neucrab_jax.checkpoints import groups as groups_lib
from neucrab_jax.checkpoints import readers, spec

# Endings of weights that no reader here knows.
_FOREIGN = ('.pt', '.pth', '.bin', '.safetensors', '.keras', '.h5')

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
  if name.endswith(_FOREIGN):
    raise ValueError(
      f'{name!r} is a file of another framework, which cannot be restored '
      f'here. Export the network as {" or ".join(readers.suffixes())}; or '
      'extract its features there, save them as an .npz of `features` and '
      '`labels`, and rank these with --config=configs/features.py:nleep.'
    )
  # All names of all groups would fill the screen.
  hint = spelling.nearest(name, (*names(), *groups()))
  raise ValueError(
    f'Unknown checkpoint {name!r}.{hint} Groups: {", ".join(groups())}; or '
    f'files that end in {" or ".join(readers.suffixes())}.'
  )


def _files(reference: str) -> list[str]:
  """The files that a reference means, each with what is chosen within it."""
  pattern, choice = readers.split(reference)
  found = input_files.find(
    pattern,
    setting='checkpoints',
    inside=tuple(f'*{suffix}' for suffix in readers.suffixes()),
  )
  files = [os.path.abspath(path) for path in found]
  known = [file for file in files if readers.is_known(file)]
  if not known:
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
      or (os.sep in reference and os.path.isdir(os.path.expanduser(reference)))
    )
  )


def _name(path: str, depth: int) -> str:
  """What a file is called: its stem, and so many of its folders."""
  file, choice = readers.split(path)
  parts = pathlib.PurePath(file).with_suffix('').parts
  name = '-'.join(part for part in parts[-1 - depth :] if part != '/')
  return f'{name}#{choice}' if choice else name


def _of_files(
  paths: Sequence[str], taken: Iterable[str]
) -> dict[str, spec.Checkpoint]:
  """The specs of files by path: short names, longer where two are the same.

  Args:
    paths: of files, each once.
    taken: names that are another's.
  """
  depths = dict.fromkeys(paths, 0)
  most = max((len(pathlib.PurePath(path).parts) for path in paths), default=0)
  for _ in range(most):
    named = {path: _name(path, depth) for path, depth in depths.items()}
    counts = collections.Counter([*named.values(), *taken])
    same = [path for path, name in named.items() if counts[name] > 1]
    for path in same:
      depths[path] += 1
    if not same:
      break
  return {
    path: spec.Checkpoint(
      _name(path, depth),
      architecture=pathlib.PurePath(readers.split(path)[0]).suffix[1:],
      path=path,
    )
    for path, depth in depths.items()
  }


def resolve(selection: str) -> tuple[spec.Checkpoint, ...]:
  """The specs of a selection, in the order given, each once.

  Args:
    selection: groups, names, files and patterns, separated by commas.

  Raises:
    ValueError: if the selection is empty or a part of it unknown.
  """
  parts = [part.strip() for part in selection.split(',') if part.strip()]
  if not parts:
    raise ValueError(
      'No checkpoint is chosen. Give a group, names or files separated by '
      f'commas; groups: {", ".join(groups())}.'
    )
  known: dict[str, spec.Checkpoint] = {}
  order: list[str] = []
  for part in parts:
    if part in groups():
      order += names(part)
    elif _is_file(part):
      order += _files(part)
    else:
      order.append(get(part).name)
  known = {key: get(key) for key in order if key in names()}
  files = [key for key in dict.fromkeys(order) if key not in known]
  known.update(_of_files(files, taken=names()))
  return tuple(known[key] for key in dict.fromkeys(order))


def locate(checkpoint: spec.Checkpoint, folder: str) -> spec.Checkpoint:
  """Completes a path that is relative to a folder of checkpoints.

  Raises:
    ValueError: if the folder is not given.
  """
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
