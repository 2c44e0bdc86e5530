# SPDX-License-Identifier: Apache-2.0
"""TransRate: how much coding by class saves of coding the features.

Axes: N examples, D features, K rank, C classes.
"""

import numpy as np
from jaxtyping import Float, Int

from neucrab_jax.measures import measure
from neucrab_jax.ops import float64
from neucrab_jax.typing import Array


def _rate(
  x: Float[np.ndarray, 'N K'], epsilon: float
) -> tuple[float, Float[np.ndarray, 'N'], Float[np.ndarray, 'K']]:
  """½ log det(I + XᵀX / (N ε)), by the smaller of the two Gram matrices.

  Returns:
    The rate; by example N times how much less it is without that one; and the
    gradient by an offset of all examples, [K].
  """
  n, k = x.shape
  if k < n:
    inverse = np.linalg.inv(n * epsilon * np.eye(k) + x.T @ x)
    rate = -0.5 * np.linalg.slogdet(n * epsilon * inverse)[1]
    leverage = np.einsum('nk,nk->n', x @ inverse, x)
    offset = inverse @ x.sum(axis=0)
  else:
    inverse = np.linalg.inv(n * epsilon * np.eye(n) + x @ x.T)
    rate = -0.5 * np.linalg.slogdet(n * epsilon * inverse)[1]
    left = n * epsilon * np.diagonal(inverse)
    leverage = 1 - left
    offset = x.T @ inverse.sum(axis=1)
  smallest = np.finfo(float).tiny
  return rate, -0.5 * n * np.log(np.maximum(1 - leverage, smallest)), offset


def transrate(
  *,
  features: Float[Array, 'N D'],
  labels: Int[Array, 'N'],
  epsilon: float = 1e-4,
) -> measure.Score:
  """Mutual information of features and labels, by coding rates.

      R(F)      = ½ log det(I + FᵀF / (N ε)),   F centred
      TransRate = R(F) − 1/C Σ_c R(F_c)

  It grows with the scale of the features and with D.

  Args:
    features: [N, D].
    labels: [N], integers from 0 to C − 1.
    epsilon: the squared distortion of the code.

  Returns:
    A number in nats.

  Reference:
    Huang et al., "Frustratingly Easy Transferability Estimation", ICML 2022,
    equations 3 to 5.
  """
  spectrum = float64.spectrum(features)
  labels = np.asarray(labels)
  n, num_classes = len(labels), int(labels.max()) + 1
  left, values = spectrum.left, spectrum.values
  if not len(values):
    return measure.Score(0.0, influence=np.zeros(n))
  score = 0.5 * np.sum(np.log1p(values / (n * epsilon)))
  leverage = float64.leverages(left, values / (n * epsilon + values))
  influence = -0.5 * n * np.log(np.maximum(1 - leverage, np.finfo(float).tiny))
  offset = np.zeros(len(values))
  for c in range(num_classes):
    members = np.flatnonzero(labels == c)
    rate, slopes, moved = _rate(left[members] * np.sqrt(values), epsilon)
    score -= rate / num_classes
    # Of a class, one example is the larger share the fewer there are.
    influence[members] -= slopes * n / len(members) / num_classes
    offset += moved / num_classes
  # All are centred by a mean that each example moves.
  influence += left @ (np.sqrt(values) * offset)
  return measure.Score(score, influence=influence)


MEASURE = measure.Measure(
  transrate,
  variant="authors' code: log det(I + FᵀF / (N ε))",
  limits={'epsilon': (1e-12, None)},
)
