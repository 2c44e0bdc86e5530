# SPDX-License-Identifier: Apache-2.0
"""Leave-one-out nearest neighbours, by pairs of blocks of examples.

Each distance is found once, for both of its examples.

Axes: N examples, D features, C classes, T blocks, B examples of a block.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from neucrab_jax.ops import blocks, standardise
from neucrab_jax.typing import Array

# Examples of a block, at most. Of larger ones more pairs on the diagonal come
# twice; the product of smaller ones runs slower.
_LARGEST_BLOCK = 512


def _merge(nearest, distances, ids):
  """The k nearest of those known and of others, the first of equals.

  Args:
    nearest: distances and ids of the known, each [B, k], nearest first.
    distances: [B, B'], to examples after all that are known.
    ids: [B'] of these, ascending.
  """
  known, known_ids = nearest
  if known.shape[1] == 1:  # top_k would sort
    least = jnp.min(distances, axis=1, keepdims=True)
    last = jnp.iinfo(ids.dtype).max
    first = jnp.where(distances <= least, ids, last)
    first = jnp.min(first, axis=1, keepdims=True)
    nearer = least < known
    return jnp.where(nearer, least, known), jnp.where(nearer, first, known_ids)
  every = jnp.concatenate([known, distances], axis=1)
  ids = jnp.broadcast_to(ids, distances.shape)
  every_id = jnp.concatenate([known_ids, ids], axis=1)
  nearness, index = jax.lax.top_k(-every, known.shape[1])
  return -nearness, jnp.take_along_axis(every_id, index, axis=1)


@functools.partial(jax.jit, static_argnames=('k', 'num_classes', 'shape'))
def _leave_one_out(x, labels, *, k, num_classes, shape):
  n = x.shape[0]
  x = standardise.standardise(x[None], jnp.ones((1, n), x.dtype))[0][0]
  norms = blocks.to_blocks(jnp.sum(x**2, axis=1), shape)
  x = blocks.to_blocks(x, shape)
  ids = jnp.arange(shape[0] * shape[1]).reshape(shape)
  norms = jnp.where(ids < n, norms, jnp.inf)

  def visit(nearest, pair):
    i, j = pair
    product = jnp.matmul(x[i], x[j].T, precision=blocks.PRECISION)
    # An example's own norm shifts all of its distances alike.
    distances = norms[j] - 2 * product
    distances = jnp.where(ids[i][:, None] == ids[j], jnp.inf, distances)
    # The other half of a symmetric matrix, but for what the diagonal has.
    mirrored = jnp.where(i == j, jnp.inf, norms[i] - 2 * product.T)
    for own, other, found in ((i, j, distances), (j, i, mirrored)):
      merged = _merge([of[own] for of in nearest], found, ids[other])
      nearest = [
        of.at[own].set(new) for of, new in zip(nearest, merged, strict=True)
      ]
    return nearest, None

  # In this order each block meets the others in theirs, as `_merge` asks.
  pairs = np.triu_indices(shape[0])
  start = [jnp.full((*shape, k), jnp.inf, x.dtype), jnp.tile(ids[..., None], k)]
  (_, nearest), _ = jax.lax.scan(visit, start, pairs)

  def vote(ids):
    votes = jnp.sum(jax.nn.one_hot(labels[ids], num_classes), axis=1)
    return jnp.argmax(votes, axis=1)

  return jax.lax.map(vote, nearest).reshape(-1)[:n]


def leave_one_out(
  features: Float[Array, 'N D'], labels: Int[Array, 'N'], *, k: int = 1
) -> Float[Array, 'N']:
  """Whether the k nearest other examples vote for each example's own class.

  Distances are Euclidean. Among examples equally far the first is nearer; among
  classes with as many votes the smallest wins.

  >>> features = np.array([[0.0], [1.0], [9.0], [10.0]])
  >>> leave_one_out(features, np.array([0, 0, 1, 1])).tolist()
  [1.0, 1.0, 1.0, 1.0]

  Args:
    features: [N, D].
    labels: [N], integers from 0.
    k: neighbours, at most N − 1.

  Returns:
    [N] floats, 1 where right and 0 where wrong.

  Raises:
    ValueError: `features` is not [N, D], the labels are not as many, or k is
      not between 1 and N − 1.
  """
  blocks.check(features, 1, labels)
  n = features.shape[0]
  if not 1 <= k < n:
    raise ValueError(
      f'k = {k} neighbours of {n} examples: choose between 1 and {n - 1}.'
    )
  labels = np.asarray(labels)
  predictions = _leave_one_out(
    blocks.as_float(features),
    labels,
    k=k,
    num_classes=int(labels.max()) + 1,
    shape=blocks.block_shape(n, blocks.BLOCK_ELEMENTS // _LARGEST_BLOCK),
  )
  return jnp.asarray(np.asarray(predictions) == labels, float)
