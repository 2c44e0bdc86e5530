# SPDX-License-Identifier: Apache-2.0
"""Expectation-maximisation for Gaussian mixtures, in one pass per iteration.

Everything here works on standardised blocks (`blocks.standardise`) and adds up
sufficient statistics over them, so that responsibilities are held for one block
of examples at a time.

Axes: N examples, D features, K components, T blocks, B examples of a block.
"""

import flax
import jax
import jax.numpy as jnp

from neucrab_jax.ops import blocks, kmeans

# The least variance of a component, as a share of the data's mean variance: a
# component on duplicated examples would have none, and infinite density.
VARIANCE_FLOOR = 1e-6

# The log weight of a component that holds no example: finite, so that nothing
# becomes NaN, and exactly zero once exponentiated.
LOG_ZERO = -1e30

# Two mean log-likelihoods nearer than this many roundings of them are equal: a
# tolerance below it would have EM chase noise.
ROUNDINGS = 1.0


@flax.struct.dataclass
class Parameters:
  log_weights: jax.Array  # [K]
  means: jax.Array  # [K, D]
  variances: jax.Array  # [K, D], one where a dimension is padding


def _moments(x: jax.Array) -> jax.Array:
  """[B, D] to [B, 2 D + 1]: all that a diagonal Gaussian sees of an example."""
  return jnp.concatenate([x, x**2, jnp.ones_like(x[:, :1])], axis=1)


def coefficients(p: Parameters, num_dims: jax.Array) -> jax.Array:
  """[2 D + 1, K], whose product with the moments is log P(v) p(x | v)."""
  precisions = 1 / p.variances
  constant = p.log_weights - 0.5 * (
    num_dims * jnp.log(2 * jnp.pi)
    + jnp.sum(jnp.log(p.variances) + p.means**2 * precisions, axis=1)
  )
  return jnp.concatenate(
    [p.means * precisions, -0.5 * precisions, constant[:, None]], axis=1
  ).T


def expect(x: jax.Array, coefs: jax.Array) -> tuple[jax.Array, ...]:
  """The E-step for one block.

  Args:
    x: [B, D], standardised.
    coefs: from `coefficients`.

  Returns:
    [B, K] responsibilities times [B, 1] their sums, and [B] log densities.
  """
  joint = jnp.matmul(_moments(x), coefs, precision=blocks.PRECISION)
  largest = jnp.max(joint, axis=1, keepdims=True)
  unnormalised = jnp.exp(joint - largest)
  total = jnp.sum(unnormalised, axis=1, keepdims=True)
  return unnormalised, total, (largest + jnp.log(total))[:, 0]


def _accumulate(x, weights, coefs):
  """Sums over all examples: [K, 2 D + 1] moments, [] log-likelihood."""

  def add_block(sums, block):
    x, w = block
    unnormalised, total, log_density = expect(x, coefs)
    moments = jnp.matmul(
      unnormalised.T,
      _moments(x) * (w[:, None] / total),
      precision=blocks.PRECISION,
    )
    return (sums[0] + moments, sums[1] + jnp.sum(w * log_density)), None

  zeros = (jnp.zeros(coefs.shape[::-1], x.dtype), jnp.zeros((), x.dtype))
  return jax.lax.scan(add_block, zeros, (x, weights))[0]


def maximise(sums: jax.Array, before: Parameters, mask: jax.Array):
  """The M-step: parameters from summed moments.

  Args:
    sums: [K, 2 D + 1] moments.
    before: what a component without examples keeps.
    mask: [D], false where a dimension is padding.
  """
  d = mask.shape[0]
  mass = sums[:, -1]
  alive = mass > jnp.finfo(sums.dtype).tiny
  averages = sums[:, :-1] / jnp.where(alive, mass, 1)[:, None]
  means = averages[:, :d]
  variances = jnp.maximum(averages[:, d:] - means**2, VARIANCE_FLOOR)
  log_weights = jnp.log(jnp.where(alive, mass, 1) / jnp.sum(mass))
  return Parameters(
    log_weights=jnp.where(alive, log_weights, LOG_ZERO),
    means=jnp.where(alive[:, None], means, before.means),
    variances=jnp.where(
      mask, jnp.where(alive[:, None], variances, before.variances), 1
    ),
  )


def start(x, weights, centroids, mask) -> Parameters:
  """An M-step on hard assignments to the nearest centroid."""
  num_components = centroids.shape[0]

  def add_block(sums, block):
    x, w = block
    index, _ = kmeans.nearest(x, centroids)
    moments = jax.ops.segment_sum(
      w[:, None] * _moments(x), index, num_components
    )
    return sums + moments, None

  zeros = jnp.zeros((num_components, 2 * x.shape[-1] + 1), x.dtype)
  sums, _ = jax.lax.scan(add_block, zeros, (x, weights))
  before = Parameters(
    log_weights=jnp.zeros_like(sums[:, 0]),
    means=centroids,
    variances=jnp.ones_like(centroids),
  )
  return maximise(sums, before, mask)


def run(x, weights, parameters, mask, *, max_iterations, tolerance):
  """Iterates to convergence, as scikit-learn does.

  Args:
    x: [T, B, D], standardised.
    weights: [T, B], zero where there is no example.
    parameters: to start from.
    mask: [D], false where a dimension is padding.
    max_iterations: at most this many.
    tolerance: gain of the mean log-likelihood, in nats, that ends it; with
      zero all iterations are made.

  Returns:
    The parameters, how many iterations were made, whether they converged, and
    [max_iterations] mean log-likelihoods before each, the last one repeated.
  """
  num_dims = jnp.sum(mask)
  total = jnp.sum(weights)
  rounding = ROUNDINGS * jnp.finfo(x.dtype).eps

  def step(state):
    parameters, i, _, history = state
    sums, log_likelihood = _accumulate(
      x, weights, coefficients(parameters, num_dims)
    )
    log_likelihood = log_likelihood / total
    gain = jnp.abs(log_likelihood - history[i - 1])
    enough = jnp.maximum(tolerance, rounding * jnp.abs(log_likelihood))
    converged = (i > 0) & (tolerance > 0) & (gain < enough)
    history = jnp.where(
      jnp.arange(max_iterations) >= i, log_likelihood, history
    )
    return maximise(sums, parameters, mask), i + 1, converged, history

  def unfinished(state):
    return (state[1] < max_iterations) & ~state[2]

  history = jnp.zeros(max_iterations, x.dtype)
  state = (parameters, 0, False, history)
  return jax.lax.while_loop(unfinished, step, state)
