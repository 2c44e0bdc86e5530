# SPDX-License-Identifier: Apache-2.0
"""TransRate: how much coding by class saves of coding the features.

Axes: N examples, M of a class, D features, C classes.
"""

import numpy as np
from jaxtyping import Float, Int

from neucrab_jax.measures import measure
from neucrab_jax.ops import float64, gram
from neucrab_jax.typing import Array


def _rate(
  x: Float[np.ndarray, 'N D'], members: Int[np.ndarray, 'M'], epsilon: float
) -> tuple[float, Float[np.ndarray, 'M'], Float[np.ndarray, 'D']]:
  """½ log det(I + XᵀX / (M ε)) of some rows, by the smaller Gram matrix.

  Returns:
    The rate; by example M times how much less it is without that one; and the
    gradient by an offset of all of them, [D].
  """
  n, d = len(members), x.shape[1]
  if d < n:
    # A few at a time: a copy of a class is half of two classes.
    parts = [members[rows] for rows in float64.row_blocks(n, d)]
    products = np.zeros((d, d))
    for part in parts:
      products += x[part].T @ x[part]
    inverse = np.linalg.inv(n * epsilon * np.eye(d) + products)
    leverage = np.concatenate(
      [np.einsum('nd,nd->n', x[part] @ inverse, x[part]) for part in parts]
    )
    offset = inverse @ np.sum([x[part].sum(axis=0) for part in parts], axis=0)
  else:
    own = x[members]
    inverse = np.linalg.inv(n * epsilon * np.eye(n) + own @ own.T)
    leverage = 1 - n * epsilon * np.diagonal(inverse)
    offset = own.T @ inverse.sum(axis=1)
  rate = -0.5 * np.linalg.slogdet(n * epsilon * inverse)[1]
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
  products = gram.centred(features)
  x, unit = products.x, products.unit
  epsilon = max(epsilon / unit / unit, np.finfo(float).tiny)
  labels = np.asarray(labels)
  n, num_classes = len(labels), int(labels.max()) + 1
  hat = products.hat(n * epsilon)
  score = 0.5 * hat.log_det
  influence = -0.5 * n * np.log(np.maximum(hat.left, np.finfo(float).tiny))
  offset = np.zeros(x.shape[1])
  for c in range(num_classes):
    members = np.flatnonzero(labels == c)
    rate, slopes, moved = _rate(x, members, epsilon)
    score -= rate / num_classes
    # Of a class, one example is the larger share the fewer there are.
    influence[members] -= slopes * n / len(members) / num_classes
    offset += moved / num_classes
  # All are centred by a mean that each example moves.
  influence += x @ offset
  return measure.Score(score, influence=influence)


MEASURE = measure.Measure(
  transrate,
  variant="authors' code: log det(I + FᵀF / (N ε))",
  limits={'epsilon': (1e-12, None)},
)
