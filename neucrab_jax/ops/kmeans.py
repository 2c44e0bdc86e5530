# SPDX-License-Identifier: Apache-2.0
"""k-means: seeding in a few passes over the data, then Lloyd's iterations.

Seeding draws a few handfuls of candidates, each in proportion to its squared
distance from those before (k-means||), and picks the K centroids among these
few by greedy k-means++, each candidate weighing as much as the examples nearest
to it. The data is read a handful of times, and not K times.

Axes: N examples, D features, K clusters, M candidates, T blocks, B examples of
a block.

Reference:
  Bahmani et al., Scalable k-means++, VLDB 2012, algorithm 2.
"""

import functools
from collections.abc import Sequence

import flax
import jax
import jax.numpy as jnp
import numpy as np

from neucrab_jax import parallel
from neucrab_jax.ops import blocks

# Rounds of drawing candidates, and candidates of a round as a share of K. The
# reference finds that 5 rounds of K/2 to 2K are as good as k-means++ itself.
SEEDING_ROUNDS = 5
OVERSAMPLING = 0.5

# Centroids that move less than this share of the data's variance, which is one
# where they are fitted, have arrived; scikit-learn's default.
TOLERANCE = 1e-4


@flax.struct.dataclass
class KMeans:
  centroids: jax.Array  # [K, D]
  assignments: jax.Array  # [N], the nearest centroid of each example
  inertia: jax.Array  # [], weighted sum of squared distances to it
  num_iterations: jax.Array  # []


def nearest(x: jax.Array, centroids: jax.Array) -> tuple[jax.Array, jax.Array]:
  """The nearest centroid of each example, and the squared distance to it.

  Args:
    x: [B, D], centred: the expanded square cancels where offsets are large.
    centroids: [K, D]

  Returns:
    [B] indices, the first of equals, and [B] squared distances.
  """
  k = centroids.shape[0]
  product = jnp.matmul(x, centroids.T, precision=blocks.PRECISION)
  partial = jnp.sum(centroids**2, axis=1) - 2 * product
  best = jnp.min(partial, axis=1)
  # Several times faster on a CPU than argmin, and equal to it.
  index = jnp.where(partial <= best[:, None], jnp.arange(k), k - 1)
  distance = jnp.maximum(best + jnp.sum(x**2, axis=1), 0)
  return jnp.min(index, axis=1), distance


def _nearest_of_all(x: jax.Array, centroids: jax.Array):
  """`nearest` for [T, B, D] blocks."""
  return jax.lax.map(lambda block: nearest(block, centroids), x)


def _candidates(key, x, weights, num_candidates, num_rounds):
  """Draws candidates, with the weight of the examples nearest to each.

  Args:
    key: of the draws.
    x: [T, B, D]
    weights: [T, B]
    num_candidates: M.
    num_rounds: passes over the data; they divide M evenly.

  Returns:
    [M, D] candidates and [M] weights.
  """
  shape, d = weights.shape, x.shape[-1]
  drawn = num_candidates // num_rounds

  def top(odds, round_index):
    # Gumbel noise draws without replacement, in proportion to exp(odds). Which
    # noise an example gets depends on its index alone, not on the padding.
    noise = jax.random.gumbel(
      jax.random.fold_in(key, round_index), (weights.size,), x.dtype
    )
    rows = jax.lax.top_k(odds.reshape(-1) + noise, drawn)[1]
    return jnp.divmod(rows, shape[1])

  def draw(state, round_index):
    distances, assignments = state
    rows = top(jnp.log(weights * distances), round_index)
    new = x[rows]
    index, distance = _nearest_of_all(x, new)
    closer = distance < distances
    chosen = jnp.zeros(shape, bool).at[rows].set(True)
    assignments = jnp.where(closer, index + round_index * drawn, assignments)
    distances = jnp.where(chosen, 0, jnp.minimum(distances, distance))
    return (distances, assignments), new

  # The first round has nothing to be far from.
  new = x[top(jnp.log(weights), 0)]
  assignments, distances = _nearest_of_all(x, new)
  state, rest = jax.lax.scan(
    draw, (distances, assignments), jnp.arange(1, num_rounds)
  )
  candidates = jnp.concatenate([new[None], rest]).reshape(-1, d)
  mass = jnp.zeros(num_candidates, x.dtype)
  mass = mass.at[state[1].reshape(-1)].add(weights.reshape(-1))
  return candidates, mass


