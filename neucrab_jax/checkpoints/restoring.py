# SPDX-License-Identifier: Apache-2.0
"""From a checkpoint's file to a network that can be called."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from neucrab_jax import models, records
from neucrab_jax.checkpoints import spec

# Where a network's own head keeps its bias, [Z].
_HEAD_BIAS = 'params/logits/bias'


@functools.partial(jax.jit, static_argnums=0)
def _apply(
  module: nn.Module, variables: Any, images: jax.Array
) -> models.Outputs:
  return module.apply(variables, images)


@dataclasses.dataclass(frozen=True)
class Backbone:
  """A restored network.

  Attributes:
    checkpoint: where it came from and what it expects.
    module: the Flax module.
    variables: its parameters and statistics, f32.
    fingerprint: SHA-256 of the weights.
  """

  checkpoint: spec.Checkpoint
  module: nn.Module
  variables: Mapping[str, Any] = dataclasses.field(repr=False)
  fingerprint: str

  def __call__(self, images: jax.Array) -> models.Outputs:
    """Features and logits of a batch.

    Args:
      images: [B, H, W, 3] f32, already in the network's value range.

    Returns:
      features [B, D] and logits [B, Z], or None without a head.
    """
    return _apply(self.module, self.variables, images)


def _match(
  stored: Mapping[str, np.ndarray], module: nn.Module, *, path: str
) -> Any:
  """Puts the stored variables where the module asks for them."""
  # The variables don't depend on the image size, if it is large enough.
  expected = jax.eval_shape(
    module.init, jax.random.key(0), jnp.zeros((1, 224, 224, 3))
  )
  # A scope of the checkpoint, such as block1/unit_1, is one key in Flax.
  scopes = {
    '/'.join(scope): (scope, variable.shape)
    for scope, variable in traverse_util.flatten_dict(expected).items()
  }
  network = type(module).__name__
  missing = sorted(set(scopes) - set(stored))
  if missing:
    raise ValueError(
      f'{path!r} lacks {len(missing)} of the {len(scopes)} variables of '
      f'{network}, the first of them {missing[0]!r}.'
    )
  unknown = sorted(set(stored) - set(scopes))
  if unknown:
    raise ValueError(
      f'{path!r} holds {len(unknown)} variables that {network} has not, the '
      f'first of them {unknown[0]!r}.'
    )
  for name, (_, shape) in scopes.items():
    if stored[name].shape != shape:
      raise ValueError(
        f'{path!r} has {name!r} of shape {stored[name].shape}, but '
        f'{network} wants {shape}.'
      )
    if stored[name].dtype.kind != 'f':
      raise ValueError(
        f'{path!r} has {name!r} of type {stored[name].dtype}; it must be a '
        'float of 16, 32 or 64 bits.'
      )
    if not np.isfinite(stored[name]).all():
      raise ValueError(f'{path!r} has NaN or Inf in {name!r}.')
  return traverse_util.unflatten_dict(
    {
      scope: stored[name].astype(np.float32)
      for name, (scope, _) in scopes.items()
    }
  )


def restore(checkpoint: spec.Checkpoint) -> Backbone:
  """Reads a checkpoint's weights into its network.

  Args:
    checkpoint: whose `path` is an `.npz` of variables by path, such as
      `params/conv1/kernel`; f16 is widened to f32.

  Raises:
    FileNotFoundError: if there are no such weights.
    ValueError: if the file is damaged, or a variable is missing, unknown, of
      another shape than the architecture's, or no finite float.
  """
  stored = records.read_npz(checkpoint.path)
  head = stored.get(_HEAD_BIAS)
  module = models.build(
    checkpoint.architecture, num_classes=None if head is None else head.size
  )
  return Backbone(
    checkpoint=checkpoint,
    module=module,
    variables=_match(stored, module, path=checkpoint.path),
    fingerprint=records.digest(
      *(part for item in sorted(stored.items()) for part in item)
    ),
  )
