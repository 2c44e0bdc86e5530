# SPDX-License-Identifier: Apache-2.0
"""kNN: leave-one-out accuracy of the nearest neighbours, a control.

Axes: N examples, D features, R weightings.
"""

from jaxtyping import Float, Int

from neucrab_jax.measures import measure
from neucrab_jax.ops import knn as knn_ops
from neucrab_jax.typing import Array


def knn(
  *,
  features: Float[Array, 'N D'],
  labels: Int[Array, 'N'],
  example_weights: Float[Array, 'R N'],
  k: int = 1,
) -> measure.Score:
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
  return measure.mean_over_examples(right, example_weights)


MEASURE = measure.Measure(
  knn,
  variant='leave-one-out accuracy, Euclidean distance',
  spread='standard error over examples',
  limits={'k': (1, None)},
)
