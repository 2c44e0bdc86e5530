# SPDX-License-Identifier: Apache-2.0
"""INT: the mean distance of examples of different classes.

Axes: N examples, D features, C classes.
"""

import numpy as np
from jaxtyping import Float, Int

from neucrab_jax.measures import measure
from neucrab_jax.ops import float64
from neucrab_jax.typing import Array


def interclass_distance(
  *,
  features: Float[Array, 'N D'],
  labels: Int[Array, 'N'],
) -> measure.Score:
  """How far apart examples of two classes are, however wide the classes.

      d(c, c') = mean of ‖f_i − f_j‖, i in c and j in c'
      INT      = mean over pairs of classes of d(c, c')

  of features as they are, so that it grows with their scale and with D. Whether
  the paper scales them first is not known to us. N² distances are made a few
  rows at a time, never held.

  Args:
    features: [N, D].
    labels: [N], integers from 0 to C − 1.

  Returns:
    A number at least 0, in the unit of the features.

  Reference:
    Singh, Hess and Vanschoren, "Occam's model: Selecting simpler
    representations for better transferability estimation", 2025; the index is
    of Bezdek and Pal, "Some new indexes of cluster validity", 1998.
  """
  members = float64.one_hot(labels)
  counts = members.sum(axis=0)
  n, num_classes = members.shape
  means = np.empty((n, num_classes))  # Of an example to each class.
  for rows, distances in float64.distances(float64.centre(features)):
    means[rows] = distances @ members / counts
  between = members.T @ means / counts[:, None]
  apart = means - between[labels]
  pairs = num_classes * (num_classes - 1)
  score = (between.sum() - np.trace(between)) / pairs
  # Each pair of classes is there twice, and an example is of one of the two.
  others = np.where(members > 0, 0, apart).sum(axis=1)
  return measure.Score(score, influence=2 * others * n / counts[labels] / pairs)


MEASURE = measure.Measure(
  interclass_distance,
  bounds=lambda num_classes: (0.0, np.inf),
  variant='Euclidean distances of features as they are',
  most_examples=measure.PAIRS_OF,
)
