# SPDX-License-Identifier: Apache-2.0
"""GBC: overlap of the classes' Gaussians, by the Bhattacharyya coefficient.

Axes: N examples, D features, K components, C classes, R weightings.
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from neucrab_jax.measures import measure
from neucrab_jax.ops import float64
from neucrab_jax.typing import Array

# Of the authors' code, in the units of the features squared.
_SMALLEST_VARIANCE = 1e-4


@functools.partial(jax.jit, static_argnames=('covariance', 'num_components'))
def _coefficients(x, one_hot, example_weights, *, covariance, num_components):
  _, vectors = jnp.linalg.eigh(x.T @ x)
  z = x @ vectors[:, ::-1][:, :num_components]

  def coefficient(weights):
    weighted = (one_hot * weights[:, None]).T
    counts = weighted.sum(axis=1)[:, None]
    means = weighted @ z / counts
    centred = z - one_hot @ means
    variances = jnp.maximum(weighted @ centred**2 / counts, _SMALLEST_VARIANCE)
    if covariance == 'spherical':
      variances = variances.mean(axis=1, keepdims=True)

    def overlap(one):
      mean, variance = one
      average = (variance + variances) / 2
      distances = jnp.sum((mean - means) ** 2 / average, axis=1) / 8
      distances += 0.5 * jnp.sum(
        jnp.log(average) - 0.5 * (jnp.log(variance) + jnp.log(variances)),
        axis=1,
      )
      return jnp.sum(jnp.exp(-distances))

    # Of each class with itself, it is one.
    overlaps = jax.lax.map(overlap, (means, variances))
    return -(jnp.sum(overlaps) - len(means))

  return jax.lax.map(coefficient, example_weights)


def gbc(
  *,
  features: Float[Array, 'N D'],
  labels: Int[Array, 'N'],
  example_weights: Float[Array, 'R N'],
  covariance: str = 'spherical',
  num_components: int = 64,
) -> Float[Array, 'R']:
  """How little the classes overlap, each taken for a Gaussian.

      D_B(c, c') = ⅛ (μ_c − μ_c')ᵀ Σ⁻¹ (μ_c − μ_c')
                   + ½ log(|Σ| / sqrt(|Σ_c| |Σ_c'|)),   Σ = (Σ_c + Σ_c')/2
      GBC        = −Σ_{c≠c'} exp(−D_B(c, c'))

  of features on their first principal components. As in the authors' code, the
  second term of 'spherical' counts its one variance once.

  Args:
    features: [N, D].
    labels: [N], integers from 0 to C − 1.
    example_weights: [R, N]; the principal components are those of all.
    covariance: of each class, 'spherical' or 'diag'.
    num_components: K, as many as there are if fewer.

  Returns:
    [R], at most 0.

  Reference:
    Pándy et al., "Transferability Estimation using Bhattacharyya Class
    Separability", CVPR 2022, equations 4 to 6.
  """
  with float64.precision():
    return _coefficients(
      float64.compact(float64.centre(features)),
      float64.one_hot(labels),
      example_weights,
      covariance=covariance,
      num_components=num_components,
    )


MEASURE = measure.Measure(
  gbc,
  variant="authors' code: variances of at least 1e-4",
  limits={
    'covariance': ('spherical', 'diag'),
    'num_components': (1, None),
  },
)