def _greedy(key, candidates, mass, num_clusters):
  """Greedy k-means++ on few points: [M, D], [M] to [K, D]."""
  num_trials = 2 + int(np.log(num_clusters))  # as scikit-learn
  norms = jnp.sum(candidates**2, axis=1)
  noise_key, first_key = jax.random.split(key)
  first = jax.random.categorical(first_key, jnp.log(mass))

  def distances_to(rows):
    product = jnp.matmul(
      candidates[rows], candidates.T, precision=blocks.PRECISION
    )
    squares = jnp.maximum(norms[rows][:, None] + norms - 2 * product, 0)
    # A point is at no distance from itself, which rounding forgets.
    return squares.at[jnp.arange(rows.shape[0]), rows].set(0)

  def pick(i, state):
    distances, chosen = state
    potential = jnp.cumsum(mass * distances)
    draws = jax.random.uniform(
      jax.random.fold_in(noise_key, i), (num_trials,), candidates.dtype
    )
    rows = jnp.searchsorted(potential, draws * potential[-1], side='right')
    rows = jnp.minimum(rows, mass.shape[0] - 1)
    trials = jnp.minimum(distances, distances_to(rows))
    best = jnp.argmin(jnp.sum(mass * trials, axis=1))
    return trials[best], chosen.at[i].set(rows[best])

  chosen = jnp.zeros(num_clusters, jnp.int32).at[0].set(first)
  state = (distances_to(first[None])[0], chosen)
  _, chosen = jax.lax.fori_loop(1, num_clusters, pick, state)
  return candidates[chosen]


def seed(key, x, weights, *, num_clusters: int) -> jax.Array:
  """Spreads K centroids over the data.

  Args:
    key: of the draws.
    x: [T, B, D], centred.
    weights: [T, B], zero where there is no example.
    num_clusters: K, at most T B.

  Returns:
    [K, D]
  """
  candidate_key, greedy_key = jax.random.split(key)
  drawn = -(-int(OVERSAMPLING * num_clusters) // 8) * 8 + 8
  if SEEDING_ROUNDS * drawn >= weights.size:
    candidates, mass = x.reshape(-1, x.shape[-1]), weights.reshape(-1)
  else:
    candidates, mass = _candidates(
      candidate_key, x, weights, SEEDING_ROUNDS * drawn, SEEDING_ROUNDS
    )
  return _greedy(greedy_key, candidates, mass, num_clusters)


def lloyd(x, weights, centroids, *, max_iterations, tolerance):
  """Lloyd's iterations.

  Args:
    x: [T, B, D], centred.
    weights: [T, B], zero where there is no example.
    centroids: [K, D] to start from.
    max_iterations: at most this many passes over the data.
    tolerance: summed squared movement of the centroids at which to stop.

  Returns:
    [K, D] centroids and how many iterations they took. A cluster that lost all
    its examples stays where it is.
  """
  num_clusters = centroids.shape[0]

  def add_block(sums, block):
    x, w = block
    index, _ = nearest(x, sums[2])
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
  return centroids, num_iterations


@functools.partial(jax.jit, static_argnames=('num_clusters', 'key_kind'))
def _fit(key, x, weights, affine, max_iterations, *, num_clusters, key_kind):
  key = jax.random.wrap_key_data(key, impl=key_kind)
  centroids = seed(key, x, weights, num_clusters=num_clusters)
  centroids, num_iterations = lloyd(
    x,
    weights,
    centroids,
    max_iterations=max_iterations,
    tolerance=TOLERANCE,
  )
  assignments, distances = _nearest_of_all(x, centroids)
  return KMeans(
    centroids=centroids * affine.scale + affine.centre,
    assignments=assignments.reshape(-1),
    # In this order, lest zero times infinity.
    inertia=jnp.sum(weights * distances) * affine.scale * affine.scale,
    num_iterations=num_iterations,
  )


def fit(
  key: jax.Array,
  x: jax.Array,
  *,
  num_clusters: int,
  example_weights: jax.Array | None = None,
  max_iterations: int = 100,
  devices: Sequence[jax.Device] | None = None,
) -> KMeans:
  """Clusters examples around K centroids.

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
  x, weights, affine = blocks.place_standardised(
    x, example_weights, num_clusters, devices
  )
  found = _fit(
    blocks.raw(key),
    x,
    weights,
    affine,
    max_iterations,
    num_clusters=num_clusters,
    key_kind=blocks.key_kind(key),
  )
  if devices is not None:
    found = parallel.fetch(found)
  return found.replace(
    centroids=blocks.crop(found.centroids, (num_clusters, d)),
    assignments=blocks.crop(found.assignments, (n,)),
  )
