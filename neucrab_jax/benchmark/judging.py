# SPDX-License-Identifier: Apache-2.0
"""Judges the contestants of one contest, all on the same resamples.

Axes: R resamples, T tasks, M checkpoints.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from neucrab_jax.benchmark import (
  contest,
  cost,
  metrics,
  predictions,
  resampled,
  uncertainty,
)

RANDOM_ORDER = 'random order'
# How many of the largest networks are dropped at most.
_DROPPED = 3
# Enough for the intervals of a random order, which no test depends on.
_RANDOM_ORDERS = 2_000

Record = dict[str, Any]


def _value(number: float) -> float | None:
  """JSON has no NaN."""
  return None if np.isnan(number) else float(number)


def _described(number: float, drawn: tuple[float, float] | None) -> Record:
  low, high = drawn or (None, None)
  return {'value': _value(number), 'low': low, 'high': high}


def _metrics_of(scores: np.ndarray, accuracies: np.ndarray) -> dict[str, float]:
  known = ~np.isnan(accuracies)
  return {
    name: function(scores[known], accuracies[known])
    for name, (_, function) in metrics.METRICS.items()
  }


class _Judge:
  """Judges the contestants of one contest, all on the same resamples."""

  def __init__(self, duel: contest.Contest, *, num_resamples: int, seed: int):
    self.duel = duel
    self._num = num_resamples
    rng = np.random.default_rng(seed)
    self._accuracies = duel.matrix()
    self.sources = uncertainty.available(duel)
    self.draws = uncertainty.draw(
      duel, rng, num=self._num, sources=self.sources
    )
    self._alone = {
      source: uncertainty.draw(duel, rng, num=self._num, sources={source})
      for source in self.sources
    }
    size = len(duel.checkpoints)
    self._orders = uncertainty.permutations(rng, num=self._num, size=size)
    self._without_one = uncertainty.fixed(duel, 1.0 - np.eye(size))
    self._without_largest = self._drop_largest(cost.parameters(duel))

  def _drop_largest(self, parameters: np.ndarray | None):
    if parameters is None or len(set(parameters)) == 1:
      return None
    most = len(parameters) - contest.MIN_CHECKPOINTS
    weights = np.ones((min(_DROPPED, most) + 1, len(parameters)))
    for dropped, largest in enumerate(np.argsort(-parameters, kind='stable')):
      weights[dropped + 1 :, largest] = 0
    return uncertainty.fixed(self.duel, weights)

  def _average_tau(
    self, entrant: contest.Contestant, draws: uncertainty.Draws
  ) -> np.ndarray:
    return uncertainty.average(
      uncertainty.agreements('kendall_tau', entrant, draws), draws.task_weights
    )

  def row(self, entrant: contest.Contestant) -> Record:
    """All that is found out about one contestant."""
    values = [
      _metrics_of(scores, accuracies)
      for scores, accuracies in zip(
        entrant.scores, self._accuracies, strict=True
      )
    ]
    means, by_task = {}, [{} for _ in self.duel.tasks]
    for name in metrics.METRICS:
      drawn = uncertainty.agreements(name, entrant, self.draws)
      for t, record in enumerate(by_task):
        record[name] = _described(
          values[t][name], uncertainty.interval(drawn[t])
        )
      means[name] = _described(
        _mean([value[name] for value in values]),
        uncertainty.interval(
          uncertainty.average(drawn, self.draws.task_weights)
        ),
      )
    null = uncertainty.null(entrant, self.duel, self._orders)
    ones = np.ones((self._num, len(self.duel.tasks)))
    average_null = uncertainty.average(null, ones)
    without = self._average_tau(entrant, self._without_one)
    return {
      'name': entrant.name,
      'role': entrant.role,
      'average': means,
      **_significance(means['kendall_tau']['value'], average_null),
      'tasks': {
        task: {
          'num_checkpoints': int(
            (
              ~np.isnan(entrant.scores[t]) & ~np.isnan(self._accuracies[t])
            ).sum()
          ),
          'left_out': dict(entrant.left_out.get(task, {})),
          'metrics': by_task[t],
          **_significance(by_task[t]['kendall_tau']['value'], null[t]),
          'sources': list(entrant.sources.get(task, ())),
        }
        for t, task in enumerate(self.duel.tasks)
      },
      'spread': {
        source: _value(np.nanstd(self._average_tau(entrant, draws)))
        for source, draws in self._alone.items()
        if not np.isnan(means['kendall_tau']['value'] or np.nan)
      },
      'leave_one_out': {
        name: _value(tau)
        for name, tau in zip(self.duel.checkpoints, without, strict=True)
      },
      'drop_largest': []
      if self._without_largest is None
      else [
        _value(tau) for tau in self._average_tau(entrant, self._without_largest)
      ],
    }

  def random_order(self) -> Record:
    """What no knowledge at all earns: exact means, intervals of the orders."""
    orders = self._orders[:_RANDOM_ORDERS].astype(np.float64)
    ones = np.ones(orders.shape)
    equal = np.zeros(len(self.duel.checkpoints))
    means, by_task = {}, [{} for _ in self.duel.tasks]
    # Scores that are all equal earn what chance does; τ and r are symmetric.
    chances = [_metrics_of(equal, a) for a in self._accuracies]
    for name in metrics.METRICS:
      drawn = np.stack(
        [
          resampled.agreement(name, orders, accuracies, ones)
          for accuracies in self._accuracies
        ]
      )
      chance = np.nan_to_num([values[name] for values in chances])
      for t, record in enumerate(by_task):
        record[name] = _described(chance[t], uncertainty.interval(drawn[t]))
      means[name] = _described(
        chance.mean(), uncertainty.interval(drawn.mean(axis=0))
      )
    return {
      'name': RANDOM_ORDER,
      'role': 'control',
      'average': means,
      'tasks': {
        task: {'metrics': by_task[t]} for t, task in enumerate(self.duel.tasks)
      },
    }

  def other_seeds(self) -> Record | None:
    """One seed of the truth against another: means over all pairs of them."""
    values = []
    for task in self.duel.tasks:
      cells = [self.duel.accuracies[task].get(n) for n in self.duel.checkpoints]
      runs = [cell.by_seed for cell in cells if cell]
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
    return {
      'name': 'truth: another seed',
      'role': 'ceiling',
      'average': {
        name: _described(_mean([value[name] for value in values]), None)
        for name in metrics.METRICS
      },
      'tasks': {
        task: {
          'metrics': {k: _described(v, None) for k, v in values[t].items()}
        }
        for t, task in enumerate(self.duel.tasks)
      },
    }


def _mean(values: list[float]) -> float:
  """Over those that are defined."""
  defined = [value for value in values if not np.isnan(value)]
  return float(np.mean(defined)) if defined else np.nan


def _significance(tau: float | None, null: np.ndarray) -> Record:
  """The p-value of a τ, and the |τ| that chance exceeds too seldom."""
  return {
    'p_value': None if tau is None else uncertainty.p_value(tau, null),
    'chance_tau': None
    if tau is None
    else float(np.nanquantile(np.abs(null), uncertainty.CONFIDENCE)),
  }


def _points(duel: contest.Contest) -> dict[str, list[Record]]:
  """Every score beside every accuracy, by task."""
  return {
    task: [
      {
        'checkpoint': name,
        'accuracy': duel.accuracies[task][name].value,
        'source': duel.accuracies[task][name].source,
        'scores': {
          entrant.name: _value(entrant.scores[t, m])
          for entrant in duel.contestants
        },
      }
      for m, name in enumerate(duel.checkpoints)
      if name in duel.accuracies[task]
    ]
    for t, task in enumerate(duel.tasks)
  }


def judge(
  duel: contest.Contest,
  scores: Sequence[predictions.Scores],
  *,
  num_resamples: int,
  seed: int,
) -> Iterator[Record]:
  """Judges a contest.

  Args:
    duel: the contest.
    scores: that it was made from.
    num_resamples: R, for intervals, the null and comparisons alike.
    seed: of all that is drawn.

  Yields:
    An empty record for each contestant that is done; then the record of all.
  """
  bench = _Judge(duel, num_resamples=num_resamples, seed=seed)
  rows = []
  for entrant in duel.contestants:
    rows.append(bench.row(entrant))
    yield {}
  by_role = {
    role: [row for row in rows if row['role'] == role]
    for role in ('measure', 'control', 'ceiling')
  }
  seeds = bench.other_seeds()
  # What is to be judged first, best first; then what judges it.
  by_role['measure'].sort(
    key=lambda row: -(row['average']['kendall_tau']['value'] or 0)
  )
  yield {
    'group': duel.group,
    'truth': duel.truth,
    'tasks': list(duel.tasks),
    'checkpoints': list(duel.checkpoints),
    'notes': list(duel.notes),
    'resampled': list(bench.sources),
    'rows': [
      *by_role['measure'],
      *by_role['control'],
      bench.random_order(),
      *by_role['ceiling'],
      *([seeds] if seeds else []),
    ],
    'comparisons': uncertainty.compare(
      duel,
      bench.draws,
      entrants={r['name'] for r in rows if r['role'] != 'ceiling'},
    ),
    'cost': {
      'measures': cost.of_measures(duel, scores),
      'fine_tuning': cost.of_fine_tuning(duel),
    },
    'points': _points(duel),
  }
