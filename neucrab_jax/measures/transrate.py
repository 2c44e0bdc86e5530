# SPDX-License-Identifier: Apache-2.0
"""TransRate: how much coding by class saves of coding the features.

Axes: N examples, D features, C classes, M examples of the largest class,
R weightings.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from neucrab_jax.measures import measure
from neucrab_jax.ops import float64
from neucrab_jax.typing import Array


def _rate(x, weights, epsilon):
  """½ log det(I + Fᵀ W F / (n ε)), by the smaller Gram matrix."""
  scaled = x * jnp.sqrt(weights / (weights.sum() * epsilon))[:, None]
  rows, dims = x.shape
  gram = scaled.T @ scaled if dims < rows else scaled @ scaled.T
  factor = jnp.linalg.cholesky(gram + jnp.eye(len(gram)))
  return jnp.sum(jnp.log(jnp.diag(factor)))


@jax.jit
def _transrate(x, members, example_weights, epsilon):
  present = members >= 0

  def transrate(weights):
    centred = x - weights @ x / weights.sum()

    def rate_of_class(args):
      rows, mask = args
      return _rate(centred[rows], jnp.where(mask, weights[rows], 0), epsilon)

    rates = jax.lax.map(rate_of_class, (members, present))
    return _rate(centred, weights, epsilon) - jnp.mean(rates)

  return jax.lax.map(transrate, example_weights)


def _members(labels: np.ndarray) -> np.ndarray:
  """Which examples each class has, [C, M]; −1 where there are no more."""
  counts = np.bincount(labels)
  members = np.full((len(counts), counts.max()), -1)
  members[np.arange(counts.max()) < counts[:, None]] = np.argsort(
    labels, kind='stable'
  )
  return members


def transrate(
  *,
  features: Float[Array, 'N D'],
  labels: Int[Array, 'N'],
  example_weights: Float[Array, 'R N'],
  epsilon: float = 1e-4,
) -> Float[Array, 'R']:
  """Mutual information of features and labels, by coding rates.

      R(F)      = ½ log det(I + FᵀF / (N ε)),   F centred
      TransRate = R(F) − 1/C Σ_c R(F_c)

  It grows with the scale of the features and with D.

  Args:
    features: [N, D].
    labels: [N], integers from 0 to C − 1.
    example_weights: [R, N].
    epsilon: the squared distortion of the code.

  Returns:
    [R], in nats.

  Reference:
    Huang et al., "Frustratingly Easy Transferability Estimation", ICML 2022,
    equations 3 to 5.
  """
  with float64.precision():
    return _transrate(
      float64.compact(float64.centre(features)),
      _members(np.asarray(labels)),
      example_weights,
      epsilon,
    )


MEASURE = measure.Measure(
  transrate,
  variant="authors' code: log det(I + FᵀF / (N ε))",
  limits={'epsilon': (1e-12, None)},
)
