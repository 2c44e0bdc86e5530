# SPDX-License-Identifier: Apache-2.0
"""kNN: leave-one-out accuracy of the nearest neighbours, a control.

Axes: N examples, D features.
"""

import numpy as np
from jaxtyping import Float, Int

from neucrab_jax.measures import measure
from neucrab_jax.ops import knn as knn_ops
from neucrab_jax.typing import Array


def knn(
  *,
  features: Float[Array, 'N D'],
  labels: Int[Array, 'N'],
  k: int = 1,
) -> measure.Score:
  """How often an example's nearest neighbours are of its own class.

  Args:
    features: [N, D].
    labels: [N], integers from 0 to C − 1.
    k: neighbours that vote, below N.

  Returns:
    The accuracy, in [0, 1].

  Reference:
    Cover and Hart, "Nearest Neighbor Pattern Classification", 1967.
  """
  labels = np.asarray(labels)
  n = len(labels)
  # One more, who takes the place of any that is left out.
  places = knn_ops.nearest(features, k if k >= n - 1 else k + 1)
  neighbours = labels[places]
  right = knn_ops.vote(neighbours[:, :k]) == labels
  lost = np.zeros(n)
  if places.shape[1] > k:
    for place in range(k):
      rest = knn_ops.vote(np.delete(neighbours, place, axis=1))
      change = right.astype(float) - (rest == labels)
      np.add.at(lost, places[:, place], change)
  # What an example is without a neighbour is the doing of both: each has half.
  return measure.Score(right.mean(), influence=right - right.mean() + lost / 2)


MEASURE = measure.Measure(
  knn,
  bounds=lambda num_classes: (0.0, 1.0),
  variant='leave-one-out accuracy, Euclidean distance',
  leaves_out=True,
  limits={'k': (1, None)},
  most_examples=measure.PAIRS_OF,
)
