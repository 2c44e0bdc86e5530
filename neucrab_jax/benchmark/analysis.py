# SPDX-License-Identifier: Apache-2.0
"""Judges predictors by aligned scores, all on the same resamples.

Axes: R resamples, C predictors, T tasks, M checkpoints.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from neucrab_jax.benchmark import (
  bootstrap,
  cost,
  metrics,
  record,
  significance,
)
from neucrab_jax.benchmark.alignment import MIN_CHECKPOINTS, AlignedScores
from neucrab_jax.ranking.predictions import Predictions

RANDOM_ORDER = 'random order'
OTHER_SEED = 'accuracy: another seed'
# How many of the largest networks are dropped at most.
_DROPPED = 3
# Enough for the intervals of a random order, which no test depends on.
_RANDOM_ORDERS = 2_000


def _estimate(
  number: float, span: tuple[float, float] | None
) -> record.Estimate:
  low, high = span or (None, None)
  return record.Estimate(record.defined(number), low, high)


def _metrics_of(scores: np.ndarray, accuracies: np.ndarray) -> dict[str, float]:
  known = ~np.isnan(accuracies)
  return {
    name: function(scores[known], accuracies[known])
    for name, (_, function) in metrics.METRICS.items()
  }


def _mean(values: Sequence[float]) -> float:
  """Over those that are defined."""
  known = [value for value in values if not np.isnan(value)]
  return float(np.mean(known)) if known else np.nan


@dataclasses.dataclass(frozen=True)
class _Resamples:
  """What all predictors are judged on.

  Attributes:
    together: all sources of chance move.
    alone: by source, only that moves.
    orders: [R, M] random orders.
    without_one: [M] draws, each without one checkpoint.
    without_largest: without none, one, two, … of the largest networks; None
      where sizes are not known, or all equal.
  """

  together: bootstrap.Draws
  alone: Mapping[str, bootstrap.Draws]
  orders: np.ndarray
  without_one: bootstrap.Draws
  without_largest: bootstrap.Draws | None


def _without_largest(aligned: AlignedScores) -> bootstrap.Draws | None:
  parameters = cost.parameters(aligned)
  if parameters is None or len(set(parameters)) == 1:
    return None
  most = len(parameters) - MIN_CHECKPOINTS
  weights = np.ones((min(_DROPPED, most) + 1, len(parameters)))
  for dropped, largest in enumerate(np.argsort(-parameters, kind='stable')):
    weights[dropped + 1 :, largest] = 0
  return bootstrap.fixed(aligned.accuracies, weights)


def _resample(
  aligned: AlignedScores, *, num_resamples: int, seed: int
) -> _Resamples:
  rng = np.random.default_rng(seed)
  sources = bootstrap.available(aligned)
  together, *alone = (
    bootstrap.draw(aligned, rng, num=num_resamples, sources=moving)
    for moving in (sources, *((source,) for source in sources))
  )
  size = len(aligned.checkpoints)
  return _Resamples(
    together=together,
    alone=dict(zip(sources, alone, strict=True)),
    orders=significance.permutations(rng, num=num_resamples, size=size),
    without_one=bootstrap.fixed(aligned.accuracies, 1.0 - np.eye(size)),
    without_largest=_without_largest(aligned),
  )


def _average_tau(
  aligned: AlignedScores, c: int, draws: bootstrap.Draws
) -> np.ndarray:
  return bootstrap.taus(bootstrap.draw_scores(aligned, c, draws), draws)


def _estimates(
  aligned: AlignedScores, c: int, draws: bootstrap.Draws
) -> tuple[dict[str, record.Estimate], list[dict[str, record.Estimate]]]:
  """Every metric of a predictor: the mean over tasks, and on each task."""
  values = [
    _metrics_of(scores, accuracies)
    for scores, accuracies in zip(
      aligned.scores[c], aligned.accuracies, strict=True
    )
  ]
  scores = bootstrap.draw_scores(aligned, c, draws)
  means, by_task = {}, [{} for _ in aligned.tasks]
  found = bootstrap.agreements(tuple(metrics.METRICS), scores, draws)
  for name, drawn in found.items():
    for t, estimates in enumerate(by_task):
      estimates[name] = _estimate(values[t][name], bootstrap.interval(drawn[t]))
    means[name] = _estimate(
      _mean([value[name] for value in values]),
      bootstrap.interval(bootstrap.average(drawn, draws.task_weights)),
    )
  return means, by_task


def _significance(tau: float | None, null: np.ndarray) -> dict:
  """The p-value of a τ, and the |τ| that chance exceeds too seldom."""
  if tau is None:
    return {}
  return {
    'p_value': significance.p_value(tau, null),
    'chance_tau': float(np.nanquantile(np.abs(null), bootstrap.CONFIDENCE)),
  }


def _row(aligned: AlignedScores, c: int, resamples: _Resamples) -> record.Row:
  """All that is found out about one predictor."""
  predictor, scores = aligned.predictors[c], aligned.scores[c]
  means, by_task = _estimates(aligned, c, resamples.together)
  null = significance.null(scores, aligned.accuracies, resamples.orders)
  average_null = bootstrap.average(null, np.ones(null.T.shape))
  tau = means['kendall_tau'].value
  paired = ~np.isnan(scores) & ~np.isnan(aligned.accuracies)
  without_one = _average_tau(aligned, c, resamples.without_one)
  largest = resamples.without_largest
  return record.Row(
    name=predictor.name,
    role=predictor.role,
    average=means,
    **_significance(tau, average_null),
    tasks={
      task: record.TaskRow(
        metrics=by_task[t],
        **_significance(by_task[t]['kendall_tau'].value, null[t]),
        num_checkpoints=int(paired[t].sum()),
        left_out=dict(predictor.left_out.get(task, {})),
        sources=predictor.sources.get(task, ()),
      )
      for t, task in enumerate(aligned.tasks)
    },
    spread={
      source: record.defined(float(np.nanstd(_average_tau(aligned, c, draws))))
      for source, draws in resamples.alone.items()
      if tau is not None
    },
    leave_one_out={
      name: record.defined(tau)
      for name, tau in zip(aligned.checkpoints, without_one, strict=True)
    },
    drop_largest=()
    if largest is None
    else tuple(map(record.defined, _average_tau(aligned, c, largest))),
  )


def _random_order(aligned: AlignedScores, orders: np.ndarray) -> record.Row:
  """What no knowledge at all earns: exact means, intervals of the orders."""
  orders = orders[:_RANDOM_ORDERS].astype(np.float64)
  draws = bootstrap.fixed(aligned.accuracies, np.ones(orders.shape))
  equal = np.zeros(len(aligned.checkpoints))
  means, by_task = {}, [{} for _ in aligned.tasks]
  # Scores that are all equal earn what chance does; τ and r are symmetric.
  chances = [_metrics_of(equal, a) for a in aligned.accuracies]
  scores = [orders] * len(aligned.tasks)
  found = bootstrap.agreements(tuple(metrics.METRICS), scores, draws)
  for name, drawn in found.items():
    chance = np.nan_to_num([values[name] for values in chances])
    for t, estimates in enumerate(by_task):
      estimates[name] = _estimate(chance[t], bootstrap.interval(drawn[t]))
    means[name] = _estimate(
      chance.mean(), bootstrap.interval(drawn.mean(axis=0))
    )
  return _bare_row(RANDOM_ORDER, 'control', aligned, means, by_task)


def _bare_row(
  name: str,
  role: record.Role,
  aligned: AlignedScores,
  means: dict[str, record.Estimate],
  by_task: Sequence[dict[str, record.Estimate]],
) -> record.Row:
  """A row of what is no predictor with scores of its own."""
  tasks = {
    task: record.TaskRow(metrics=estimates)
    for task, estimates in zip(aligned.tasks, by_task, strict=True)
  }
  return record.Row(name=name, role=role, average=means, tasks=tasks)


def _other_seed(aligned: AlignedScores) -> record.Row | None:
  """One seed of the accuracies against another: means over all pairs."""
  values = []
  for t in range(len(aligned.tasks)):
    runs = [cell.by_seed for cell in aligned.cells(t) if cell]
    seeds = min((len(run) for run in runs), default=0)
    if seeds < 2:
      return None
    pairs = [
      _metrics_of(
        np.array([run[i] for run in runs]), np.array([run[j] for run in runs])
      )
      for i in range(seeds)
      for j in range(seeds)
      if i != j
    ]
    values.append({k: _mean([p[k] for p in pairs]) for k in metrics.METRICS})
  means = {
    name: _estimate(_mean([value[name] for value in values]), None)
    for name in metrics.METRICS
  }
  by_task = [
    {name: _estimate(value, None) for name, value in found.items()}
    for found in values
  ]
  return _bare_row(OTHER_SEED, 'ceiling', aligned, means, by_task)


def _points(aligned: AlignedScores) -> dict[str, tuple[record.Point, ...]]:
  """Every score beside every accuracy, by task."""
  return {
    task: tuple(
      record.Point(
        checkpoint=name,
        accuracy=cell.value,
        source=cell.source,
        scores={
          predictor.name: record.defined(aligned.scores[c, t, m])
          for c, predictor in enumerate(aligned.predictors)
        },
      )
      for m, (name, cell) in enumerate(
        zip(aligned.checkpoints, aligned.cells(t), strict=True)
      )
      if cell
    )
    for t, task in enumerate(aligned.tasks)
  }


def analyse(
  aligned: AlignedScores,
  predicted: Sequence[Predictions],
  *,
  num_resamples: int,
  seed: int,
  advance: Callable[[int], None] = lambda count: None,
) -> record.Alignment:
  """Judges all predictors of aligned scores.

  Args:
    aligned: scores and accuracies.
    predicted: that they were made from.
    num_resamples: R, for intervals, the null and comparisons alike.
    seed: of all that is drawn.
    advance: called after each predictor.
  """
  resamples = _resample(aligned, num_resamples=num_resamples, seed=seed)
  rows: dict[record.Role, list[record.Row]] = {
    'measure': [],
    'control': [],
    'ceiling': [],
  }
  for c, predictor in enumerate(aligned.predictors):
    rows[predictor.role].append(_row(aligned, c, resamples))
    advance(1)
  rows['control'].append(_random_order(aligned, resamples.orders))
  if other := _other_seed(aligned):
    rows['ceiling'].append(other)
  # What is to be judged first, best first; then what judges it.
  rows['measure'].sort(key=lambda row: -(row.average['kendall_tau'].value or 0))
  return record.Alignment(
    group=aligned.group,
    accuracy=aligned.accuracy,
    tasks=aligned.tasks,
    checkpoints=aligned.checkpoints,
    notes=aligned.notes,
    resampled=tuple(resamples.alone),
    rows=tuple(row for role in rows.values() for row in role),
    comparisons=significance.compare(
      aligned,
      resamples.together,
      chosen=[
        c for c, p in enumerate(aligned.predictors) if p.role != 'ceiling'
      ],
    ),
    cost=record.Cost(
      measures=cost.of_measures(aligned, predicted),
      fine_tuning=cost.of_fine_tuning(aligned, predicted),
    ),
    points=_points(aligned),
  )
