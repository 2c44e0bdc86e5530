# SPDX-License-Identifier: Apache-2.0
"""The agreement metrics over many resamples at once.

A resample of checkpoints is a vector of weights: how often each was drawn, and
zero for one that is left out. A checkpoint that was drawn twice is two that tie
in both score and accuracy, which no τ counts as a pair; among the top k it
takes one place.

With s_ij = sign(S_i − S_j), g_ij likewise of the accuracies, and h_i the sum of
1/rank over the copies of checkpoint i, over all pairs i < j:

    τ   = Σ s g w_i w_j / √(Σ |s| w_i w_j · Σ |g| w_i w_j)

and τ_w the same with h_i w_j + h_j w_i in place of w_i w_j, so that no copy is
made. One checkpoint after the other meets those behind it: arrays of all pairs
would be too large to stay near a core.

Axes: R resamples, M checkpoints. Resamples are the last axis, so that what is
done to a checkpoint is done to a row that lies together in memory.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int8, Num, Shaped
from scipy import special

# [M], or [R, M] where they are resampled.
Values = Num[np.ndarray, '... M']
# The same, as they are kept here: [M, 1] or [M, R].
Kept = Float[np.ndarray, 'M _']
# NaN where the metric is not defined.
Found = Float[np.ndarray, 'R']

# Correlations of f64 sums can't be told from a constant's below this share.
_CONSTANT = 1e-12


def _total(
  x: Shaped[np.ndarray, 'n _'], weights: Float[np.ndarray, 'n R']
) -> Float[np.ndarray, 'R']:
  """The sum over checkpoints, weighted."""
  return np.einsum('nr,nr->r', x, weights)


def _count(
  relation: Callable[[np.ndarray, np.ndarray], np.ndarray],
  x: Kept,
  there: Float[np.ndarray, 'M R'],
) -> Float[np.ndarray, 'M R']:
  """For each checkpoint i, how many that are there have relation(x, x_i)."""
  return np.stack([_total(relation(x, x_i), there) for x_i in x])


@dataclasses.dataclass(frozen=True)
class Resamples:
  """What metrics are of, and what several of them ask of it.

  Attributes:
    scores: [M, 1] or [M, R], all known.
    accuracies: the same.
    weights: [M, R], whole numbers.
  """

  scores: Kept
  accuracies: Kept
  weights: Float[np.ndarray, 'M R']

  @functools.cached_property
  def there(self) -> Float[np.ndarray, 'M R']:
    """1 for who was drawn, else 0."""
    return (self.weights > 0).astype(np.float64)

  @functools.cached_property
  def above(self) -> Float[np.ndarray, 'M R']:
    """How many of those drawn have a higher score than each."""
    return _count(np.greater, self.scores, self.there)

  @functools.cached_property
  def level(self) -> Float[np.ndarray, 'M R']:
    """How many of those drawn have the score of each."""
    return _count(np.equal, self.scores, self.there)


def _signs(x: Kept, i: int) -> Int8[np.ndarray, 'n _']:
  """The sign of x_i − x_j for each j behind i."""
  first, second = x[i], x[i + 1 :]
  return np.subtract(first > second, first < second, dtype=np.int8)


def _tau(given: Resamples, *rank_weights: Float[np.ndarray, 'M R']) -> Found:
  w = given.weights
  # For each h: how many pairs agree, differ in score and differ in accuracy.
  sums = np.zeros((len(rank_weights), 3, w.shape[1]))
  for i in range(len(w)):
    s, g = _signs(given.scores, i), _signs(given.accuracies, i)
    for part, x in enumerate((s * g, s != 0, g != 0)):
      behind = _total(x, w[i + 1 :])
      for h, total in zip(rank_weights, sums[:, part], strict=True):
        total += h[i] * behind
        if h is not w:
          total += w[i] * _total(x, h[i + 1 :])
  with np.errstate(invalid='ignore', divide='ignore'):
    taus = [agree / np.sqrt(in_s * in_g) for agree, in_s, in_g in sums]
  return np.mean(taus, axis=0)


def kendall_tau(given: Resamples) -> Found:
  return _tau(given, given.weights)


def _hyperbolic(
  first: Kept, second: Kept, weights: Float[np.ndarray, 'M R']
) -> Float[np.ndarray, 'M R']:
  """h: each checkpoint's sum of 1/rank over its copies, best first."""
  order = np.lexsort(np.broadcast_arrays(second, first), axis=0)[::-1]
  order = np.broadcast_to(order, weights.shape)
  copies = np.take_along_axis(weights, order, axis=0).astype(int)
  last = np.cumsum(copies, axis=0)
  harmonic = np.concatenate(
    [[0.0], np.cumsum(1 / np.arange(1, last.max(initial=1) + 1))]
  )
  h = np.empty(weights.shape)
  np.put_along_axis(h, order, harmonic[last] - harmonic[last - copies], axis=0)
  return h


def weighted_kendall_tau(given: Resamples) -> Found:
  return _tau(
    given,
    _hyperbolic(given.scores, given.accuracies, given.weights),
    _hyperbolic(given.accuracies, given.scores, given.weights),
  )


