# SPDX-License-Identifier: Apache-2.0
"""LFC: correlation of the features' kernel with that of the labels.

Axes: N examples, D features, C classes, R weightings.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from neucrab_jax.measures import measure
from neucrab_jax.ops import float64
from neucrab_jax.typing import Array


@jax.jit
def _correlations(x, one_hot, example_weights):
  def correlation(weights):
    n = weights.sum()
    root = jnp.sqrt(weights)[:, None]
    a = root * (x - weights @ x / n)
    b = root * (one_hot - weights @ one_hot / n)
    # ⟨AAᵀ, BBᵀ⟩ = ‖AᵀB‖², without any N×N array.
    norms = jnp.linalg.norm(a.T @ a) * jnp.linalg.norm(b.T @ b)
    return jnp.sum((a.T @ b) ** 2) / jnp.where(norms > 0, norms, 1)

  return jax.lax.map(correlation, example_weights)


def lfc(
  *,
  features: Float[Array, 'N D'],
  labels: Int[Array, 'N'],
  example_weights: Float[Array, 'R N'],
) -> Float[Array, 'R']:
  """How alike two examples' features are where their labels are the same.

      LFC = ⟨K, L⟩ / (‖K‖ ‖L‖),  K = H F Fᵀ H,  L = H Y H,  H = I − 11ᵀ/N

  where Y is 1 for two examples of one class and −1 for others. It is the linear
  CKA of features and labels.

  Args:
    features: [N, D].
    labels: [N], integers from 0 to C − 1.
    example_weights: [R, N].

  Returns:
    [R], in [0, 1].

  Reference:
    Deshpande et al., "A linearized framework and a new benchmark for model
    selection for fine-tuning", 2021, section 4.
  """
  with float64.precision():
    x = float64.centre(features)
    scale = abs(x).max() or 1  # No fourth power is too small for a float.
    return _correlations(
      float64.compact(x / scale), float64.one_hot(labels), example_weights
    )


MEASURE = measure.Measure(
  lfc,
  variant='paper: both kernels centred, '
  'the pairs of an example with itself too',
)
