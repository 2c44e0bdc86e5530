# SPDX-License-Identifier: Apache-2.0
"""LFC: correlation of the features' kernel with that of the labels.

Axes: N examples, D features, C classes.
"""

import numpy as np
from jaxtyping import Float, Int

from neucrab_jax.measures import measure
from neucrab_jax.ops import float64
from neucrab_jax.typing import Array


def lfc(
  *,
  features: Float[Array, 'N D'],
  labels: Int[Array, 'N'],
) -> measure.Score:
  """How alike two examples' features are where their labels are the same.

      LFC = ⟨K, L⟩ / (‖K‖ ‖L‖),  K = H F Fᵀ H,  L = H Y H,  H = I − 11ᵀ/N

  where Y is 1 for two examples of one class and −1 for others. It is the linear
  CKA of features and labels.

  Args:
    features: [N, D].
    labels: [N], integers from 0 to C − 1.

  Returns:
    A number in [0, 1].

  Reference:
    Deshpande et al., "A linearized framework and a new benchmark for model
    selection for fine-tuning", 2021, section 4.
  """
  spectrum = float64.spectrum(features)
  members = float64.one_hot(labels)
  targets = members - members.mean(axis=0)
  n, values = len(members), spectrum.values
  if not len(values):
    return measure.Score(0.0, influence=np.zeros(n))
  # No fourth power is too small for a float.
  values = values / values[0]
  left, singular = spectrum.left, np.sqrt(values)[:, None]
  # ⟨FFᵀ, YYᵀ⟩ = ‖FᵀY‖², without any N×N array.
  cross = singular * (left.T @ targets) / n
  second = targets.T @ targets / n
  alike = np.sum(cross**2)
  features_norm, labels_norm = np.sum((values / n) ** 2), np.sum(second**2)
  score = alike / np.sqrt(features_norm * labels_norm)
  # Each of the three is a squared norm of a mean of products.
  influence = (
    2
    * np.einsum('nc,nc->n', left @ (singular * cross), targets)
    / np.sqrt(features_norm * labels_norm)
  )
  influence -= score * float64.leverages(left, values**2 / n) / features_norm
  influence -= score * (
    np.einsum('nc,nc->n', targets, targets @ second) / labels_norm
  )
  return measure.Score(score, influence=influence)


MEASURE = measure.Measure(
  lfc,
  bounds=lambda num_classes: (0.0, 1.0),
  variant='paper: both kernels centred, '
  'the pairs of an example with itself too',
)
