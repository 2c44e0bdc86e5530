# SPDX-License-Identifier: Apache-2.0
"""Squared distances to centroids, by matmuls as wide as the data.

Axes: N examples, D features, K clusters, M points, T blocks, B examples of a
block.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from neucrab_jax.ops import blocks
from neucrab_jax.typing import Array


def products(
  x: Float[Array, 'M D'], y: Float[Array, 'K D'], num_dims: Array | int
) -> Float[Array, 'M K']:
  """[M, D] and [K, D], of which the last dimensions are padding, to [M, K]."""
  return blocks.at_width(
    num_dims,
    x.shape[1],
    lambda w: jnp.matmul(x[:, :w], y[:, :w].T, precision=blocks.PRECISION),
  )


def nearest(
  x: Float[Array, 'B D'], centroids: Float[Array, 'K D'], num_dims: Array | int
) -> tuple[Int[Array, 'B'], Float[Array, 'B']]:
  """The nearest centroid of each example, and the squared distance to it.

  Args:
    x: [B, D], centred: the expanded square cancels where offsets are large.
    centroids: [K, D]
    num_dims: of the D dimensions, those that are not padding.

  Returns:
    [B] indices, the first of equals, and [B] squared distances.
  """
  k = centroids.shape[0]
  product = products(x, centroids, num_dims)
  partial = jnp.sum(centroids**2, axis=1) - 2 * product
  best = jnp.min(partial, axis=1)
  # Twice as fast on a CPU as argmin with jaxlib 0.10, and equal to it; see
  # `experiments.benchmarks.workarounds`.
  index = jnp.where(partial <= best[:, None], jnp.arange(k), k - 1)
  distance = jnp.maximum(best + jnp.sum(x**2, axis=1), 0)
  return jnp.min(index, axis=1), distance


def nearest_of_all(
  x: Float[Array, 'T B D'],
  centroids: Float[Array, 'K D'],
  num_dims: Array | int,
) -> tuple[Int[Array, 'T B'], Float[Array, 'T B']]:
  """`nearest` for [T, B, D] blocks."""
  return jax.lax.map(lambda block: nearest(block, centroids, num_dims), x)
