# SPDX-License-Identifier: Apache-2.0
"""H-score: between-class variance of features whitened by their covariance.

Axes: N examples, D features, C classes, R weightings.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from neucrab_jax.measures import measure
from neucrab_jax.ops import float64
from neucrab_jax.typing import Array


@jax.jit
def _score(x, one_hot, example_weights):
  n, d = x.shape
  values, vectors = jnp.linalg.eigh(x.T @ x)
  kept = values > float64.rank_tolerance(values, max(n, d))
  scales = jnp.where(kept, 1 / jnp.sqrt(jnp.where(kept, values, 1)), 0)
  # An orthonormal basis of what is linear in the features; the constant too.
  basis = jnp.concatenate(
    [jnp.full((n, 1), 1 / jnp.sqrt(n)), (x @ vectors) * scales], axis=1
  )
  unused = jnp.diag(jnp.append(0, 1.0 - kept))

  def score(weights):
    weighted = basis * weights[:, None]
    factor = jax.scipy.linalg.cho_factor(weighted.T @ basis + unused)
    target = weighted.T @ one_hot
    # Of each class's indicator, what a regression on the features explains.
    explained = jnp.sum(
      target * jax.scipy.linalg.cho_solve(factor, target), axis=0
    )
    counts = weights @ one_hot
    explained -= counts**2 / n
    return jnp.sum(explained / counts)

  return jax.lax.map(score, example_weights)


def h_score(
  *,
  features: Float[Array, 'N D'],
  labels: Int[Array, 'N'],
  example_weights: Float[Array, 'R N'],
) -> Float[Array, 'R']:
  """How much of the variance of whitened features is between classes.

      H = tr(cov(f)⁺ cov(E[f | y]))

  With D >= N it is C − 1 for any features in general position: then it says
  nothing, and `h_score_regularized` does.

  Args:
    features: [N, D].
    labels: [N], integers from 0 to C − 1.
    example_weights: [R, N].

  Returns:
    [R], from 0 to C − 1.

  Reference:
    Bao et al., "An Information-Theoretic Approach to Transferability in Task
    Transfer Learning", ICIP 2019, definition 2.
  """
  with float64.precision():
    return _score(
      float64.compact(float64.centre(features)),
      float64.one_hot(labels),
      example_weights,
    )


MEASURE = measure.Measure(
  h_score,
  variant='paper, with the pseudo-inverse',
)
