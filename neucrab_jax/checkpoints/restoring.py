# SPDX-License-Identifier: Apache-2.0
"""From a checkpoint's file to a network that can be called."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import flax.linen as nn
import numpy as np
from absl import logging
from flax import traverse_util

from neucrab_jax import models, storage, stores
from neucrab_jax.checkpoints import (
  backbone,
  layouts,
  readers,
  spec,
  tf1,
  tf_names,
)

# Variables that a message names before it breaks off.
_MOST_LISTED = 20

# The weights are another architecture's if it shares this much more with them.
_CLEARLY = 0.1

# So many of its first three layers tell if weights can be of an architecture
# at all: to trace all of every network takes a minute.
_MOST_OF_FIRST = 2


def _expected(
  architecture: str, num_classes: int | None
) -> dict[str, tuple[tuple[str, ...], tuple[int, ...]]]:
  """Each variable of a network: its scope in Flax, and its shape."""
  return {
    name: (
      scope,
      tuple(
        (num_classes or 0) if n == layouts.ANY_CLASSES else n for n in shape
      ),
    )
    for name, (scope, shape) in layouts.find(architecture).items()
    if num_classes is not None or layouts.ANY_CLASSES not in shape
  }


def _find_head(
  architecture: str, stored: Mapping[str, np.ndarray]
) -> int | None:
  """How many classes the stored head has; None if there is no head."""
  head = {
    name
    for name, (_, shape) in layouts.find(architecture).items()
    if layouts.ANY_CLASSES in shape
  }
  if not head or not head <= set(stored):
    return None
  return stored[min(head)].shape[-1]


def _share(architecture: str, stored: Mapping[str, np.ndarray]) -> float:
  """How much of a network is among the variables, with the same shapes."""
  expected = _expected(architecture, None)
  fitting = sum(
    name in stored and stored[name].shape == shape
    for name, (_, shape) in expected.items()
  )
  return fitting / len(expected)


class _EnoughTracedError(Exception):
  """Ends the tracing of a network after its first layers."""


def _begins_alike(architecture: str, stored: Mapping[str, np.ndarray]) -> bool:
  """Whether two of a network's first three layers are among the variables."""
  fitting: list[bool] = []

  def watch(
    call: Callable[..., Any], args: Any, kwargs: Any, context: Any
  ) -> Any:
    result = call(*args, **kwargs)
    kernel = context.module.variables.get('params', {}).get('kernel')
    if kernel is not None:
      name = '/'.join(('params', *context.module.path, 'kernel'))
      fitting.append(name in stored and stored[name].shape == kernel.shape)
      # As soon as it is settled.
      if _MOST_OF_FIRST in (sum(fitting), len(fitting) - sum(fitting)):
        raise _EnoughTracedError
    return result

  try:
    with nn.intercept_methods(watch):
      layouts.trace(architecture, num_classes=None)
  except _EnoughTracedError:
    pass
  return 2 * sum(fitting) >= len(fitting)


def _likeliest(architecture: str, stored: Mapping[str, np.ndarray]) -> str:
  """A remark on which architecture the weights are of, if not of this one."""
  if _share(architecture, stored) + _CLEARLY > 1:
    return ''  # No other can share so much more.
  shares = {architecture: _share(architecture, stored)}
  for name in models.names():
    if name == architecture or not _begins_alike(name, stored):
      continue
    shares[name] = _share(name, stored)
    if shares[name] == 1 and set(stored) <= set(layouts.find(name)):
      break  # None can share more.
  # Between equals, the one with more of the stored variables.
  best = max(shares, key=lambda n: (shares[n], len(_expected(n, None))))
  if shares[best] < shares[architecture] + _CLEARLY:
    return ''
  return (
    f' These weights are {best}.'
    if shares[best] == 1
    else (f' These weights are likest {best}.')
  )


def _choose(architectures: str, stored: Mapping[str, np.ndarray]) -> str:
  """Of alternatives, the one whose variables the weights are."""
  return max(architectures.split('|'), key=lambda name: _share(name, stored))


