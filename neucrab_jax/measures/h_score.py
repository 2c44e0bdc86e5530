# SPDX-License-Identifier: Apache-2.0
"""H-score: between-class variance of features whitened by their covariance.

Axes: N examples, D features, C classes.
"""

import numpy as np
from jaxtyping import Float, Int

from neucrab_jax.measures import measure
from neucrab_jax.ops import float64
from neucrab_jax.typing import Array

# An example whose own weight in its prediction is this near one says nothing of
# what it would be without it.
_LEAST_LEFT = 1e-9


def explained(
  predicted: Float[np.ndarray, 'N C'],
  leverage: Float[np.ndarray, 'N'],
  labels: Int[Array, 'N'],
) -> tuple[float, Float[np.ndarray, 'N']]:
  """What regressions on features explain of each class's indicator, summed.

      Σ_c 1_cᵀ (11ᵀ/N + H) 1_c / N_c − 1

  Args:
    predicted: [N, C], H 1_c for each class, with H of centred features.
    leverage: [N], H_ii.
    labels: [N], integers from 0 to C − 1.

  Returns:
    The sum, and by example how much less it is without that one, times N − 1:
    exact, as a regression without an example is known from its residual and its
    leverage.
  """
  members = float64.one_hot(labels)
  n, counts = len(members), members.sum(axis=0)
  fitted = members.mean(axis=0) + predicted
  leverage = 1 / n + leverage
  residuals = members - fitted
  unexplained = np.sum(members * residuals, axis=0)  # [C]
  rest = counts - members  # [N, C], of each class without the example
  without = (
    unexplained - residuals**2 / np.maximum(1 - leverage, _LEAST_LEFT)[:, None]
  )
  # A class that loses its only example is not explained, and not missed.
  by_class = np.where(rest > 0, 1 - without / np.maximum(rest, 1), 0)
  total = float(np.sum(1 - unexplained / counts))
  return total - 1, (n - 1) * (total - by_class.sum(axis=1))


def h_score(
  *,
  features: Float[Array, 'N D'],
  labels: Int[Array, 'N'],
) -> measure.Score:
  """How much of the variance of whitened features is between classes.

      H = tr(cov(f)⁺ cov(E[f | y]))

  With D >= N it is C − 1 for any features in general position: then it says
  nothing, and `h_score_regularized` does.

  Args:
    features: [N, D].
    labels: [N], integers from 0 to C − 1.

  Returns:
    A number, from 0 to C − 1.

  Reference:
    Bao et al., "An Information-Theoretic Approach to Transferability in Task
    Transfer Learning", ICIP 2019, definition 2.
  """
  left = float64.spectrum(features).left
  score, influence = explained(
    left @ (left.T @ float64.one_hot(labels)),
    float64.leverages(left, np.ones(left.shape[1])),
    labels,
  )
  return measure.Score(score, influence=influence)


MEASURE = measure.Measure(
  h_score,
  bounds=lambda num_classes: (0.0, num_classes - 1.0),
  variant='paper, with the pseudo-inverse',
)
