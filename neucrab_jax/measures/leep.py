# SPDX-License-Identifier: Apache-2.0
"""LEEP: the log expected empirical prediction of the source head.

Axes: N examples, C classes, Z source classes.
"""

import numpy as np
from jaxtyping import Float, Int

from neucrab_jax.measures import measure
from neucrab_jax.ops import float64
from neucrab_jax.typing import Array


def leep(
  *,
  source_probs: Float[Array, 'N Z'],
  labels: Int[Array, 'N'],
) -> measure.Score:
  """How well the source head's probabilities predict the labels.

      P(y | z) = Σ_{i: y_i = y} θ(x_i)_z / Σ_i θ(x_i)_z
      LEEP     = 1/N Σ_i log Σ_z P(y_i | z) θ(x_i)_z

  Args:
    source_probs: [N, Z], θ; rows sum to one.
    labels: [N], integers from 0 to C − 1.

  Returns:
    A mean in nats, at most 0.

  Reference:
    Nguyen et al., "LEEP: A New Measure to Evaluate Transferability of Learned
    Representations", ICML 2020, equation 2.
  """
  probs = np.asarray(source_probs, np.float64)
  members = float64.one_hot(labels)
  n = len(probs)
  joint = members.T @ probs / n  # [C, Z]
  mass = joint.sum(axis=0)
  # A source class that nothing is assigned to predicts nothing.
  safe = np.where(mass > 0, mass, 1)
  conditional = joint / safe  # P(y | z)
  p = np.einsum('nz,nz->n', conditional[labels], probs)
  p = np.maximum(p, np.finfo(np.float32).tiny)
  logs = np.log(p)
  # An example's weight also moves P(y | z), by which all others are judged.
  pull = members.T @ (probs / p[:, None]) / n  # [C, Z]
  average = np.sum(conditional * pull, axis=0)
  moved = np.einsum('nz,nz->n', probs / safe, pull[labels] - average)
  return measure.Score(logs.mean(), influence=logs + moved)


MEASURE = measure.Measure(
  leep,
  bounds=lambda num_classes: (-np.inf, 0.0),
  variant='paper',
)
