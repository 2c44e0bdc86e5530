# SPDX-License-Identifier: Apache-2.0
"""How sure an agreement is: intervals, the null, and who beats whom.

One draw resamples at once, each with replacement and the same for all
contestants: checkpoints; tasks; the examples that scores come from (one of the
resamples of the ranking) and those that accuracies were tested on (normal, by
their standard error); and the seeds of fine-tuning.

Axes: R resamples, T tasks, M checkpoints.
"""

import dataclasses
import functools
from collections.abc import Collection, Sequence

import numpy as np

from neucrab_jax.benchmark import contest, resampled

SOURCES = ('checkpoints', 'tasks', 'examples', 'seeds')
CONFIDENCE = 0.95
# τ of the same order differs by as much where its sums are taken in another.
_ROUNDING = 1e-9


@dataclasses.dataclass(frozen=True)
class Draws:
  """R resamples of a contest.

  Attributes:
    weights: [R, M], how often each checkpoint was drawn.
    task_weights: [R, T], how often each task was.
    accuracies: T arrays, [M] or, resampled, [R, M].
    phases: [R] in [0, 1), which resample of the scores; or none.
  """

  weights: np.ndarray
  task_weights: np.ndarray
  accuracies: tuple[np.ndarray, ...]
  phases: np.ndarray | None = None


def fixed(duel: contest.Contest, weights: np.ndarray) -> Draws:
  """Draws whose checkpoints are given, and nothing else moves."""
  return Draws(
    weights,
    np.ones((len(weights), len(duel.tasks))),
    tuple(duel.matrix()),
  )


def _cells(duel: contest.Contest, t: int):
  table = duel.accuracies[duel.tasks[t]]
  return [table.get(name) for name in duel.checkpoints]


def available(duel: contest.Contest) -> tuple[str, ...]:
  """The sources of chance that a contest has the records of."""
  cells = [c for t in range(len(duel.tasks)) for c in _cells(duel, t) if c]
  examples = any(cell.standard_error for cell in cells) or any(
    len(scores) > 1
    for entrant in duel.contestants
    for scores in entrant.resamples.values()
  )
  there = {
    'checkpoints': True,
    'tasks': len(duel.tasks) > 1,
    'examples': examples,
    'seeds': any(len(cell.by_seed) > 1 for cell in cells),
  }
  return tuple(source for source in SOURCES if there[source])


def _draw_accuracies(
  duel: contest.Contest,
  t: int,
  rng: np.random.Generator,
  *,
  num: int,
  sources: Collection[str],
) -> np.ndarray:
  columns, moved = [], False
  for cell in _cells(duel, t):
    column = np.full(num, np.nan if cell is None else cell.value)
    if cell and 'seeds' in sources and len(cell.by_seed) > 1:
      runs = np.array(cell.by_seed)
      drawn = rng.integers(len(runs), size=(num, len(runs)))
      column, moved = runs[drawn].mean(axis=1), True
    if cell and 'examples' in sources and cell.standard_error:
      noise = rng.normal(scale=cell.standard_error, size=num)
      column, moved = np.clip(column + noise, 0, 1), True
    columns.append(column)
  drawn = np.stack(columns, axis=1)
  return drawn if moved else drawn[0]


def draw(
  duel: contest.Contest,
  rng: np.random.Generator,
  *,
  num: int,
  sources: Collection[str] = SOURCES,
) -> Draws:
  """Draws resamples.

  Args:
    duel: the contest.
    rng: what to draw from.
    num: R.
    sources: which of `SOURCES` move; the others stay as they are.
  """

  def counts(size: int, moves: bool) -> np.ndarray:
    if not moves:
      return np.ones((num, size))
    return rng.multinomial(size, np.full(size, 1 / size), size=num)

  weights = counts(len(duel.checkpoints), 'checkpoints' in sources)
  task_weights = counts(len(duel.tasks), 'tasks' in sources)
  accuracies = tuple(
    _draw_accuracies(duel, t, rng, num=num, sources=sources)
    for t in range(len(duel.tasks))
  )
  phases = rng.random(num) if 'examples' in sources else None
  return Draws(weights, task_weights, accuracies, phases)


def _scores(
  entrant: contest.Contestant, t: int, phases: np.ndarray | None
) -> np.ndarray:
  """[M], or [R, M] where there are scores of resampled examples."""
  fixed_scores = entrant.scores[t]
  if phases is None:
    return fixed_scores
  columns, moved = [], False
  for m, score in enumerate(fixed_scores):
    resamples = np.array(entrant.resamples.get((t, m), ()))
    if np.isnan(score) or len(resamples) < 2:
      columns.append(np.full(len(phases), score))
    else:
      # The same resample of examples for every checkpoint and measure.
      columns.append(resamples[(phases * len(resamples)).astype(int)])
      moved = True
  return np.stack(columns, axis=1) if moved else fixed_scores


