# SPDX-License-Identifier: Apache-2.0
"""NCE: negative conditional entropy of labels given source classes.

Axes: N examples, C classes, Z source classes.
"""

import numpy as np
from jaxtyping import Float, Int

from neucrab_jax.measures import measure
from neucrab_jax.typing import Array


def nce(
  *,
  source_probs: Float[Array, 'N Z'],
  labels: Int[Array, 'N'],
) -> measure.Score:
  """How well the source head's most probable class predicts the labels.

      z_i = argmax_z θ(x_i)_z
      NCE = −H(Y | Z) = 1/N Σ_i log P(y_i | z_i)

  Args:
    source_probs: [N, Z], θ; rows sum to one.
    labels: [N], integers from 0 to C − 1.

  Returns:
    A mean in nats, at most 0.

  Reference:
    Tran, Nguyen and Hassner, "Transferability and Hardness of Supervised
    Classification Tasks", ICCV 2019, section 3.
  """
  labels = np.asarray(labels)
  source = np.argmax(source_probs, axis=1)
  counts = np.zeros((int(labels.max()) + 1, source_probs.shape[1]))
  np.add.at(counts, (labels, source), 1)
  logs = np.log(counts[labels, source]) - np.log(counts.sum(axis=0)[source])
  # Of an entropy the derivative by a share is its logarithm: nothing is added.
  return measure.mean_over_examples(logs)


MEASURE = measure.Measure(
  nce,
  bounds=lambda num_classes: (-np.inf, 0.0),
  variant='paper: the most probable source class',
)
