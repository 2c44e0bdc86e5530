# SPDX-License-Identifier: Apache-2.0
"""k-means: seeding in a few passes over the data, then Lloyd's iterations.

Seeding draws a few handfuls of candidates, each in proportion to its squared
distance from those before (k-means||), and picks the K centroids among these
few by greedy k-means++, each candidate weighing as much as the examples nearest
to it. The data is read a handful of times, and not K times, unless there is so
little of it that all examples are candidates.

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
from neucrab_jax.ops import blocks, standardise

# Rounds of drawing candidates, and candidates of a round as a share of K. The
# reference finds that 5 rounds of K/2 to 2K are as good as k-means++ itself.
SEEDING_ROUNDS = 5
OVERSAMPLING = 0.5

# With fewer examples than this for each cluster, all are candidates. Clusters
# of one or two examples then decide a mixture's likelihood, and draws miss
# them: of 5,000 examples in 283 dimensions, 500 components lost 4.6 nats by it.
FEW_EXAMPLES = 16

# Up to this many products of candidates are computed in one matmul, half a GiB
# in f64 with their distances; of more, those that are asked for.
DISTANCES_AT_ONCE = 1 << 25

# Centroids that move less than this share of the data's variance, which is one
# where they are fitted, have arrived; scikit-learn's default.
TOLERANCE = 1e-4


@flax.struct.dataclass
class KMeans:
  centroids: jax.Array  # [K, D]
  assignments: jax.Array  # [N], the nearest centroid of each example
  inertia: jax.Array  # [], weighted sum of squared distances to it
  num_iterations: jax.Array  # []


def _products(x: jax.Array, y: jax.Array, num_dims: jax.Array) -> jax.Array:
  """[M, D] and [K, D], of which the last dimensions are padding, to [M, K]."""
  return blocks.at_width(
    num_dims,
    x.shape[1],
    lambda w: jnp.matmul(x[:, :w], y[:, :w].T, precision=blocks.PRECISION),
  )


def nearest(
  x: jax.Array, centroids: jax.Array, num_dims: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """The nearest centroid of each example, and the squared distance to it.

  Args:
    x: [B, D], centred: the expanded square cancels where offsets are large.
    centroids: [K, D]
    num_dims: of the D dimensions, those that are not padding.

  Returns:
    [B] indices, the first of equals, and [B] squared distances.
  """
  k = centroids.shape[0]
  product = _products(x, centroids, num_dims)
  partial = jnp.sum(centroids**2, axis=1) - 2 * product
  best = jnp.min(partial, axis=1)
  # Several times faster on a CPU than argmin, and equal to it.
  index = jnp.where(partial <= best[:, None], jnp.arange(k), k - 1)
  distance = jnp.maximum(best + jnp.sum(x**2, axis=1), 0)
  return jnp.min(index, axis=1), distance


def _nearest_of_all(x: jax.Array, centroids: jax.Array, num_dims: jax.Array):
  """`nearest` for [T, B, D] blocks."""
  return jax.lax.map(lambda block: nearest(block, centroids, num_dims), x)


def _candidates(noise, x, weights, num_dims, num_candidates):
  """Draws candidates, with the weight of the examples nearest to each.

  Args:
    noise: [T B, R], in (0, 1), of R rounds; they divide M evenly.
    x: [T, B, D]
    weights: [T, B]
    num_dims: see `nearest`.
    num_candidates: M.

  Returns:
    [M, D] candidates and [M] weights.
  """
  shape, d = weights.shape, x.shape[-1]
  num_rounds = noise.shape[1]
  drawn = num_candidates // num_rounds
  # Gumbel noise draws without replacement, in proportion to exp(odds).
  noise = -jnp.log(-jnp.log(noise))

  def top(odds, round_index):
    odds = odds.reshape(-1) + noise[:, round_index]
    return jnp.divmod(jax.lax.top_k(odds, drawn)[1], shape[1])

  def draw(state, round_index):
    distances, assignments = state
    rows = top(jnp.log(weights * distances), round_index)
    new = x[rows]
    index, distance = _nearest_of_all(x, new, num_dims)
    closer = distance < distances
    chosen = jnp.zeros(shape, bool).at[rows].set(True)
    assignments = jnp.where(closer, index + round_index * drawn, assignments)
    distances = jnp.where(chosen, 0, jnp.minimum(distances, distance))
    return (distances, assignments), new

  # The first round has nothing to be far from.
  new = x[top(jnp.log(weights), 0)]
  assignments, distances = _nearest_of_all(x, new, num_dims)
  state, rest = jax.lax.scan(
    draw, (distances, assignments), jnp.arange(1, num_rounds)
  )
  candidates = jnp.concatenate([new[None], rest]).reshape(-1, d)
  mass = jnp.zeros(num_candidates, x.dtype)
  mass = mass.at[state[1].reshape(-1)].add(weights.reshape(-1))
  return candidates, mass


def _greedy(noise, candidates, mass, num_dims):
  """Greedy k-means++ on few points: [K, trials], [M, D], [M] to [K, D]."""
  num_clusters, num_candidates = noise.shape[0], mass.shape[0]
  norms = jnp.sum(candidates**2, axis=1)
  at_once = num_candidates**2 <= DISTANCES_AT_ONCE
  if at_once:
    all_products = _products(candidates, candidates, num_dims)

  def pick_rows(odds, noise):
    total = jnp.cumsum(odds)
    rows = jnp.searchsorted(total, noise * total[-1], side='right')
    return jnp.minimum(rows, num_candidates - 1)

  def distances_to(rows):
    product = (
      all_products[rows]
      if at_once
      else _products(candidates[rows], candidates, num_dims)
    )
    squares = jnp.maximum(norms[rows][:, None] + norms - 2 * product, 0)
    # A point is at no distance from itself, which rounding forgets.
    return squares.at[jnp.arange(rows.shape[0]), rows].set(0)

  def pick(i, state):
    distances, chosen = state
    # The first has nothing to be far from, and its trials are all as good.
    odds = mass * jnp.where(i > 0, distances, 1)
    rows = pick_rows(odds, noise[i])
    trials = jnp.minimum(distances, distances_to(rows))
    scores = jnp.sum(mass * trials, axis=1)
    best = jnp.where(i > 0, jnp.argmin(scores), 0)
    return trials[best], chosen.at[i].set(rows[best])

  distances = jnp.full_like(mass, jnp.inf)
  chosen = jnp.zeros(num_clusters, jnp.int32)
  _, chosen = jax.lax.fori_loop(0, num_clusters, pick, (distances, chosen))
  return candidates[chosen]


def _num_trials(num_clusters: int) -> int:
  return 2 + int(np.log(num_clusters))  # as scikit-learn


@functools.partial(jax.jit, static_argnames=('count', 'key_kind'))
def _uniform(keys, *, count, key_kind):
  # In f64 too: a seed means the same draws in whatever precision EM runs.
  dtype = jnp.float32

  def draw(key):
    return jax.random.uniform(
      key, (count,), dtype, minval=jnp.finfo(dtype).tiny
    )

  keys = jax.random.wrap_key_data(keys, impl=key_kind)
  return jax.vmap(draw)(keys) if keys.ndim else draw(keys)


def draw_noise(
  keys: jax.Array, *, num_examples: int, num_clusters: int
) -> np.ndarray:
  """All that is random in `seed`: [...] keys to [..., count] in (0, 1).

  A program of its own, for its compilation is a good part of the seeding's, and
  one serves every width of the features.
  """
  count = num_clusters * _num_trials(num_clusters)
  count += num_examples * SEEDING_ROUNDS
  noise = _uniform(
    blocks.raw(keys), count=count, key_kind=blocks.key_kind(keys)
  )
  # On the host, from where it goes to whatever devices the examples are on.
  return noise if blocks.is_traced(noise) else np.asarray(noise)


def seed(noise, x, weights, num_dims, *, num_clusters: int) -> jax.Array:
  """Spreads K centroids over the data.

  Args:
    noise: [count], from `draw_noise` for T B examples.
    x: [T, B, D], centred.
    weights: [T, B], zero where there is no example.
    num_dims: see `nearest`.
    num_clusters: K, at most T B.

  Returns:
    [K, D]
  """
  # Which noise an example gets depends on its index alone, not on the padding.
  trials, draws = jnp.split(noise, [num_clusters * _num_trials(num_clusters)])
  drawn = -(-int(OVERSAMPLING * num_clusters) // 8) * 8 + 8
  few = weights.size < FEW_EXAMPLES * num_clusters
  if few or SEEDING_ROUNDS * drawn >= weights.size:
    candidates, mass = x.reshape(-1, x.shape[-1]), weights.reshape(-1)
  else:
    draws = draws.reshape(-1, SEEDING_ROUNDS)
    candidates, mass = _candidates(
      draws, x, weights, num_dims, SEEDING_ROUNDS * drawn
    )
  return _greedy(trials.reshape(num_clusters, -1), candidates, mass, num_dims)


def lloyd(x, weights, centroids, num_dims, *, max_iterations, tolerance):
  """Lloyd's iterations.

  Args:
    x: [T, B, D], centred.
    weights: [T, B], zero where there is no example.
    centroids: [K, D] to start from.
    num_dims: see `nearest`.
    max_iterations: at most this many passes over the data.
    tolerance: summed squared movement of the centroids at which to stop.

  Returns:
    [K, D] centroids and how many iterations they took. A cluster that lost all
    its examples stays where it is.
  """
  num_clusters = centroids.shape[0]

  def add_block(sums, block):
    x, w = block
    index, _ = nearest(x, sums[2], num_dims)
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


@functools.partial(jax.jit, static_argnames='num_clusters')
def _fit(noise, x, weights, affine, num_dims, max_iterations, *, num_clusters):
  centroids = seed(noise, x, weights, num_dims, num_clusters=num_clusters)
  centroids, num_iterations = lloyd(
    x,
    weights,
    centroids,
    num_dims,
    max_iterations=max_iterations,
    tolerance=TOLERANCE,
  )
  assignments, distances = _nearest_of_all(x, centroids, num_dims)
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
  x, weights, affine = standardise.place(
    x, example_weights, num_clusters, devices
  )
  noise = draw_noise(key, num_examples=weights.size, num_clusters=num_clusters)
  found = _fit(
    noise, x, weights, affine, d, max_iterations, num_clusters=num_clusters
  )
  if devices is not None:
    found = parallel.fetch(found)
  return found.replace(
    centroids=blocks.crop(found.centroids, (num_clusters, d)),
    assignments=blocks.crop(found.assignments, (n,)),
  )
