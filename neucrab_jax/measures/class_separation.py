# SPDX-License-Identifier: Apache-2.0
"""Class separation: how far classes are apart for how wide they are.

Axes: N examples, D features, C classes.
"""

import numpy as np
from jaxtyping import Float, Int

from neucrab_jax.measures import measure
from neucrab_jax.ops import float64
from neucrab_jax.typing import Array

# Of a unit vector, and of sums of many.
_ROUNDING = 16 * np.finfo(float).eps


def class_separation(
  *,
  features: Float[Array, 'N D'],
  labels: Int[Array, 'N'],
) -> measure.Score:
  """One minus the ratio of distances within classes to those overall.

      d(x, x') = 1 − cos(x, x')
      within   = mean over classes c of the mean of d(x_i, x_j), i and j in c
      total    = mean over pairs of classes of the mean of d(x_i, x_j), one each
      R²       = 1 − within / total

  Pairs of an example with itself count. Where all features are the same, 0.

  Args:
    features: [N, D].
    labels: [N], integers from 0 to C − 1.

  Returns:
    A number at most 1.

  Reference:
    Kornblith et al., "Why Do Better Loss Functions Lead to Less Transferable
    Features?", NeurIPS 2021, section 3.3.
  """
  labels = np.asarray(labels)
  n, d = features.shape
  away = np.array(features, np.float64)
  nowhere = np.zeros(n)
  for rows in float64.row_blocks(n, d):
    x = away[rows]
    largest = np.abs(x).max(axis=1, keepdims=True)
    x /= np.where(largest > 0, largest, 1)
    norms = np.linalg.norm(x, axis=1, keepdims=True)
    x /= np.where(norms > 0, norms, 1)
    nowhere[rows] = norms[:, 0] == 0
  means = float64.class_means(away, labels)
  mean = means.mean(axis=0)
  for rows in float64.row_blocks(n, d):
    away[rows] -= means[labels[rows]]
  # 1 − cosine, averaged over all pairs of a class, is 1 − ‖mean of units‖²: the
  # variance of the units, and one for each that has no direction. An offset
  # brings all of them near to one, from which little may be left.
  distances = np.einsum('nd,nd->n', away, away) + nowhere
  within = np.mean(np.bincount(labels, distances) / np.bincount(labels))
  total = within + np.mean(np.sum((means - mean) ** 2, axis=1))
  if total <= _ROUNDING**2:
    return measure.Score(0.0, influence=np.zeros(n))
  # Of the means, by the weights: the units about the mean of their class.
  counts = np.bincount(labels)
  slopes = 2 / len(means) * (means / total - within * mean / total**2)
  influence = (away @ slopes.T)[np.arange(n), labels]
  return measure.Score(
    1 - within / total, influence=influence * n / counts[labels]
  )


MEASURE = measure.Measure(
  class_separation,
  bounds=lambda num_classes: (-np.inf, 1.0),
  variant='cosine distances, classes weigh alike',
)
