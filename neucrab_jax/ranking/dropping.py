# SPDX-License-Identifier: Apache-2.0
"""Who can be dropped from a race, by how sure the order of the scores is.

Axes: M checkpoints.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from neucrab_jax.ranking import confidence, record

# Of the scores, against what their influence functions say: those are to first
# order, and what a measure still gains by more examples differs between
# checkpoints. On 24 networks and two tasks, with less the top was wrong more
# often than asked for (experiments/benchmarks/racing.py).
_VARIANCE = 2.0


def in_top(
  scores: Sequence[float], covariance: Float[np.ndarray, 'M M'], *, top: int
) -> Float[np.ndarray, 'M']:
  """The probability that each truly is among so many best.

  >>> in_top([2.0, 1.0, 0.0], np.diag([0.01, 0.01, 0.01]), top=2).tolist()
  [1.0, 1.0, 0.0]
  """
  drawn = confidence.draw(scores, covariance)
  least = -np.partition(-drawn, top - 1, axis=1)[:, top - 1]
  return np.mean(drawn >= least[:, None], axis=0)


def dropped(
  probabilities: Float[np.ndarray, 'M'],
  scores: Sequence[float],
  *,
  top: int,
  risk: float,
) -> Bool[np.ndarray, 'M']:
  """Who can go, so that one of the best is lost with that risk at most.

  The least likely first: that any of them is among the best is no likelier than
  the sum of their probabilities.

  >>> dropped(np.array([1.0, 0.9, 0.07, 0.02, 0.01]), [5, 4, 3, 2, 1], top=2,
  ...         risk=0.05).tolist()
  [False, False, False, True, True]
  """
  order = np.argsort(probabilities, kind='stable')
  gone = np.zeros(len(order), bool)
  gone[order] = np.cumsum(probabilities[order]) <= risk
  gone[np.argsort(-np.asarray(scores), kind='stable')[:top]] = False
  return gone


def chances(
  scored: Sequence[record.Scored], *, share: float, top: int
) -> Float[np.ndarray, 'M'] | None:
  """How likely each is among the best by all examples; None if not known.

  Args:
    scored: on a part of the examples.
    share: of all examples, that part.
    top: how many best.
  """
  found = confidence.covariance([one.score for one in scored])
  if found is None or len(scored) <= top:
    return None
  # The part is of the whole: as it grows to it, nothing is left to chance but
  # the measure's own randomness.
  noise = np.diag([one.score.noise**2 for one in scored])
  found = _VARIANCE * ((1 - share) * found + share * noise)
  return in_top([one.score.score for one in scored], found, top=top)
