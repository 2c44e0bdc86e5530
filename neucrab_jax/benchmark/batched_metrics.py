# SPDX-License-Identifier: Apache-2.0
"""The agreement metrics over many resamples at once.

A resample of checkpoints is a vector of weights: how often each was drawn, and
zero for one that is left out. A checkpoint that was drawn twice is two that tie
in both score and accuracy, which no τ counts as a pair; among the top k it
takes one place.

With s_ij = sign(S_i − S_j), g_ij likewise of the accuracies, and h_i the sum of
1/rank over the copies of checkpoint i:

    τ   = wᵀ(s∘g)w / √(wᵀ|s|w · wᵀ|g|w)
    τ_w = hᵀ(s∘g)w / √(hᵀ|s|w · hᵀ|g|w)

so that no copy is made, and fixed scores cost one [R, M] by [M, M] product.

Axes: R resamples, M checkpoints. Scores and accuracies are [M] or, where they
are resampled too, [R, M]; weights [R, M] or [M]. Results are [R] or a scalar,
NaN where the metric is not defined.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Num
from scipy import special

# [M], or [R, M] where they are resampled.
Values = Num[np.ndarray, '... M']
# [R]; a scalar where nothing is resampled.
Found = Float[np.ndarray | np.floating, '...']

# Numbers of an [R, M, M] array at once: some 32 MB in f64.
_BLOCK = 4_000_000
# Correlations of f64 sums can't be told from a constant's below this share.
_CONSTANT = 1e-12


def _signs(x: np.ndarray) -> np.ndarray:
  """[..., M, M] of bytes: the sign of x_i − x_j."""
  first, second = x[..., :, None], x[..., None, :]
  return np.subtract(first > second, first < second, dtype=np.int8)


def _form(a: np.ndarray, matrix: np.ndarray, b: np.ndarray) -> np.ndarray:
  """aᵀ matrix b for each resample."""
  if matrix.ndim == 2:
    return np.sum((a @ matrix) * b, axis=-1)
  return np.sum(np.matmul(a[..., None, :], matrix)[..., 0, :] * b, axis=-1)


def _tau(
  x: np.ndarray, y: np.ndarray, weights: np.ndarray, *rank_weights: np.ndarray
) -> np.ndarray:
  s, g = _signs(x), _signs(y)
  agree, differ_in_x, differ_in_y = (
    signs.astype(np.float64) for signs in (s * g, s != 0, g != 0)
  )
  pairs = []
  for h in rank_weights:
    scale = _form(h, differ_in_x, weights) * _form(h, differ_in_y, weights)
    with np.errstate(invalid='ignore', divide='ignore'):
      pairs.append(_form(h, agree, weights) / np.sqrt(scale))
  return np.mean(pairs, axis=0)


def kendall_tau(scores: Values, accuracies: Values, weights: Values) -> Found:
  return _tau(scores, accuracies, weights, weights)


def _hyperbolic(
  first: np.ndarray, second: np.ndarray, weights: np.ndarray
) -> np.ndarray:
  """h: each checkpoint's sum of 1/rank over its copies, best first."""
  order = np.lexsort(np.broadcast_arrays(second, first), axis=-1)[..., ::-1]
  shape = np.broadcast_shapes(order.shape, weights.shape)
  order = np.broadcast_to(order, shape)
  copies = np.take_along_axis(np.broadcast_to(weights, shape), order, axis=-1)
  last = np.cumsum(copies, axis=-1).astype(int)
  harmonic = np.concatenate(
    [[0.0], np.cumsum(1 / np.arange(1, last.max(initial=1) + 1))]
  )
  h = np.empty(shape)
  sums = harmonic[last] - harmonic[last - copies.astype(int)]
  np.put_along_axis(h, order, sums, axis=-1)
  return h


def weighted_kendall_tau(
  scores: Values, accuracies: Values, weights: Values
) -> Found:
  return _tau(
    scores,
    accuracies,
    weights,
    _hyperbolic(scores, accuracies, weights),
    _hyperbolic(accuracies, scores, weights),
  )


def pearson(scores: Values, accuracies: Values, weights: Values) -> Found:
  total = np.sum(weights, axis=-1, keepdims=True)

  def centred(x):
    return x - np.sum(x * weights, axis=-1, keepdims=True) / total

  def product(a, b):
    return np.sum(weights * a * b, axis=-1)

  with np.errstate(invalid='ignore', divide='ignore'):
    x, y = centred(scores), centred(accuracies)
    xx, yy = product(x, x), product(y, y)
    constant = (xx <= _CONSTANT**2 * product(scores, scores)) | (
      yy <= _CONSTANT**2 * product(accuracies, accuracies)
    )
    r = product(x, y) / np.sqrt(xx * yy)
  return np.where(constant, np.nan, np.clip(r, -1, 1))


def _count(there: np.ndarray, relation: np.ndarray) -> np.ndarray:
  """For each checkpoint i, how many that are there have relation[i, ·]."""
  if relation.ndim == 2:
    return there @ relation.T
  return np.matmul(relation, there[..., None])[..., 0]


