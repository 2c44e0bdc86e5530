# SPDX-License-Identifier: Apache-2.0
"""Where k-means starts: centroids spread over the data in a few passes.

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

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from neucrab_jax.ops import blocks
from neucrab_jax.ops import distances as distances_lib
from neucrab_jax.typing import Array

# Rounds of drawing candidates, and candidates of a round as a share of K. The
# reference finds that 5 rounds of K/2 to 2K are as good as k-means++ itself.
SEEDING_ROUNDS = 5
OVERSAMPLING = 0.5

# With fewer examples than this for each cluster, all are candidates. Clusters
# of one or two examples then decide a mixture's likelihood, and draws miss
# them: of 5,000 examples in 283 dimensions, 500 components lost 4.6 nats by it.
FEW_EXAMPLES = 16

# Up to this many products of candidates are computed in one matmul, a quarter
# GiB in f64 with their distances; of more, those that are asked for.
DISTANCES_AT_ONCE = 1 << 24


def _candidates(noise, x, weights, num_dims, num_candidates):
  """Draws candidates, with the weight of the examples nearest to each.

  Args:
    noise: [T B, R], in (0, 1), of R rounds; they divide M evenly.
    x: [T, B, D]
    weights: [T, B]
    num_dims: see `distances.nearest`.
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
    index, distance = distances_lib.nearest_of_all(x, new, num_dims)
    closer = distance < distances
    chosen = jnp.zeros(shape, bool).at[rows].set(True)
    assignments = jnp.where(closer, index + round_index * drawn, assignments)
    distances = jnp.where(chosen, 0, jnp.minimum(distances, distance))
    return (distances, assignments), new

  # The first round has nothing to be far from.
  new = x[top(jnp.log(weights), 0)]
  assignments, distances = distances_lib.nearest_of_all(x, new, num_dims)
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
    all_products = distances_lib.products(candidates, candidates, num_dims)

  def pick_rows(odds, noise):
    total = jnp.cumsum(odds)
    rows = jnp.searchsorted(total, noise * total[-1], side='right')
    return jnp.minimum(rows, num_candidates - 1)

  def distances_to(rows):
    product = (
      all_products[rows]
      if at_once
      else distances_lib.products(candidates[rows], candidates, num_dims)
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
  keys: Array, *, num_examples: int, num_clusters: int
) -> Float[Array, '... count']:
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


def seed(
  noise: Float[Array, 'count'],
  x: Float[Array, 'T B D'],
  weights: Float[Array, 'T B'],
  num_dims: Array | int,
  *,
  num_clusters: int,
) -> Float[Array, 'K D']:
  """Spreads K centroids over the data.

  Args:
    noise: [count], from `draw_noise` for T B examples.
    x: [T, B, D], centred.
    weights: [T, B], zero where there is no example.
    num_dims: see `distances.nearest`.
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
