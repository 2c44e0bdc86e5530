# SPDX-License-Identifier: Apache-2.0
"""LEEP: the log expected empirical prediction of the source head.

Axes: N examples, C classes, Z source classes, R weightings.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from neucrab_jax.measures import measure
from neucrab_jax.typing import Array


@functools.partial(jax.jit, static_argnames='num_classes')
def _log_predictions(source_probs, labels, example_weights, *, num_classes):
  """log Σ_z P(y_i | z) θ(x_i)_z for each example, [R, N]."""
  one_hot = jax.nn.one_hot(labels, num_classes, dtype=source_probs.dtype)

  def log_predictions(weights):
    weighted = source_probs * weights[:, None]
    joint = jnp.matmul(one_hot.T, weighted, precision='highest')  # [C, Z]
    mass = joint.sum(axis=0)  # N P(z), [Z]
    # A source class that nothing is assigned to predicts nothing.
    conditional = joint / jnp.where(mass > 0, mass, 1)  # P(y | z)
    p = jnp.sum(conditional[labels] * source_probs, axis=1)
    return jnp.log(jnp.maximum(p, jnp.finfo(p.dtype).tiny))

  return jax.lax.map(log_predictions, example_weights)


def leep(
  *,
  source_probs: Float[Array, 'N Z'],
  labels: Int[Array, 'N'],
  example_weights: Float[Array, 'R N'],
) -> measure.Score:
  """How well the source head's probabilities predict the labels.

      P(y | z) = Σ_{i: y_i = y} θ(x_i)_z / Σ_i θ(x_i)_z
      LEEP     = 1/N Σ_i log Σ_z P(y_i | z) θ(x_i)_z

  Args:
    source_probs: [N, Z], θ; rows sum to one.
    labels: [N], integers from 0 to C − 1.
    example_weights: [R, N].

  Returns:
    [R] means, in nats and at most 0, and the standard error over examples.

  Reference:
    Nguyen et al., "LEEP: A New Measure to Evaluate Transferability of Learned
    Representations", ICML 2020, equation 2.
  """
  logs = _log_predictions(
    source_probs,
    np.asarray(labels),
    np.asarray(example_weights, source_probs.dtype),
    num_classes=int(np.max(labels)) + 1,
  )
  return measure.mean_over_examples(logs, example_weights)


MEASURE = measure.Measure(
  leep,
  variant='paper',
  spread='standard error over examples',
)
