# SPDX-License-Identifier: Apache-2.0
"""What a fitted mixture says of examples, block by block.

Axes: N examples, D features, K components, C classes, T blocks, B examples of
a block.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from neucrab_jax.ops import covariances, em
from neucrab_jax.typing import Array

# No example is farther from a mixture than this, in standard deviations of all
# its components together, and no variance is smaller than this: their squares
# and quotients stay floats.
FARTHEST = 1e9
LEAST_VARIANCE = 1e-12


def _standard(p: covariances.Parameters, num_dims, kind: str):
  """Where the mixture has mean 0 and mean variance 1.

  Returns:
    The function that brings examples there, [..., D] to [..., D], the mixture
    and its scale.
  """
  mask = jnp.arange(p.means.shape[-1]) < num_dims
  weights = jnp.exp(p.log_weights)[:, None]
  variances = jnp.where(mask, covariances.diagonal(p, kind), 0)
  # By the largest value first, so that no square overflows.
  largest = jnp.maximum(jnp.max(jnp.abs(p.means)), jnp.sqrt(jnp.max(variances)))
  p = covariances.scaled(p, 1 / largest)
  centre = jnp.sum(weights * p.means, axis=0)
  p = dataclasses.replace(p, means=p.means - centre)
  variances = jnp.where(mask, covariances.diagonal(p, kind), 0)
  spread = jnp.sqrt(jnp.sum(weights * (variances + p.means**2)) / num_dims)
  spread = jnp.maximum(spread, LEAST_VARIANCE)
  p = covariances.scaled(p, 1 / spread)
  if kind in ('tied', 'full'):
    padded = covariances.pad_identity(p.variances, mask)
  else:
    variances = jnp.maximum(covariances.diagonal(p, kind), LEAST_VARIANCE)
    padded = jnp.where(mask, variances, 1)
  p = dataclasses.replace(p, variances=padded)

  def bring(x):
    return jnp.clip((x / largest - centre) / spread, -FARTHEST, FARTHEST)

  return bring, p, spread * largest


@functools.partial(jax.jit, static_argnames='kind')
def posterior(
  p: covariances.Parameters,
  x: Float[Array, 'N D'],
  num_dims: Array | int,
  *,
  kind: str,
) -> Float[Array, 'N K']:
  """[N, K] responsibilities."""
  bring, p, _ = _standard(p, num_dims, kind)
  log_joint_of = covariances.log_joint_of(p, num_dims, kind)
  unnormalised, total, _ = em.expect(log_joint_of(bring(x)))
  return unnormalised / total


@functools.partial(jax.jit, static_argnames='kind')
def log_likelihood(
  p: covariances.Parameters,
  x: Float[Array, 'T B D'],
  weights: Float[Array, 'T B'],
  num_dims: Array | int,
  *,
  kind: str,
) -> Float[Array, '']:
  """[] weighted mean of log p(x), for [T, B, D] blocks."""
  bring, p, scale = _standard(p, num_dims, kind)
  log_joint_of = covariances.log_joint_of(p, num_dims, kind)

  def add_block(total, block):
    x, w = block
    x = bring(x)
    log_joint = log_joint_of(x)
    _, summed, log_density = em.expect(log_joint)
    if kind in ('diag', 'spherical'):
      log_density = covariances.refine(p, num_dims, log_joint, summed, x)
    return total + jnp.sum(w * log_density), None

  total, _ = jax.lax.scan(add_block, jnp.zeros((), x.dtype), (x, weights))
  return total / jnp.sum(weights) - num_dims * jnp.log(scale)


@functools.partial(jax.jit, static_argnames=('kind', 'num_classes'))
def predictions(
  p: covariances.Parameters,
  x: Float[Array, 'T B D'],
  labels: Int[Array, 'T B'],
  weights: Float[Array, 'T B'],
  num_dims: Array | int,
  *,
  kind: str,
  num_classes: int,
) -> Float[Array, 'T B']:
  """[T, B] of Σ_v P(y_n | v) r_nv, for [T, B, D] blocks."""
  bring, p, _ = _standard(p, num_dims, kind)
  log_joint_of = covariances.log_joint_of(p, num_dims, kind)
  num_components = p.log_weights.shape[0]

  def add_joint(joint, block):
    x, y, w = block
    unnormalised, total, _ = em.expect(log_joint_of(bring(x)))
    weighted = unnormalised * (w[:, None] / total)
    return joint + jax.ops.segment_sum(weighted, y, num_classes), None

  joint = jnp.zeros((num_classes, num_components), x.dtype)
  joint, _ = jax.lax.scan(add_joint, joint, (x, labels, weights))
  mass = jnp.sum(joint, axis=0)  # N P(v), [K]
  # A component without examples predicts nothing, and is never asked.
  conditional = joint / jnp.where(mass > 0, mass, 1)  # P(y | v), [C, K]

  def predict(block):
    x, y = block
    unnormalised, total, _ = em.expect(log_joint_of(bring(x)))
    predicted = jnp.sum(conditional[y] * unnormalised, axis=1) / total[:, 0]
    # The responsibilities sum to one for each example, so this is at most one;
    # a rounding more would make a score that is positive.
    return jnp.minimum(predicted, 1)

  return jax.lax.map(predict, (x, labels))