def agreements(
  metric: str, entrant: contest.Contestant, draws: Draws
) -> np.ndarray:
  """[T, R]: a metric of one contestant, on each task for each draw."""
  return np.stack(
    [
      resampled.agreement(
        metric, _scores(entrant, t, draws.phases), accuracies, draws.weights
      )
      for t, accuracies in enumerate(draws.accuracies)
    ]
  )


def average(values: np.ndarray, task_weights: np.ndarray) -> np.ndarray:
  """[R]: the mean over the tasks that were drawn and have a value."""
  weights = np.where(np.isnan(values), 0, task_weights.T)
  with np.errstate(invalid='ignore'):
    return np.sum(np.nan_to_num(values) * weights, axis=0) / weights.sum(axis=0)


def interval(values: np.ndarray) -> tuple[float, float] | None:
  """The central `CONFIDENCE` of the values that are defined, if any are."""
  defined = values[~np.isnan(values)]
  if not defined.size:
    return None
  tail = (1 - CONFIDENCE) / 2
  low, high = np.quantile(defined, [tail, 1 - tail])
  return float(low), float(high)


def permutations(
  rng: np.random.Generator, *, num: int, size: int
) -> np.ndarray:
  """[num, size] random orders."""
  return rng.permuted(np.tile(np.arange(size), (num, 1)), axis=1)


def null(
  entrant: contest.Contestant, duel: contest.Contest, orders: np.ndarray
) -> np.ndarray:
  """[T, R]: τ if scores were dealt to checkpoints in random orders.

  One order deals the scores of all tasks, so that what tasks share stays.
  """
  ones = np.ones(orders.shape)
  return np.stack(
    [
      resampled.agreement('kendall_tau', scores[orders], accuracies, ones)
      for scores, accuracies in zip(entrant.scores, duel.matrix(), strict=True)
    ]
  )


def p_value(tau: float, null_taus: np.ndarray) -> float | None:
  """Two-sided: how often chance is as far from zero; never quite zero."""
  if np.isnan(tau):
    return None
  extreme = np.abs(null_taus) >= abs(tau) - _ROUNDING
  return float((1 + extreme.sum()) / (1 + len(null_taus)))


def holm(p_values: Sequence[float]) -> np.ndarray:
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


def _restricted(
  entrant: contest.Contestant, missing: np.ndarray
) -> contest.Contestant:
  scores = np.where(missing, np.nan, entrant.scores)
  return dataclasses.replace(entrant, scores=scores)


def compare(
  duel: contest.Contest, draws: Draws, *, entrants: Collection[str]
) -> list[dict]:
  """Who beats whom in τ averaged over tasks, by paired resampling.

  The p-value is two-sided, twice the share of draws in which the difference has
  the other sign, adjusted by `holm` for the number of comparisons. Two are
  compared on the checkpoints that both have scored.

  Args:
    duel: the contest.
    draws: of the contest.
    entrants: names of contestants.

  Returns:
    A record for each two, the better first.
  """
  whole = fixed(duel, np.ones((1, len(duel.checkpoints))))
  chosen = [e for e in duel.contestants if e.name in entrants]
  missing = {e.name: np.isnan(e.scores) for e in chosen}
  by_name = {e.name: e for e in chosen}

  @functools.cache
  def taus(name: str, pattern: bytes) -> tuple[float, np.ndarray]:
    absent = np.frombuffer(pattern, bool).reshape(missing[name].shape)
    entrant = _restricted(by_name[name], absent)
    observed, drawn = (
      average(agreements('kendall_tau', entrant, d), d.task_weights)
      for d in (whole, draws)
    )
    return observed[0], drawn

  found = []
  for i, first in enumerate(chosen):
    for second in chosen[i + 1 :]:
      pattern = (missing[first.name] | missing[second.name]).tobytes()
      one, other = (taus(e.name, pattern) for e in (first, second))
      names = first.name, second.name
      if other[0] > one[0]:
        one, other, names = other, one, names[::-1]
      differences = one[1] - other[1]
      differences = differences[~np.isnan(differences)]
      if np.isnan(one[0] - other[0]) or not differences.size:
        continue
      low, high = interval(differences)
      tail = min((differences <= 0).sum(), (differences >= 0).sum())
      found.append(
        {
          'better': names[0],
          'worse': names[1],
          'difference': float(one[0] - other[0]),
          'low': low,
          'high': high,
          'p': float(min(1, 2 * (1 + tail) / (1 + len(differences)))),
        }
      )
  adjusted = holm([record['p'] for record in found])
  for record, p in zip(found, adjusted, strict=True):
    record['p_holm'] = float(p)
  return sorted(found, key=lambda record: record['p'])
