# SPDX-License-Identifier: Apache-2.0
"""Networks of timm and transformers: a folder of config.json and safetensors.

What a network is, its variables' names and shapes say, and the config where
they don't. Nothing is executed, and a pickle is never opened.
"""

import dataclasses
import pathlib
import re
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import msgspec
from absl import logging
from flax import traverse_util

from neucrab_jax import storage, untrusted
from neucrab_jax.checkpoints import backbone as backbone_lib
from neucrab_jax.checkpoints import (
  safetensors_files,
  spec,
  torch_configs,
  torch_names,
  torch_preprocessing,
)
from neucrab_jax.models import pytorch

_CONFIG = 'config.json'

# A config is a few kilobytes.
_MOST_CONFIG = 1 << 24

# Variables that a message names before it breaks off.
_MOST_LISTED = 3


def _locate(path: str) -> tuple[pathlib.Path, list[pathlib.Path]]:
  """The folder, and the files of its weights.

  Raises:
    FileNotFoundError: if it, its config or its weights are not there.
    ValueError: if its weights are pickled, or it is not clear which they are.
  """
  given = pathlib.Path(path)
  if not given.exists():
    raise FileNotFoundError(f'There is no file {path!r}.')
  folder = given if given.is_dir() else given.parent
  files = safetensors_files.find(folder) if given.is_dir() else [given]
  if not files:
    pickles = safetensors_files.pickles(folder)
    if pickles:
      raise ValueError(safetensors_files.pickle_message(pickles[0]))
    raise FileNotFoundError(f'{path!r} has no {safetensors_files.WEIGHTS}.')
  if not (folder / _CONFIG).exists():
    raise FileNotFoundError(
      f'{str(folder)!r} has no {_CONFIG}, which says of what network {path!r} '
      'are the weights. Put there the one of its repository.'
    )
  return folder, files


def _read_config(path: pathlib.Path) -> dict[str, Any]:
  """A config as it is.

  Raises:
    storage.DamagedFileError: if it is none.
  """
  try:
    untrusted.check_regular(path)
    with path.open('rb') as file:
      return msgspec.json.decode(file.read(_MOST_CONFIG), type=dict[str, Any])
  except (msgspec.MsgspecError, ValueError, RecursionError) as error:
    raise storage.DamagedFileError(
      f'{str(path)!r} is no JSON of a network: {error}.'
    ) from error


def _expected(module: nn.Module, size: int) -> dict[tuple[str, ...], Any]:
  """The variables of a network, as shapes, by path."""
  images = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
  return traverse_util.flatten_dict(
    jax.eval_shape(module.init, jax.random.key(0), images)
  )


def _check(
  expected: Mapping[tuple[str, ...], Any],
  sources: Mapping[str, torch_names.Source],
) -> None:
  """Compares names and shapes, before a variable is read.

  Raises:
    ValueError: if one is missing, unknown or of another shape.
  """
  wanted = {
    torch_names.to_torch(path[1:]): torch_names.torch_shape(
      path[-1], variable.shape
    )
    for path, variable in expected.items()
  }
  for verb, names in (
    ('lacks', sorted(set(wanted) - set(sources))),
    ('has the unknown', sorted(set(sources) - set(wanted))),
  ):
    if names:
      dots = ', …' if len(names) > _MOST_LISTED else ''
      listed = ', '.join(
        repr(sources[n].names[0] if n in sources else n)
        for n in names[:_MOST_LISTED]
      )
      raise ValueError(
        f'it {verb} {len(names)} of {len(wanted)} variables: {listed}{dots}'
      )
  for name, shape in wanted.items():
    source = sources[name]
    if not torch_names.fits(source.shape, shape):
      raise ValueError(
        f'it has {source.names[0]!r} of shape {list(source.shape)}, but the '
        f'network wants {list(shape)}'
      )


def _read(
  weights: safetensors_files.Weights,
  expected: Mapping[tuple[str, ...], Any],
  sources: Mapping[str, torch_names.Source],
) -> Mapping[str, Any]:
  """All variables, in our layout."""
  flat = {}
  for path, variable in expected.items():
    source = sources[torch_names.to_torch(path[1:])]
    value = source.take([weights.read(name) for name in source.names])
    flat[path] = torch_names.to_flax(path[-1], value, variable.shape)
  return traverse_util.unflatten_dict(flat)


def _build(path: str, checkpoint: spec.Checkpoint) -> backbone_lib.Backbone:
  folder, files = _locate(path)
  config = _read_config(folder / _CONFIG)
  described = torch_configs.read(config)
  with safetensors_files.opened(files) as weights:
    sources, skipped = torch_names.sort(
      weights.shapes, described.library, described.architecture
    )
    module = pytorch.build(
      pytorch.Layout(
        {name: source.shape for name, source in sources.items()},
        described.architecture,
        described.options,
        described.library,
      )
    )
    prepared = torch_preprocessing.read(folder, config)
    assert prepared.image_size is not None
    expected = _expected(module, prepared.image_size)
    _check(expected, sources)
    variables = _read(weights, expected, sources)
  logging.info(
    'Restored %d variables of %s from %s; skipped %d.',
    len(expected), described.architecture, path, len(skipped),
  )  # fmt: skip
  flat = traverse_util.flatten_dict(variables)
  return backbone_lib.Backbone(
    checkpoint=dataclasses.replace(
      checkpoint,
      architecture=described.architecture,
      image_size=prepared.image_size,
      value_range=prepared.levels(),
      resize_method=prepared.resize_method,
    ),
    module=module,
    variables=variables,
    # What no variable says of the network is in its module.
    fingerprint=storage.digest(
      repr(module), *(part for item in sorted(flat.items()) for part in item)
    ),
    skipped=skipped,
  )


def restore(checkpoint: spec.Checkpoint) -> backbone_lib.Backbone:
  """Reads a network of timm or transformers.

  Args:
    checkpoint: whose `path` is of a folder with `config.json` and
      `model.safetensors`, maybe in several files with an index; or of a
      `.safetensors` file beside a `config.json`.

  Raises:
    FileNotFoundError: if one of them is not there.
    ValueError: if a file is damaged, the network is of no known family, or a
      variable is missing, unknown, of another shape, or no finite float.
  """
  path = checkpoint.path
  try:
    made = _build(path, checkpoint)
    backbone_lib.check(made, alone=False)
  except pytorch.UnsupportedError as error:
    raise ValueError(
      f'{path!r} cannot be used: {error} is not supported. Supported are '
      f'{pytorch.supported()}. Export any other network as ONNX.'
    ) from error
  except (
    *(ValueError, OSError, MemoryError, RuntimeError, TypeError),
    *(AttributeError, LookupError),
  ) as error:
    reason = str(error)
    if re.search(re.escape(path), reason):
      raise
    raise ValueError(f'{path!r} cannot be used: {reason}') from error
  return made
