# SPDX-License-Identifier: Apache-2.0
"""Expectation-maximisation for Gaussian mixtures, by sufficient statistics.

Everything here works on standardised blocks (`standardise.place`) and adds up
over them, so that responsibilities are held for one block of examples at a
time.

Axes: N examples, D features, K components, T blocks, B examples of a block.
"""

import dataclasses
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Real

from neucrab_jax.ops import blocks, covariances, distances, standardise
from neucrab_jax.typing import Array

# The log weight of a component that holds no example: finite, so that nothing
# becomes NaN, and exactly zero once exponentiated.
LOG_ZERO = -1e30

# What scikit-learn adds to every component's mass (ten roundings of f64): one
# that lost all its examples retires to the data's centre, with no variance.
EMPTY_MASS = 2.22e-15

# Two mean log-likelihoods nearer than this many roundings of them are equal: a
# tolerance below it would have EM chase noise.
ROUNDINGS = 1.0


def place(
  z: Float[Array, 'N D'],
  num_components: int,
  example_weights: Real[Array, 'N'] | None = None,
  devices: Sequence | None = None,
) -> standardise.Placed:
  """Copies examples to where mixtures and LEEP take them as they are.

  Who lets go of the examples has them in memory once, and not twice.
  """
  with blocks.precision_for(z, num_components):
    return standardise.place(z, example_weights, num_components, devices)


@dataclasses.dataclass(frozen=True)
class Data:
  """What stays the same from iteration to iteration."""

  x: Array  # [T, B, D], standardised
  weights: Array  # [T, B], zero where there is no example
  mask: Array  # [D], false where a dimension is padding
  kind: str  # of covariance
  second: Array | None  # [D, D], the mean of x xᵀ, for `tied`


def make_data(
  x: Float[Array, 'T B D'],
  weights: Float[Array, 'T B'],
  mask: Bool[Array, 'D'],
  kind: str,
) -> Data:
  second = covariances.second_moment(x, weights) if kind == 'tied' else None
  return Data(x, weights, mask, kind, second)


def expect(
  log_joint: Float[Array, 'B K'],
) -> tuple[Float[Array, 'B K'], Float[Array, 'B 1'], Float[Array, 'B']]:
  """The E-step for one block.

  Args:
    log_joint: [B, K] of log P(v) p(x | v).

  Returns:
    [B, K] responsibilities times [B, 1] their sums, and [B] log densities.
  """
  largest = jnp.max(log_joint, axis=1, keepdims=True)
  unnormalised = jnp.exp(log_joint - largest)
  total = jnp.sum(unnormalised, axis=1, keepdims=True)
  return unnormalised, total, (largest + jnp.log(total))[:, 0]


def _sums(data: Data, p: covariances.Parameters):
  """Sufficient statistics under a mixture, in one pass.

  Returns:
    [K, 2 D + 1] moments and the [] summed log-likelihood.
  """
  num_dims = jnp.sum(data.mask)
  log_joint_of = covariances.log_joint_of(p, num_dims, data.kind)

  def add_block(sums, block):
    x, w = block
    log_joint = log_joint_of(x)
    unnormalised, total, log_density = expect(log_joint)
    if data.kind in ('diag', 'spherical'):
      log_density = covariances.refine(p, num_dims, log_joint, total, x)
    moments = covariances.weighted_moments(
      unnormalised, w / total[:, 0], x, num_dims
    )
    return (sums[0] + moments, sums[1] + jnp.sum(w * log_density)), None

  (k, d), dtype = p.means.shape, data.x.dtype
  zeros = (jnp.zeros((k, 2 * d + 1), dtype), jnp.zeros((), dtype))
  sums, _ = jax.lax.scan(add_block, zeros, (data.x, data.weights))
  return sums


