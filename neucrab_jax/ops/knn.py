# SPDX-License-Identifier: Apache-2.0
"""Leave-one-out nearest neighbours, by blocks of examples.

Axes: N examples, D features, C classes, T blocks, B examples of a block.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from neucrab_jax.ops import blocks


@functools.partial(jax.jit, static_argnames=('k', 'num_classes', 'shape'))
def _leave_one_out(x, labels, *, k, num_classes, shape):
  n = x.shape[0]
  x = blocks.standardise(x[None], jnp.ones((1, n), x.dtype))[0][0]
  norms = jnp.sum(x**2, axis=1)

  def vote(block):
    rows, row_ids = block
    product = jnp.matmul(rows, x.T, precision=blocks.PRECISION)
    # The row's own norm shifts all of its distances alike.
    distances = norms - 2 * product
    self = row_ids[:, None] == jnp.arange(n)
    distances = jnp.where(self, jnp.inf, distances)
    if k == 1:
      best = jnp.min(distances, axis=1, keepdims=True)
      index = jnp.where(distances <= best, jnp.arange(n), n - 1)
      return labels[jnp.min(index, axis=1)]
    neighbours = labels[jax.lax.top_k(-distances, k)[1]]  # [B, k]
    votes = jnp.sum(jax.nn.one_hot(neighbours, num_classes), axis=1)
    return jnp.argmax(votes, axis=1)

  predictions = jax.lax.map(
    vote,
    (blocks.to_blocks(x, shape), blocks.to_blocks(jnp.arange(n), shape)),
  )
  return predictions.reshape(-1)[:n]


def leave_one_out(
  features: jax.Array, labels: jax.Array, *, k: int = 1
) -> jax.Array:
  """Whether the k nearest other examples vote for each example's own class.

  Distances are Euclidean. Among examples equally far the first is nearer; among
  classes with as many votes the smallest wins.

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
    shape=blocks.block_shape(n, n),
  )
  return jnp.asarray(np.asarray(predictions) == labels, float)