def _inventory(stored: Iterable[str], skipped: Iterable[str]) -> str:
  """What a checkpoint holds, as far as a message may be long."""

  def listed(names: Iterable[str]) -> str:
    names = sorted(names)
    dots = ', …' if len(names) > _MOST_LISTED else ''
    return (', '.join(names[:_MOST_LISTED]) or 'none') + dots

  return (
    f' It holds these variables of a network: {listed(stored)}; and beside '
    f'them: {listed(skipped)}.'
  )


def _match(
  stored: Mapping[str, np.ndarray],
  skipped: Sequence[str],
  architecture: str,
  *,
  path: str,
) -> Any:
  """Puts the stored variables where the module asks for them."""
  scopes = _expected(architecture, _find_head(architecture, stored))
  missing = sorted(set(scopes) - set(stored))
  if missing:
    likeliest = _likeliest(architecture, stored)
    raise ValueError(
      f'{path!r} lacks {len(missing)} of the {len(scopes)} variables of '
      f'{architecture}, the first of them {missing[0]!r} of shape '
      f'{scopes[missing[0]][1]}.{likeliest}'
      + ('' if likeliest else _inventory(stored, skipped))
    )
  unknown = sorted(set(stored) - set(scopes))
  if unknown:
    raise ValueError(
      f'{path!r} holds {len(unknown)} variables that {architecture} has not, '
      f'the first of them {unknown[0]!r}.{_likeliest(architecture, stored)}'
    )
  for name, (_, shape) in scopes.items():
    if stored[name].shape != shape:
      raise ValueError(
        f'{path!r} has {name!r} of shape {stored[name].shape}, but '
        f'{architecture} wants {shape}.{_likeliest(architecture, stored)}'
      )
    if stored[name].dtype.kind != 'f':
      raise ValueError(
        f'{path!r} has {name!r} of type {stored[name].dtype}; it must be a '
        'float of 16, 32 or 64 bits.'
      )
    # As it will be used: 1e300 is no f32.
    with np.errstate(over='ignore'):
      finite = np.isfinite(stored[name].astype(np.float32, copy=False)).all()
    if not finite:
      raise ValueError(f'{path!r} has NaN or Inf in {name!r}, as f32.')
  return traverse_util.unflatten_dict(
    {
      scope: stored[name].astype(np.float32, copy=False)
      for name, (scope, _) in scopes.items()
    }
  )


def restore(checkpoint: spec.Checkpoint) -> backbone.Backbone:
  """Reads a checkpoint's weights into its network.

  Args:
    checkpoint: whose `path` is an `.npz` of variables by path, such as
      `params/conv1/kernel`, of which f16 is widened to f32; what a reader of
      `readers` knows; or what `tf1.read` takes. Of several architectures, the
      variables decide.

  Raises:
    FileNotFoundError: if there are no such weights.
    ValueError: if the file is damaged, or a variable is missing, unknown, of
      another shape than the architecture's, or no finite float.
  """
  path = checkpoint.path
  stores.pull_alike(path)
  reader = readers.find(path)
  if reader is not None:
    return reader.restore(checkpoint)
  if path.endswith('.npz'):
    stored, skipped = storage.read_npz(path), ()
  else:
    select = functools.partial(tf_names.to_flax, averages=checkpoint.averages)
    stored, skipped = tf1.read(path, select)
  architecture = _choose(checkpoint.architecture, stored)
  variables = _match(stored, skipped, architecture, path=path)
  logging.info(
    'Restored %d variables of %s from %s as %s; skipped %d%s.',
    len(stored), checkpoint.name, path, architecture, len(skipped),
    f': {", ".join(skipped[:5])}, …' if skipped else '',
  )  # fmt: skip
  return backbone.Backbone(
    checkpoint=dataclasses.replace(checkpoint, architecture=architecture),
    module=models.build(
      architecture, num_classes=_find_head(architecture, stored)
    ),
    variables=variables,
    fingerprint=storage.digest(
      *(part for item in sorted(stored.items()) for part in item)
    ),
    skipped=skipped,
  )
