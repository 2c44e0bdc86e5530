# SPDX-License-Identifier: Apache-2.0
"""How sure an order of scores is: the chance that each truly is above another.

A difference of two scores on the same examples varies as the difference of
their influence functions does, plus what the measure's own randomness adds to
each. That is enough for any pair, and for who is best of all.

Axes: N examples, M checkpoints, R resamples.
"""

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec
import numpy as np
from jaxtyping import Float

from neucrab_jax.ops import blas

# No first-order argument is surer than that.
_LEAST = 1e-6
# Draws that tell who is best, and the seed of them: to .005.
_NUM_DRAWS = 10_000
# A probability is not known as well.
_DIGITS = 6


# SciPy's takes longer to import than this does for hundreds of checkpoints.
_erf = np.vectorize(math.erf, otypes=[float])


class Score(Protocol):
  """What is asked of a score: see `measures.Evaluation`, `score_record`."""

  @property
  def score(self) -> float: ...
  @property
  def stderr(self) -> float | None: ...
  @property
  def influence(self) -> Sequence[float] | np.ndarray | None: ...
  @property
  def noise(self) -> float: ...
  @property
  def resamples(self) -> tuple[float, ...]: ...


def covariance(scores: Sequence[Score]) -> Float[np.ndarray, 'M M'] | None:
  """Covariances of scores over new examples and seeds.

  Returns:
    [M, M]; or None if for one of them nothing is random, or there is none.
  """
  stderrs = [score.stderr for score in scores]
  if not stderrs or None in stderrs:
    return None
  influences = [score.influence for score in scores]
  if all(influence is not None for influence in influences):
    matrix = np.array(influences, np.float64)
    found = matrix @ matrix.T / matrix.shape[1] ** 2
    return found + np.diag([score.noise**2 for score in scores])
  resamples = [score.resamples for score in scores]
  if all(resamples) and len({len(row) for row in resamples}) == 1:
    return np.atleast_2d(np.cov(np.array(resamples)))
  # Scored in different ways: as if each were on examples of its own.
  return np.diag(np.square(np.array(stderrs, np.float64)))


def above(
  scores: Sequence[float], covariance: Float[np.ndarray, 'M M']
) -> Float[np.ndarray, 'M M']:
  """The probability that i truly scores above j, never 0 or 1.

  >>> above([1.0, 0.0], np.diag([0.5, 0.5])).round(3).tolist()
  [[0.5, 0.841], [0.159, 0.5]]
  """
  values = np.asarray(scores, np.float64)
  differences = values[:, None] - values
  variances = np.diagonal(covariance)
  spread = variances[:, None] + variances - 2 * covariance
  # Of two that are the same on every example, rounding leaves anything.
  rounding = np.finfo(float).eps * (variances[:, None] + variances)
  stderr = np.sqrt(np.maximum(spread, rounding))
  with np.errstate(divide='ignore', invalid='ignore'):
    z = np.where(differences == 0, 0, differences / stderr)
  return _LEAST + (1 - 2 * _LEAST) * (1 + _erf(z / math.sqrt(2))) / 2


@functools.lru_cache(maxsize=4)
def _normal(size: int) -> Float[np.ndarray, 'R M']:
  """The same draws for all rankings of so many, which are not to be changed."""
  rng = np.random.default_rng(0)
  drawn = rng.standard_normal((_NUM_DRAWS, size))
  drawn.setflags(write=False)
  return drawn


def draw(
  scores: Sequence[float], covariance: Float[np.ndarray, 'M M']
) -> Float[np.ndarray, 'R M']:
  """What the scores could truly be, the same draws each time."""
  values, vectors = np.linalg.eigh(covariance)
  root = vectors * np.sqrt(np.maximum(values, 0))
  return np.asarray(scores) + _normal(len(scores)) @ root.T


def best(
  scores: Sequence[float], covariance: Float[np.ndarray, 'M M']
) -> Float[np.ndarray, 'M']:
  """The probability that each truly scores highest; equals share it."""
  drawn = draw(scores, covariance)
  highest = drawn >= drawn.max(axis=1, keepdims=True)
  return np.mean(highest / highest.sum(axis=1, keepdims=True), axis=0)


class Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
  """How sure the order is.

  Attributes:
    checkpoints: in ranking order.
    above: for each two the probability that the first truly scores above the
      second, .5 for one and itself.
    best: for each the probability that it truly scores highest.
  """

  checkpoints: tuple[str, ...]
  above: tuple[tuple[float, ...], ...]
  best: tuple[float, ...]


def _rounded(probabilities: np.ndarray) -> tuple[Any, ...]:
  """The probabilities as a tuple, of tuples if there is a row for each."""
  found = probabilities.round(_DIGITS).tolist()
  return tuple(tuple(row) if isinstance(row, list) else row for row in found)


def order(scores: Mapping[str, Score]) -> Order | None:
  """How sure an order is; None where nothing is random.

  Args:
    scores: by checkpoint, best first.
  """
  found = covariance(list(scores.values()))
  if found is None:
    return None
  values = [score.score for score in scores.values()]
  # The products are small: threads would wait longer than they work.
  with blas.one_thread():
    return Order(
      checkpoints=tuple(scores),
      above=_rounded(above(values, found)),
      best=_rounded(best(values, found)),
    )
