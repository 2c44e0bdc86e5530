# SPDX-License-Identifier: Apache-2.0
"""Centring and scaling, so that no offset and no unit costs a kernel digits.

Axes: N examples, D features, T blocks, B examples of a block.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Float, Shaped

from neucrab_jax.ops import blocks
from neucrab_jax.typing import Array


def magnitude(x: Float[Array, '...']) -> Float[Array, '']:
  """The power of two below the largest value: a scale that rounds nothing."""
  largest = jnp.max(jnp.abs(x))
  safe = jnp.where(largest > jnp.finfo(x.dtype).tiny, largest, 1)
  return jnp.ldexp(jnp.ones_like(safe), jnp.frexp(safe)[1] - 1)


@struct.dataclass
class Affine:
  """What `standardise` took away: data = standard * scale + centre."""

  centre: Array  # [D]
  scale: Array  # []


def standardise(
  x: Float[Array, 'T B D'],
  weights: Float[Array, 'T B'],
  num_dims: Array | int | None = None,
) -> tuple[Float[Array, 'T B D'], Affine]:
  """Centres, and divides by one scale: the mean variance becomes one.

  Args:
    x: [T, B, D]
    weights: [T, B], zero where there is no example.
    num_dims: how many of the D are not padding; all if not given.

  Returns:
    [T, B, D] and how to go back. Rows without weight are zero.
  """
  width = x.shape[-1] if num_dims is None else num_dims
  present = (weights > 0)[..., None]
  total = jnp.maximum(jnp.sum(weights), jnp.finfo(x.dtype).tiny)
  share = (weights / total)[..., None]
  x = jnp.where(present, x, 0)
  # By the largest value first, so that no square overflows.
  largest = jnp.max(jnp.abs(x))
  largest = jnp.where(largest > 0, largest, 1)
  x = x / largest
  mean = jnp.sum(share * x, axis=(0, 1))
  # Once more: the first mean is only as good as the offset is small.
  mean = mean + jnp.sum(share * (x - mean), axis=(0, 1))
  x = jnp.where(present, x - mean, 0)
  spread = jnp.sqrt(jnp.sum(share * x**2) / width)
  spread = jnp.where(spread > 0, spread, 1)
  return x / spread, Affine(centre=mean * largest, scale=spread * largest)


# In the memory of what it is given, which is therefore not to be used again.
_standardise_in_place = jax.jit(standardise, donate_argnums=0)


def place(
  x: Shaped[Array, 'N D'],
  example_weights: Shaped[Array, 'N'] | None,
  width: int,
  devices: Sequence | None,
) -> tuple[Float[Array, 'T B _'], Float[Array, 'T B'], Affine]:
  """`blocks.place` and `standardise`, with one copy of the examples left.

  Args:
    x: [N, D], as in `blocks.place`, like all that follow.
    example_weights: [N]
    width: see `blocks.place`.
    devices: see `blocks.place`.

  Returns:
    [T, B, D'], [T, B], and how to go back.
  """
  placed, weights = blocks.place(x, example_weights, width, devices)
  standard, affine = _standardise_in_place(placed, weights, x.shape[1])
  return standard, weights, affine
