# SPDX-License-Identifier: Apache-2.0
"""Whether an agreement is beyond chance, and which of two is better.

Axes: R resamples, C predictors, T tasks, M checkpoints.
"""

import functools
from collections.abc import Collection

import numpy as np
from jaxtyping import Float, Int

from neucrab_jax.benchmark import bootstrap
from neucrab_jax.benchmark.alignment import AlignedScores
from neucrab_jax.benchmark.metrics import Vector
from neucrab_jax.benchmark.record import Comparison

# τ of the same order differs by as much where its sums are taken in another.
_ROUNDING = 1e-9


def permutations(
  rng: np.random.Generator, *, num: int, size: int
) -> Int[np.ndarray, 'num size']:
  """[num, size] random orders."""
  return rng.permuted(np.tile(np.arange(size), (num, 1)), axis=1)


def null(
  scores: Float[np.ndarray, 'T M'],
  accuracies: Float[np.ndarray, 'T M'],
  orders: Int[np.ndarray, 'R M'],
) -> Float[np.ndarray, 'T R']:
  """Kendall's τ if scores were dealt to checkpoints in random orders.

  One order deals the scores of all tasks, so that what tasks share stays.

  Args:
    scores: [T, M].
    accuracies: [T, M].
    orders: [R, M], from `permutations`.

  Returns:
    [T, R]
  """
  dealt = [x[orders] for x in scores]
  draws = bootstrap.fixed(accuracies, np.ones(orders.shape))
  return bootstrap.agreements(('kendall_tau',), dealt, draws)['kendall_tau']


def p_value(tau: float, null_taus: Float[np.ndarray, 'R']) -> float | None:
  """Two-sided: how often chance is as far from zero; never quite zero."""
  if np.isnan(tau):
    return None
  extreme = np.abs(null_taus) >= abs(tau) - _ROUNDING
  return float((1 + extreme.sum()) / (1 + len(null_taus)))


def holm(p_values: Vector) -> Float[np.ndarray, 'n']:
  """Adjusts p-values for how many there are, by Holm's step-down method.

      p̃_(i) = max_{j ≤ i} min(1, (n − j + 1) p_(j))

  Args:
    p_values: [n].

  Returns:
    [n], in the order given.

  Reference:
    Holm, "A simple sequentially rejective multiple test procedure", 1979.
  """
  p = np.asarray(p_values, np.float64)
  order = np.argsort(p, kind='stable')
  steps = np.minimum(1, p[order] * np.arange(len(p), 0, -1))
  adjusted = np.empty_like(p)
  adjusted[order] = np.maximum.accumulate(steps)
  return adjusted


def compare(
  aligned: AlignedScores, draws: bootstrap.Draws, *, chosen: Collection[int]
) -> tuple[Comparison, ...]:
  """Which of two is better in τ averaged over tasks, by paired resampling.

  The p-value is two-sided, twice the share of draws in which the difference has
  the other sign, adjusted by `holm` for the number of comparisons. Two are
  compared on the checkpoints that both have scored.

  Args:
    aligned: scores and accuracies.
    draws: of them.
    chosen: which of the predictors.

  Returns:
    One for each two, the surest first.
  """
  ones = np.ones((1, len(aligned.checkpoints)))
  whole = bootstrap.fixed(aligned.accuracies, ones)
  missing = np.isnan(aligned.scores)
  chosen = sorted(chosen)

  @functools.cache
  def taus(c: int, pattern: bytes) -> tuple[float, np.ndarray]:
    absent = np.frombuffer(pattern, bool).reshape(missing[c].shape)
    means = []
    for drawn in (whole, draws):
      scores = [
        np.where(hidden, np.nan, x)
        for hidden, x in zip(
          absent, bootstrap.draw_scores(aligned, c, drawn), strict=True
        )
      ]
      means.append(bootstrap.taus(scores, drawn))
    return means[0][0], means[1]

  found = []
  for i, first in enumerate(chosen):
    for second in chosen[i + 1 :]:
      pattern = (missing[first] | missing[second]).tobytes()
      one, other = taus(first, pattern), taus(second, pattern)
      better, worse = first, second
      if other[0] > one[0]:
        one, other, better, worse = other, one, worse, better
      differences = one[1] - other[1]
      differences = differences[~np.isnan(differences)]
      span = bootstrap.interval(differences)
      if np.isnan(one[0] - other[0]) or span is None:
        continue
      tail = min((differences <= 0).sum(), (differences >= 0).sum())
      p = min(1, 2 * (1 + tail) / (1 + len(differences)))
      found.append((better, worse, one[0] - other[0], span, float(p)))
  adjusted = holm([p for *_, p in found])
  comparisons = [
    Comparison(
      better=aligned.predictors[better].name,
      worse=aligned.predictors[worse].name,
      difference=float(difference),
      low=span[0],
      high=span[1],
      p=p,
      p_holm=float(p_holm),
    )
    for (better, worse, difference, span, p), p_holm in zip(
      found, adjusted, strict=True
    )
  ]
  return tuple(sorted(comparisons, key=lambda c: c.p))
