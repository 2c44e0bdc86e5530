# SPDX-License-Identifier: Apache-2.0
"""kNN: leave-one-out accuracy of the nearest neighbours, a control.

Axes: N examples, D features.
"""

import jax
import numpy as np

from neucrab_jax.measures import inputs
from neucrab_jax.ops import knn as knn_ops

VARIANT = 'leave-one-out accuracy, Euclidean distance'
SPREAD = 'standard error over examples'
LIMITS = {'k': (1, None)}


def knn(*, features: jax.Array, labels: jax.Array, k: int = 1) -> inputs.Score:
  """How often an example's nearest neighbours are of its own class.

  Args:
    features: [N, D].
    labels: [N], integers from 0 to C − 1.
    k: neighbours that vote, below N.

  Returns:
    The accuracy, in [0, 1], and its standard error over examples.

  Reference:
    Cover and Hart, "Nearest Neighbor Pattern Classification", 1967.
  """
  right = np.asarray(knn_ops.leave_one_out(features, labels, k=k), np.float64)
  return inputs.Score(right.mean(), right.std(ddof=1) / np.sqrt(right.size))
