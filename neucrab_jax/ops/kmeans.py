# SPDX-License-Identifier: Apache-2.0
"""k-means: Lloyd's iterations from centroids that `seeding` spreads.

Axes: N examples, D features, K clusters, T blocks, B examples of a block.
"""

import dataclasses
import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Real

from neucrab_jax import parallel
from neucrab_jax.ops import blocks, distances, seeding, standardise
from neucrab_jax.typing import Array, Key

# Centroids that move less than this share of the data's variance, which is one
# where they are fitted, have arrived; scikit-learn's default.
TOLERANCE = 1e-4


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class KMeans:
  centroids: Array  # [K, D]
  assignments: Array  # [N], the nearest centroid of each example
  inertia: Array  # [], weighted sum of squared distances to it
  num_iterations: Array  # []


def lloyd(
  x: Float[Array, 'T B D'],
  weights: Float[Array, 'T B'],
  centroids: Float[Array, 'K D'],
  num_dims: Array | int,
  *,
  max_iterations: Array | int,
  tolerance: Array | float,
) -> tuple[Float[Array, 'K D'], Array]:
  """Lloyd's iterations.

  Args:
    x: [T, B, D], centred.
    weights: [T, B], zero where there is no example.
    centroids: [K, D] to start from.
    num_dims: see `distances.nearest`.
    max_iterations: at most this many passes over the data.
    tolerance: summed squared movement of the centroids at which to stop.

  Returns:
    [K, D] centroids and how many iterations they took. A cluster that lost all
    its examples stays where it is.
  """
  num_clusters = centroids.shape[0]

  def add_block(sums, block):
    x, w = block
    index, _ = distances.nearest(x, sums[2], num_dims)
    add = functools.partial(
      jax.ops.segment_sum, segment_ids=index, num_segments=num_clusters
    )
    return (sums[0] + add(w[:, None] * x), sums[1] + add(w), sums[2]), None

  def step(state):
    centroids, _, i = state
    zeros = jnp.zeros_like(centroids)
    (total, mass, _), _ = jax.lax.scan(
      add_block, (zeros, zeros[:, 0], centroids), (x, weights)
    )
    filled = (mass > 0)[:, None]
    moved = jnp.where(
      filled, total / jnp.where(filled, mass[:, None], 1), centroids
    )
    return moved, jnp.sum((moved - centroids) ** 2), i + 1

  def unfinished(state):
    return (state[2] < max_iterations) & (state[1] > tolerance)

  start = (centroids, jnp.array(jnp.inf, x.dtype), 0)
  centroids, _, num_iterations = jax.lax.while_loop(unfinished, step, start)
  # The loop makes an array of the number that it starts from.
  return centroids, num_iterations  # pyright: ignore


@functools.partial(jax.jit, static_argnames='num_clusters')
def _fit(noise, x, weights, affine, num_dims, max_iterations, *, num_clusters):
  centroids = seeding.seed(
    noise, x, weights, num_dims, num_clusters=num_clusters
  )
  centroids, num_iterations = lloyd(
    x,
    weights,
    centroids,
    num_dims,
    max_iterations=max_iterations,
    tolerance=TOLERANCE,
  )
  assignments, squares = distances.nearest_of_all(x, centroids, num_dims)
  return KMeans(
    centroids=centroids * affine.scale + affine.centre,
    assignments=assignments.reshape(-1),
    # In this order, lest zero times infinity.
    inertia=jnp.sum(weights * squares) * affine.scale * affine.scale,
    num_iterations=num_iterations,
  )


def fit(
  key: Key,
  x: Float[Array, 'N D'],
  *,
  num_clusters: int,
  example_weights: Real[Array, 'N'] | Bool[Array, 'N'] | None = None,
  max_iterations: int = 100,
  devices: Sequence | None = None,
) -> KMeans:
  """Clusters examples around K centroids.

  >>> x = jnp.array([[0.0], [1.0], [10.0], [11.0]])
  >>> found = fit(jax.random.key(0), x, num_clusters=2)
  >>> sorted(round(float(centre), 2) for centre in found.centroids[:, 0])
  [0.5, 10.5]
  >>> found.assignments.shape, round(float(found.inertia), 2)
  ((4,), 1.0)

  Args:
    key: of the seeding.
    x: [N, D].
    num_clusters: K, at most N.
    example_weights: [N], not negative; zero leaves an example out. All one if
      not given.
    max_iterations: of Lloyd.
    devices: to spread the examples over; one device if not given. Every process
      that owns one of them makes the same call.

  Returns:
    The clustering. A cluster without examples keeps a finite centroid.

  Raises:
    ValueError: `x` is not [N, D], or K is not between 1 and N.
  """
  blocks.check(x, num_clusters, example_weights)
  n, d = x.shape
  placed = standardise.place(x, example_weights, num_clusters, devices)
  noise = seeding.draw_noise(
    key, num_examples=placed.weights.size, num_clusters=num_clusters
  )
  found = _fit(
    noise,
    placed.x,
    placed.weights,
    placed.affine,
    d,
    max_iterations,
    num_clusters=num_clusters,
  )
  if devices is not None:
    found = parallel.fetch(found)
  return dataclasses.replace(
    found,
    centroids=blocks.crop(found.centroids, (num_clusters, d)),
    assignments=blocks.crop(found.assignments, (n,)),
  )
