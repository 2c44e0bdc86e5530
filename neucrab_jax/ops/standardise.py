# SPDX-License-Identifier: Apache-2.0
"""Centring and scaling, so that no offset and no unit costs a kernel digits.

Axes: N examples, D features, T blocks, B examples of a block.
"""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Shaped

from neucrab_jax.ops import blocks
from neucrab_jax.typing import Array


def magnitude(x: Float[Array, '...']) -> Float[Array, '']:
  """The power of two below the largest value: a scale that rounds nothing."""
  largest = jnp.max(jnp.abs(x))
  safe = jnp.where(largest > jnp.finfo(x.dtype).tiny, largest, 1)
  return jnp.ldexp(jnp.ones_like(safe), jnp.frexp(safe)[1] - 1)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Affine:
  """What `standardise` took away: data = standard * scale + centre."""

  centre: Array  # [D]
  scale: Array  # []


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Placed:
  """[N, D] examples where a kernel takes them, in blocks and standardised."""

  x: Array  # [T, B, D'], D' the bucket of D
  weights: Array  # [T, B], zero where there is no example
  affine: Affine  # how to go back
  shape: tuple[int, ...] = dataclasses.field(metadata={'static': True})  # N, D


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


def _standardise_on_host(
  x: Float[np.ndarray, 'T B D'],
  weights: Float[np.ndarray, 'T B'],
  num_dims: int,
) -> Affine:
  """As `standardise`, in f64, in the memory of what it is given.

  A block at a time: with nothing to compile, and no copy of the examples.
  """
  # Devices take what is smaller for zero.
  tiny = float(np.finfo(x.dtype).tiny)
  total = max(weights.sum(dtype=np.float64), tiny)
  shares = np.asarray(weights, np.float64)[..., None] / total
  largest = 0.0
  for block, present in zip(x, weights > 0, strict=True):
    block[~present] = 0
    largest = max(largest, block.max(), -block.min())
  largest = np.float64(largest if largest >= tiny else 1)

  def mean_of(function):
    parts = (
      np.sum(share * function(block / largest), axis=0)
      for block, share in zip(x, shares, strict=True)
    )
    return sum(parts)

  mean = mean_of(lambda block: block)
  mean = mean + mean_of(lambda block: block - mean)
  spread = np.sqrt(np.sum(mean_of(lambda b: (b - mean) ** 2)) / num_dims)
  spread = spread if spread * largest >= tiny else 1.0
  for block, present in zip(x, weights > 0, strict=True):
    block[present] = ((block / largest - mean) / spread)[present]
  centre, scale = mean * largest, np.asarray(spread * largest)
  return Affine(centre=centre.astype(x.dtype), scale=scale.astype(x.dtype))


def place(
  x: Shaped[Array, 'N D'],
  example_weights: Shaped[Array, 'N'] | None,
  width: int,
  devices: Sequence | None,
) -> Placed:
  """`blocks.place` and `standardise`, with one copy of the examples left.

  Args:
    x: [N, D], as in `blocks.place`, like all that follow.
    example_weights: [N]
    width: see `blocks.place`.
    devices: see `blocks.place`.
  """
  num_devices = 1 if devices is None else len(devices)
  placed, weights = blocks.cut(x, example_weights, width, num_devices)
  if blocks.is_traced(placed, weights):
    standard, affine = standardise(placed, weights, x.shape[1])
    return Placed(standard, weights, affine, x.shape)
  placed, weights = np.asarray(placed), np.asarray(weights)
  affine = _standardise_on_host(placed, weights, x.shape[1])
  return Placed(*blocks.spread(placed, weights, devices), affine, x.shape)
