# SPDX-License-Identifier: Apache-2.0
"""Regularised H-score: the H-score with a shrunk covariance.

Axes: N examples, D features, C classes.
"""

import numpy as np
from jaxtyping import Float, Int

from neucrab_jax.measures import h_score, measure
from neucrab_jax.ops import float64, gram
from neucrab_jax.typing import Array


def _shrinkage(products: gram.Gram) -> tuple[float, float]:
  """Ledoit and Wolf's share of the identity, and the identity's scale."""
  x = products.x
  n, num_dims = x.shape
  scale = products.trace / n / num_dims
  energy = products.energy / n**2
  squares = np.einsum('nd,nd->n', x, x)
  noise = (np.mean(squares**2) - energy) / (num_dims * n)
  distance = energy / num_dims - scale**2
  noise = min(noise, distance)
  return (noise / distance if noise > 0 else 0.0), scale


def h_score_regularized(
  *,
  features: Float[Array, 'N D'],
  labels: Int[Array, 'N'],
) -> measure.Score:
  """How much of the variance of whitened features is between classes.

      cov_a(f) = (1 − a) cov(f) + a tr(cov(f))/D I
      H_a      = tr(cov_a(f)⁻¹ (1 − a) cov(E[f | y]))

  with a by Ledoit and Wolf. The covariance within the inverse is divided by N,
  the other by N − 1, as in the authors' code.

  Args:
    features: [N, D].
    labels: [N], integers from 0 to C − 1.

  Returns:
    A number not negative.

  Reference:
    Ibrahim, Ponomareva and Mazumder, "Newer is not always better: Rethinking
    Transferability Metrics, Their Peculiarities, Stability and Performance",
    ECML 2022, section 3.
  """
  n = len(labels)
  # Their unit is no matter for the score.
  products = gram.centred(features)
  share, scale = _shrinkage(products)
  if share == 1 or not products.trace:
    return measure.Score(0.0, influence=np.zeros(n))
  # Rounding keeps it invertible where nothing is shrunk.
  smallest = np.finfo(float).eps * products.trace / n
  hat = products.hat(n * max(share * scale, smallest) / (1 - share))
  explained, influence = h_score.explained(
    hat.predict(float64.one_hot(labels)), 1 - hat.left, labels
  )
  # The covariance is divided by N, the variance between classes by N − 1.
  return measure.Score(
    n / (n - 1) * explained, influence=n / (n - 1) * influence
  )


MEASURE = measure.Measure(
  h_score_regularized,
  variant="authors' code: Ledoit–Wolf shrinkage",
)
