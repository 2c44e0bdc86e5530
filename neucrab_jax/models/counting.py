# SPDX-License-Identifier: Apache-2.0
"""What a network costs to run, by its program alone."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

# Of the networks that were counted, by themselves and their images' size.
_COUNTED: dict[tuple[nn.Module, int], float | None] = {}


def forward_flops(
  module: nn.Module, variables: Mapping[str, Any], *, image_size: int
) -> float | None:
  """XLA's count of floating-point operations for one image; nothing is run.

  Args:
    module: the network.
    variables: of it, or their shapes.
    image_size: H and W.

  Returns:
    None of a program whose sizes are known only when it runs.
  """
  key = module, image_size
  if key not in _COUNTED:
    image = jax.ShapeDtypeStruct((1, image_size, image_size, 3), jnp.float32)
    lowered = jax.jit(module.apply).lower(variables, image)
    try:
      cost = lowered.cost_analysis() or {}
    except jax.errors.JaxRuntimeError:
      cost = {}
    _COUNTED[key] = float(cost['flops']) if 'flops' in cost else None
  return _COUNTED[key]
