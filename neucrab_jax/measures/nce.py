# SPDX-License-Identifier: Apache-2.0
"""NCE: negative conditional entropy of labels given source classes.

Axes: N examples, C classes, Z source classes, R weightings.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from neucrab_jax.measures import measure
from neucrab_jax.ops import float64
from neucrab_jax.typing import Array


@functools.partial(jax.jit, static_argnames='num_classes')
def _log_conditionals(source_probs, labels, example_weights, *, num_classes):
  """log P(y_i | z_i) of each example, [R, N]."""
  source = jnp.argmax(source_probs, axis=1)
  num_sources = source_probs.shape[1]
  cell = labels * num_sources + source

  def log_conditionals(weights):
    joint = jax.ops.segment_sum(weights, cell, num_classes * num_sources)
    marginal = jax.ops.segment_sum(weights, source, num_sources)
    return jnp.log(joint[cell]) - jnp.log(marginal[source])

  return jax.lax.map(log_conditionals, example_weights)


def nce(
  *,
  source_probs: Float[Array, 'N Z'],
  labels: Int[Array, 'N'],
  example_weights: Float[Array, 'R N'],
) -> measure.Score:
  """How well the source head's most probable class predicts the labels.

      z_i = argmax_z θ(x_i)_z
      NCE = −H(Y | Z) = 1/N Σ_i log P(y_i | z_i)

  Args:
    source_probs: [N, Z], θ; rows sum to one.
    labels: [N], integers from 0 to C − 1.
    example_weights: [R, N].

  Returns:
    [R] means, in nats and at most 0, and the standard error over examples.

  Reference:
    Tran, Nguyen and Hassner, "Transferability and Hardness of Supervised
    Classification Tasks", ICCV 2019, section 3.
  """
  with float64.precision():
    logs = _log_conditionals(
      source_probs,
      np.asarray(labels),
      example_weights,
      num_classes=int(np.max(labels)) + 1,
    )
    return measure.mean_over_examples(logs, example_weights)


MEASURE = measure.Measure(
  nce,
  variant='paper: the most probable source class',
  spread='standard error over examples',
)
