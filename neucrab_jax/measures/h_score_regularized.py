# SPDX-License-Identifier: Apache-2.0
"""Regularised H-score: the H-score with a shrunk covariance.

Axes: N examples, D features, C classes, R weightings.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from neucrab_jax.measures import measure
from neucrab_jax.ops import float64
from neucrab_jax.typing import Array


def _shrinkage(x, covariance, weights, num_dims):
  """Ledoit and Wolf's share of the identity, and the identity's scale."""
  n = weights.sum()
  squares = jnp.sum(x**2, axis=1)
  scale = jnp.trace(covariance) / num_dims
  energy = jnp.sum(covariance**2)
  noise = (weights @ squares**2 / n - energy) / (num_dims * n)
  distance = energy / num_dims - scale**2
  noise = jnp.minimum(noise, distance)
  share = jnp.where(noise > 0, noise / jnp.where(noise > 0, distance, 1), 0)
  return share, scale


@jax.jit
def _score(x, one_hot, example_weights, num_dims):
  def score(weights):
    n = weights.sum()
    counts = weights @ one_hot
    centred = x - weights @ x / n
    weighted = centred * weights[:, None]
    covariance = weighted.T @ centred / n
    share, scale = _shrinkage(centred, covariance, weights, num_dims)
    # Rounding keeps it invertible where nothing varies or nothing is shrunk.
    ridge = jnp.maximum(
      share * scale, jnp.finfo(x.dtype).eps * jnp.trace(covariance)
    )
    ridge = jnp.where(ridge > 0, ridge, 1)
    shrunk = (1 - share) * covariance + ridge * jnp.eye(x.shape[1])
    sums = weighted.T @ one_hot / jnp.sqrt(counts)
    factor = jax.scipy.linalg.cho_factor(shrunk)
    explained = jnp.sum(sums * jax.scipy.linalg.cho_solve(factor, sums))
    return (1 - share) * explained / (n - 1)

  return jax.lax.map(score, example_weights)


def h_score_regularized(
  *,
  features: Float[Array, 'N D'],
  labels: Int[Array, 'N'],
  example_weights: Float[Array, 'R N'],
) -> Float[Array, 'R']:
  """How much of the variance of whitened features is between classes.

      cov_a(f) = (1 − a) cov(f) + a tr(cov(f))/D I
      H_a      = tr(cov_a(f)⁻¹ (1 − a) cov(E[f | y]))

  with a by Ledoit and Wolf. The covariance within the inverse is divided by N,
  the other by N − 1, as in the authors' code.

  Args:
    features: [N, D].
    labels: [N], integers from 0 to C − 1.
    example_weights: [R, N].

  Returns:
    [R], not negative.

  Reference:
    Ibrahim, Ponomareva and Mazumder, "Newer is not always better: Rethinking
    Transferability Metrics, Their Peculiarities, Stability and Performance",
    ECML 2022, section 3.
  """
  with float64.precision():
    return _score(
      float64.compact(float64.centre(features)),
      float64.one_hot(labels),
      example_weights,
      features.shape[1],
    )


MEASURE = measure.Measure(
  h_score_regularized,
  variant="authors' code: Ledoit–Wolf shrinkage",
)
