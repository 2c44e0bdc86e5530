# SPDX-License-Identifier: Apache-2.0
"""Which variables an architecture has, by tracing it or from the run before."""

import functools
import pathlib
from typing import Any

import flax
import jax
import jax.numpy as jnp
import msgspec
from absl import logging
from flax import traverse_util

from neucrab_jax import models, storage, stores

# Shapes of variables don't depend on the image size, if it is large enough.
_SIZE = 224

# Of a head, no other size of any network: a prime.
ANY_CLASSES = 99_991

# Of each variable its scope in Flax, and its shape.
_Variables = tuple[tuple[tuple[str, ...], tuple[int, ...]], ...]


class _Layout(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
  """The variables of an architecture, kept for the next run.

  Attributes:
    key: SHA-256 of all that they depend on.
    variables: of the network with a head of `ANY_CLASSES`.
  """

  key: str
  variables: _Variables


def trace(architecture: str, *, num_classes: int | None) -> Any:
  """The variables of a network, as shapes."""
  return jax.eval_shape(
    models.build(architecture, num_classes=num_classes).init,
    jax.random.key(0),
    jnp.zeros((1, _SIZE, _SIZE, 3)),
  )


@functools.cache
def _sources() -> str:
  """A digest of the code of all networks."""
  return storage.digest_sources(models)


def _file(architecture: str) -> pathlib.Path | None:
  """Where a layout is kept: beside the compiled programs, if those are."""
  folder = jax.config.values['jax_compilation_cache_dir']
  if not folder or stores.is_address(folder):
    return None
  return pathlib.Path(folder) / 'variables' / f'{architecture}.json'


def _kept(file: pathlib.Path, key: str) -> _Variables | None:
  try:
    found = storage.read_sealed(file, _Layout)
  except (OSError, storage.DamagedFileError):
    return None
  return found.variables if found.key == key else None


@functools.cache
def find(
  architecture: str,
) -> dict[str, tuple[tuple[str, ...], tuple[int, ...]]]:
  """Each variable of a network with a head of `ANY_CLASSES`.

  Tracing a large network takes a second, and most checkpoints are restored in
  one run after another: what was found is kept, for this process and the next.

  Args:
    architecture: of `models.names()`.

  Returns:
    By path, such as 'params/conv1/kernel', its scope in Flax and its shape.
  """
  key = storage.digest(
    architecture, _SIZE, ANY_CLASSES, _sources(), jax.__version__,
    flax.__version__,
  )  # fmt: skip
  file = _file(architecture)
  variables = file and _kept(file, key)
  if not variables:
    shapes: dict[tuple[str, ...], Any] = traverse_util.flatten_dict(
      trace(architecture, num_classes=ANY_CLASSES)
    )
    variables = tuple((scope, leaf.shape) for scope, leaf in shapes.items())
    if file:
      try:
        storage.write_sealed(file, _Layout(key, variables))
      except OSError as error:
        logging.debug('%s is not kept: %s', file, error)
  # A scope of the checkpoint, such as block1/unit_1, is one key in Flax.
  return {'/'.join(scope): (scope, shape) for scope, shape in variables}