def _top(
  scores: np.ndarray, there: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray | np.integer]:
  """Who is among the k highest scores, and who might be.

  Returns:
    [R, M] surely among them, [R, M] tied for the last places, [R] the number
    of these places.
  """
  s = _signs(scores)
  above = _count(there, (s < 0).astype(np.float64))
  level = _count(there, (s == 0).astype(np.float64))
  surely = (there > 0) & (above + level <= k)
  tied = (there > 0) & (above < k) & (above + level > k)
  return surely, tied, k - np.sum(surely, axis=-1)


def _binomials(size: int, k: int) -> np.ndarray:
  """[size + 1, k + 1]: how many ways to choose so many of so many."""
  ways = special.comb(np.arange(size + 1)[:, None], np.arange(k + 1))
  return np.asarray(ways)


def rel_at_k(
  scores: Values, accuracies: Values, weights: Values, *, k: int
) -> Found:
  there = (weights > 0).astype(np.float64)
  surely, tied, places = _top(scores, there, k)
  most = np.max(np.where(there > 0, accuracies, -np.inf), axis=-1)
  floor = np.max(
    np.where(surely, accuracies, -np.inf), axis=-1, keepdims=True, initial=0.0
  )
  # Of those tied, one is the best chosen if it is chosen and none better is;
  # equal accuracies count in their order.
  g = _signs(accuracies)
  earlier = np.tri(g.shape[-1], k=-1)
  better = ((g < 0) | ((g == 0) & (earlier > 0))).astype(np.float64)
  rest = np.sum(tied, axis=-1, keepdims=True)
  places = np.clip(places, 1, k)[..., None]
  choose = _binomials(g.shape[-1], k)
  ahead = _count(tied.astype(np.float64), better)
  with np.errstate(invalid='ignore', divide='ignore'):
    # Of more than are left, none can be chosen: the table is 0 there.
    chance = (
      choose[(rest - 1 - ahead).astype(int), places - 1]
      / (choose[rest, places])
    )
    expected = np.sum(
      np.where(tied, chance * np.maximum(accuracies, floor), 0), axis=-1
    )
    best = np.where(rest[..., 0] > 0, expected, floor[..., 0])
    return np.where(np.isfinite(most), best / most, np.nan)


def recall_at_k(
  scores: Values, accuracies: Values, weights: Values, *, k: int
) -> Found:
  there = (weights > 0).astype(np.float64)
  surely, tied, places = _top(scores, there, k)
  known = np.where(there > 0, accuracies, -np.inf)
  best = (known == np.max(known, axis=-1, keepdims=True)) & (there > 0)
  rest = np.sum(tied, axis=-1)
  others = np.sum(tied & ~best, axis=-1)
  choose = _binomials(tied.shape[-1], k)
  with np.errstate(invalid='ignore', divide='ignore'):
    chance = 1 - choose[others, places] / choose[rest, places]
  chance = np.where(rest > 0, chance, 0.0)
  recall = np.where(np.any(surely & best, axis=-1), 1.0, chance)
  return np.where(np.any(there > 0, axis=-1), recall, np.nan)


def recall_at_k_sfda(
  scores: Values, accuracies: Values, weights: Values, *, k: int
) -> Found:
  there = (weights > 0).astype(np.float64)
  known = np.where(there > 0, scores, -np.inf)
  first = (known == np.max(known, axis=-1, keepdims=True)) & (there > 0)
  better = _count(there, (_signs(accuracies) < 0).astype(np.float64))
  with np.errstate(invalid='ignore', divide='ignore'):
    return np.sum(first & (better < k), axis=-1) / np.sum(first, axis=-1)


# As `metrics.METRICS`.
METRICS: dict[str, Callable[..., Found]] = {
  'recall_at_1': lambda *a: recall_at_k(*a, k=1),
  'recall_at_3': lambda *a: recall_at_k(*a, k=3),
  'rel_at_1': lambda *a: rel_at_k(*a, k=1),
  'rel_at_3': lambda *a: rel_at_k(*a, k=3),
  'pearson': pearson,
  'kendall_tau': kendall_tau,
  'weighted_kendall_tau': weighted_kendall_tau,
  'recall_at_3_sfda': lambda *a: recall_at_k_sfda(*a, k=3),
}


def agreement(
  metric: str,
  scores: Values,
  accuracies: Values,
  weights: Num[np.ndarray, 'R M'],
) -> Num[np.ndarray, 'R']:
  """One metric over resamples; a NaN score or accuracy has no weight.

  Args:
    metric: one of `METRICS`.
    scores: [M] or [R, M].
    accuracies: [M] or [R, M].
    weights: [R, M], whole numbers.

  Returns:
    [R]
  """
  missing = np.isnan(scores) | np.isnan(accuracies)
  weights = np.where(missing, 0, weights).astype(np.float64)
  scores, accuracies = np.nan_to_num(scores), np.nan_to_num(accuracies)
  rows, size = weights.shape
  step = max(1, _BLOCK // (size * size))

  def part(x, start):
    return x if x.ndim == 1 else x[start : start + step]

  return np.concatenate(
    [
      METRICS[metric](
        part(scores, start), part(accuracies, start), part(weights, start)
      )
      for start in range(0, rows, step)
    ]
  )
