# SPDX-License-Identifier: Apache-2.0
"""kNN: leave-one-out accuracy of the nearest neighbours, a control.

Axes: N examples, D features, R weightings.
"""

import jax

from neucrab_jax.measures import inputs
from neucrab_jax.ops import knn as knn_ops

VARIANT = 'leave-one-out accuracy, Euclidean distance'
SPREAD = 'standard error over examples'
LIMITS = {'k': (1, None)}


def knn(
  *,
  features: jax.Array,
  labels: jax.Array,
  example_weights: jax.Array,
  k: int = 1,
) -> inputs.Score:
  """How often an example's nearest neighbours are of its own class.

  Args:
    features: [N, D].
    labels: [N], integers from 0 to C − 1.
    example_weights: [R, N]; no neighbour is the nearer for its weight.
    k: neighbours that vote, below N.

  Returns:
    [R] accuracies, in [0, 1], and the standard error over examples.

  Reference:
    Cover and Hart, "Nearest Neighbor Pattern Classification", 1967.
  """
  right = knn_ops.leave_one_out(features, labels, k=k)
  return inputs.mean_over_examples(right, example_weights)