def pearson(given: Resamples) -> Found:
  weights = given.weights
  total = np.sum(weights, axis=0)

  def centred(x: np.ndarray) -> np.ndarray:
    return x - np.sum(x * weights, axis=0) / total

  def product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.sum(weights * a * b, axis=0)

  with np.errstate(invalid='ignore', divide='ignore'):
    x, y = centred(given.scores), centred(given.accuracies)
    xx, yy = product(x, x), product(y, y)
    constant = (xx <= _CONSTANT**2 * product(given.scores, given.scores)) | (
      yy <= _CONSTANT**2 * product(given.accuracies, given.accuracies)
    )
    r = product(x, y) / np.sqrt(xx * yy)
  return np.where(constant, np.nan, np.clip(r, -1, 1))


def _top(
  given: Resamples, k: int
) -> tuple[
  Bool[np.ndarray, 'M R'], Bool[np.ndarray, 'M R'], Num[np.ndarray, 'R']
]:
  """Who is among the k highest scores, and who might be.

  Returns:
    [M, R] surely among them, [M, R] tied for the last places, [R] the number
    of these places.
  """
  there, last = given.there > 0, given.above + given.level
  surely = there & (last <= k)
  tied = there & (given.above < k) & (last > k)
  return surely, tied, k - np.sum(surely, axis=0)


def _binomials(size: int, k: int) -> np.ndarray:
  """[size + 1, k + 1]: how many ways to choose so many of so many."""
  ways = special.comb(np.arange(size + 1)[:, None], np.arange(k + 1))
  return np.asarray(ways)


def rel_at_k(given: Resamples, *, k: int) -> Found:
  accuracies, there = given.accuracies, given.there > 0
  surely, tied, places = _top(given, k)
  most = np.max(np.where(there, accuracies, -np.inf), axis=0)
  floor = np.max(np.where(surely, accuracies, -np.inf), axis=0, initial=0.0)
  rest = np.sum(tied, axis=0)
  places = np.clip(places, 1, k)
  choose = _binomials(len(accuracies), k)
  # Of those tied, one is the best chosen if it is chosen and none better is;
  # equal accuracies count in their order.
  might = tied.astype(np.float64)
  ahead = _count(np.greater, accuracies, might)
  for i in range(1, len(might)):
    ahead[i] += _total(accuracies[:i] == accuracies[i], might[:i])
  with np.errstate(invalid='ignore', divide='ignore'):
    # Of more than are left, none can be chosen: the table is 0 there.
    chance = (
      choose[(rest - 1 - ahead).astype(int), places - 1]
      / (choose[rest, places])
    )
    expected = np.sum(
      np.where(tied, chance * np.maximum(accuracies, floor), 0), axis=0
    )
    best = np.where(rest > 0, expected, floor)
    return np.where(np.isfinite(most), best / most, np.nan)


def recall_at_k(given: Resamples, *, k: int) -> Found:
  there = given.there > 0
  surely, tied, places = _top(given, k)
  known = np.where(there, given.accuracies, -np.inf)
  best = (known == np.max(known, axis=0)) & there
  rest = np.sum(tied, axis=0)
  others = np.sum(tied & ~best, axis=0)
  choose = _binomials(len(tied), k)
  with np.errstate(invalid='ignore', divide='ignore'):
    chance = 1 - choose[others, places] / choose[rest, places]
  chance = np.where(rest > 0, chance, 0.0)
  recall = np.where(np.any(surely & best, axis=0), 1.0, chance)
  return np.where(np.any(there, axis=0), recall, np.nan)


def recall_at_k_sfda(given: Resamples, *, k: int) -> Found:
  there, accuracies = given.there > 0, given.accuracies
  known = np.where(there, given.scores, -np.inf)
  first = (known == np.max(known, axis=0)) & there
  better = _count(np.greater, accuracies, given.there)
  with np.errstate(invalid='ignore', divide='ignore'):
    return np.sum(first & (better < k), axis=0) / np.sum(first, axis=0)


# As `metrics.METRICS`.
METRICS: dict[str, Callable[[Resamples], Found]] = {
  'recall_at_1': functools.partial(recall_at_k, k=1),
  'recall_at_3': functools.partial(recall_at_k, k=3),
  'rel_at_1': functools.partial(rel_at_k, k=1),
  'rel_at_3': functools.partial(rel_at_k, k=3),
  'pearson': pearson,
  'kendall_tau': kendall_tau,
  'weighted_kendall_tau': weighted_kendall_tau,
  'recall_at_3_sfda': functools.partial(recall_at_k_sfda, k=3),
}


def agreements(
  names: Sequence[str],
  scores: Values,
  accuracies: Values,
  weights: Num[np.ndarray, 'R M'],
) -> dict[str, Found]:
  """Metrics over resamples; a NaN score or accuracy has no weight.

  Args:
    names: of `METRICS`; together they take less than one by one.
    scores: [M] or [R, M].
    accuracies: [M] or [R, M].
    weights: [R, M], whole numbers.

  Returns:
    By name, [R].
  """
  missing = np.isnan(scores) | np.isnan(accuracies)
  given = Resamples(
    *(
      np.ascontiguousarray(np.atleast_2d(np.nan_to_num(x)).T, np.float64)
      for x in (scores, accuracies, np.where(missing, 0, weights))
    )
  )
  return {name: METRICS[name](given) for name in names}
