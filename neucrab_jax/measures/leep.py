# SPDX-License-Identifier: Apache-2.0
"""LEEP: the log expected empirical prediction of the source head.

Axes: N examples, C classes, Z source classes.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from neucrab_jax.measures import inputs

VARIANT = 'paper'
SPREAD = 'standard error over examples'
LIMITS: dict = {}


@functools.partial(jax.jit, static_argnames='num_classes')
def _log_predictions(source_probs, labels, *, num_classes):
  """log Σ_z P(y_i | z) θ(x_i)_z for each example, [N]."""
  one_hot = jax.nn.one_hot(labels, num_classes, dtype=source_probs.dtype)
  joint = jnp.matmul(one_hot.T, source_probs, precision='highest')  # [C, Z]
  mass = joint.sum(axis=0)  # N P(z), [Z]
  # A source class that nothing is assigned to predicts nothing.
  conditional = joint / jnp.where(mass > 0, mass, 1)  # P(y | z)
  p = jnp.sum(conditional[labels] * source_probs, axis=1)
  return jnp.log(jnp.maximum(p, jnp.finfo(p.dtype).tiny))


def leep(*, source_probs: jax.Array, labels: jax.Array) -> inputs.Score:
  """How well the source head's probabilities predict the labels.

      P(y | z) = Σ_{i: y_i = y} θ(x_i)_z / Σ_i θ(x_i)_z
      LEEP     = 1/N Σ_i log Σ_z P(y_i | z) θ(x_i)_z

  Args:
    source_probs: [N, Z], θ; rows sum to one.
    labels: [N], integers from 0 to C − 1.

  Returns:
    The mean, in nats and at most 0, and its standard error over examples.

  Reference:
    Nguyen et al., "LEEP: A New Measure to Evaluate Transferability of Learned
    Representations", ICML 2020, equation 2.
  """
  logs = np.asarray(
    _log_predictions(source_probs, labels, num_classes=int(np.max(labels)) + 1),
    np.float64,
  )
  return inputs.Score(logs.mean(), logs.std(ddof=1) / np.sqrt(logs.size))
