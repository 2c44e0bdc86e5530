# SPDX-License-Identifier: Apache-2.0
"""How sure an agreement is: metrics on resamples, and their intervals.

One draw resamples at once, each with replacement and the same for all
predictors: checkpoints; tasks; the examples that scores come from (one of the
resamples of the ranking) and those that accuracies were tested on (normal, by
their standard error); and the seeds of fine-tuning.

Axes: R resamples, T tasks, M checkpoints.
"""

import dataclasses
from collections.abc import Collection, Sequence

import numpy as np
from jaxtyping import Float, Num

from neucrab_jax.benchmark import batched_metrics
from neucrab_jax.benchmark.alignment import AlignedScores

SOURCES = ('checkpoints', 'tasks', 'examples', 'seeds')
CONFIDENCE = 0.95


@dataclasses.dataclass(frozen=True)
class Draws:
  """R resamples of aligned scores.

  Attributes:
    weights: [R, M], how often each checkpoint was drawn.
    task_weights: [R, T], how often each task was.
    accuracies: T arrays, [M] or, resampled, [R, M].
    phases: [R] in [0, 1), which resample of the scores; or none.
  """

  weights: Num[np.ndarray, 'R M']
  task_weights: Num[np.ndarray, 'R T']
  accuracies: tuple[Float[np.ndarray, '... M'], ...]
  phases: Float[np.ndarray, 'R'] | None = None


def fixed(
  accuracies: Float[np.ndarray, 'T M'], weights: Num[np.ndarray, 'R M']
) -> Draws:
  """Draws whose checkpoints are given, and nothing else moves.

  Args:
    accuracies: [T, M].
    weights: [R, M].
  """
  task_weights = np.ones((len(weights), len(accuracies)))
  return Draws(weights, task_weights, tuple(accuracies))


def available(aligned: AlignedScores) -> tuple[str, ...]:
  """The sources of chance that there are records of."""
  cells = [
    cell for t in range(len(aligned.tasks)) for cell in aligned.cells(t) if cell
  ]
  examples = any(cell.standard_error for cell in cells) or any(
    len(scores) > 1
    for predictor in aligned.predictors
    for scores in predictor.resamples.values()
  )
  there = {
    'checkpoints': True,
    'tasks': len(aligned.tasks) > 1,
    'examples': examples,
    'seeds': any(len(cell.by_seed) > 1 for cell in cells),
  }
  return tuple(source for source in SOURCES if there[source])


def _draw_accuracies(
  aligned: AlignedScores,
  t: int,
  rng: np.random.Generator,
  *,
  num: int,
  sources: Collection[str],
) -> np.ndarray:
  columns, moved = [], False
  for cell in aligned.cells(t):
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
  aligned: AlignedScores,
  rng: np.random.Generator,
  *,
  num: int,
  sources: Collection[str] = SOURCES,
) -> Draws:
  """Draws resamples.

  Args:
    aligned: scores and accuracies.
    rng: what to draw from.
    num: R.
    sources: which of `SOURCES` move; the others stay as they are.
  """

  def counts(size: int, moves: bool) -> np.ndarray:
    if not moves:
      return np.ones((num, size))
    return rng.multinomial(size, np.full(size, 1 / size), size=num)

  weights = counts(len(aligned.checkpoints), 'checkpoints' in sources)
  task_weights = counts(len(aligned.tasks), 'tasks' in sources)
  accuracies = tuple(
    _draw_accuracies(aligned, t, rng, num=num, sources=sources)
    for t in range(len(aligned.tasks))
  )
  phases = rng.random(num) if 'examples' in sources else None
  return Draws(weights, task_weights, accuracies, phases)


def draw_scores(
  aligned: AlignedScores, c: int, draws: Draws
) -> tuple[Float[np.ndarray, '... M'], ...]:
  """The scores of a predictor, as they come with the draws.

  Args:
    aligned: scores and accuracies.
    c: which of its predictors.
    draws: of them.

  Returns:
    T arrays, [M] or, where there are scores of resampled examples, [R, M].
  """
  if draws.phases is None:
    return tuple(aligned.scores[c])
  drawn = []
  for t, scores in enumerate(aligned.scores[c]):
    columns, moved = [], False
    for m, score in enumerate(scores):
      resamples = np.array(aligned.predictors[c].resamples.get((t, m), ()))
      if np.isnan(score) or len(resamples) < 2:
        columns.append(np.full(len(draws.phases), score))
      else:
        # The same resample of examples for every checkpoint and measure.
        columns.append(resamples[(draws.phases * len(resamples)).astype(int)])
        moved = True
    drawn.append(np.stack(columns, axis=1) if moved else scores)
  return tuple(drawn)


def agreements(
  names: Sequence[str],
  scores: Sequence[Float[np.ndarray, '... M']],
  draws: Draws,
) -> dict[str, Float[np.ndarray, 'T R']]:
  """Metrics on each task for each draw.

  Args:
    names: of `batched_metrics.METRICS`.
    scores: T arrays, [M] or [R, M], of one predictor.
    draws: R of them.

  Returns:
    By name, [T, R].
  """
  by_task = [
    batched_metrics.agreements(names, x, accuracies, draws.weights)
    for x, accuracies in zip(scores, draws.accuracies, strict=True)
  ]
  return {name: np.stack([found[name] for found in by_task]) for name in names}


def taus(
  scores: Sequence[Float[np.ndarray, '... M']], draws: Draws
) -> Float[np.ndarray, 'R']:
  """Kendall's τ for each draw, averaged over its tasks.

  Args:
    scores: T arrays, [M] or [R, M], of one predictor.
    draws: R of them.

  Returns:
    [R]
  """
  (values,) = agreements(('kendall_tau',), scores, draws).values()
  return average(values, draws.task_weights)


def average(
  values: Float[np.ndarray, 'T R'], task_weights: Num[np.ndarray, 'R T']
) -> Float[np.ndarray, 'R']:
  """[R]: the mean over the tasks that were drawn and have a value."""
  weights = np.where(np.isnan(values), 0, task_weights.T)
  with np.errstate(invalid='ignore'):
    return np.sum(np.nan_to_num(values) * weights, axis=0) / weights.sum(axis=0)


def interval(values: Float[np.ndarray, '...']) -> tuple[float, float] | None:
  """The central `CONFIDENCE` of the values that are defined, if any are."""
  defined = values[~np.isnan(values)]
  if not defined.size:
    return None
  tail = (1 - CONFIDENCE) / 2
  low, high = np.quantile(defined, [tail, 1 - tail])
  return float(low), float(high)