def _maximise(data: Data, sums: jax.Array, posteriors_of: Callable):
  """Parameters from [K, 2 D + 1] sums, and for `full` from posteriors."""
  mass, first, second = covariances.separate(sums)
  mass = mass + EMPTY_MASS
  means = first / mass[:, None]
  shares = mass / jnp.sum(mass)
  if data.second is not None:  # tied
    variances = covariances.tied(data.second, means, shares, data.mask)
  elif data.kind == 'full':
    variances = covariances.full(
      data.x, data.weights, posteriors_of, means, mass, data.mask
    )
  else:
    variances = second / mass[:, None] - means**2
    if data.kind == 'spherical':
      mean = jnp.sum(jnp.where(data.mask, variances, 0), axis=1, keepdims=True)
      variances = jnp.broadcast_to(mean / jnp.sum(data.mask), variances.shape)
    variances = jnp.maximum(variances, covariances.VARIANCE_FLOOR)
    variances = jnp.where(data.mask, variances, 1)
  return covariances.Parameters(jnp.log(shares), means, variances)


def _posteriors_by(log_joint_of: Callable) -> Callable:
  """From the log joint of [B, D] examples to [B, K] responsibilities."""

  def posteriors_of(x):
    unnormalised, total, _ = expect(log_joint_of(x))
    return unnormalised / total

  return posteriors_of


def start(data: Data, centroids: Float[Array, 'K D']) -> covariances.Parameters:
  """An M-step on hard assignments to the nearest of [K, D] centroids."""
  (k, d), num_dims = centroids.shape, jnp.sum(data.mask)

  def add_block(sums, block):
    x, w = block
    index, _ = distances.nearest(x, centroids, num_dims)
    moments = covariances.moments(x) * w[:, None]
    return sums + jax.ops.segment_sum(moments, index, num_segments=k), None

  def posteriors_of(x):
    index, _ = distances.nearest(x, centroids, num_dims)
    return (index[:, None] == jnp.arange(k)).astype(x.dtype)

  zeros = jnp.zeros((k, 2 * d + 1), data.x.dtype)
  sums, _ = jax.lax.scan(add_block, zeros, (data.x, data.weights))
  parameters = _maximise(data, sums, posteriors_of)
  log_weights = jnp.where(sums[:, 0] > 0, parameters.log_weights, LOG_ZERO)
  return dataclasses.replace(parameters, log_weights=log_weights)


def run(
  data: Data,
  parameters: covariances.Parameters,
  *,
  max_iterations: int,
  tolerance: Array | float,
) -> tuple[covariances.Parameters, Array, Array, Float[Array, 'iterations']]:
  """Iterates to convergence, as scikit-learn does.

  Args:
    data: the examples.
    parameters: to start from.
    max_iterations: at most this many.
    tolerance: gain of the mean log-likelihood, in nats, that ends it; with
      zero all iterations are made.

  Returns:
    The parameters, how many iterations were made, whether they converged, and
    [max_iterations] mean log-likelihoods before each, the last one repeated.
  """
  num_dims = jnp.sum(data.mask)
  rounding = ROUNDINGS * jnp.finfo(data.x.dtype).eps

  def step(state):
    before, i, _, history = state
    sums, log_likelihood = _sums(data, before)
    log_likelihood = log_likelihood / jnp.sum(data.weights)
    log_joint_of = covariances.log_joint_of(before, num_dims, data.kind)
    parameters = _maximise(data, sums, _posteriors_by(log_joint_of))
    gain = jnp.abs(log_likelihood - history[i - 1])
    enough = jnp.maximum(tolerance, rounding * jnp.abs(log_likelihood))
    converged = (i > 0) & (tolerance > 0) & (gain < enough)
    history = jnp.where(
      jnp.arange(max_iterations) >= i, log_likelihood, history
    )
    return parameters, i + 1, converged, history

  def unfinished(state):
    return (state[1] < max_iterations) & ~state[2]

  history = jnp.zeros(max_iterations, data.x.dtype)
  state = (parameters, 0, False, history)
  # The loop makes arrays of the numbers that it starts from.
  return jax.lax.while_loop(unfinished, step, state)  # pyright: ignore
