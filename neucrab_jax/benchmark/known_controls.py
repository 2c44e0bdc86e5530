# SPDX-License-Identifier: Apache-2.0
"""Puts what is known from other tasks beside the measures of a benchmark."""

import dataclasses

import numpy as np
from jaxtyping import Float

from neucrab_jax.benchmark import combined, history, joining
from neucrab_jax.benchmark.alignment import (
  MIN_CHECKPOINTS,
  AlignedScores,
  Predictor,
)

HISTORY = 'history'
HISTORY_LOW_RANK = 'history_low_rank'
COMBINED = 'combined'
# What knows nothing that a rule could learn to weigh.
_NOT_WEIGHED = ('random',)


@dataclasses.dataclass(frozen=True)
class _Table:
  """All accuracies of a kind, those on tasks without scores, too.

  Attributes:
    tasks: U names.
    names: of N checkpoints.
    accuracies: [U, N], NaN where not known.
    same: [U, U], which tasks are of the same data.
  """

  tasks: tuple[str, ...]
  names: tuple[str, ...]
  accuracies: Float[np.ndarray, 'U N']
  same: np.ndarray


def _tabulate(aligned: AlignedScores) -> _Table:
  tasks = tuple(aligned.known)
  names = tuple(
    dict.fromkeys(name for row in aligned.known.values() for name in row)
  )
  accuracies = np.array(
    [
      [row[name].value if name in row else np.nan for name in names]
      for row in aligned.known.values()
    ]
  )
  known = {task: dict(row) for task, row in aligned.known.items()}
  data = joining.known_tasks({aligned.accuracy: known})
  same = np.array(
    [
      [one == other or bool(data[one] & data[other]) for other in tasks]
      for one in tasks
    ]
  )
  return _Table(tasks, names, accuracies, same)


def _weighed(
  aligned: AlignedScores, table: _Table, columns: list[int], rows: list[int]
) -> Float[np.ndarray, 'T N'] | None:
  """What `combined` says on the tasks at hand."""
  chosen = [
    c
    for c, predictor in enumerate(aligned.predictors)
    if predictor.role != 'ceiling' and predictor.name not in _NOT_WEIGHED
  ]
  if not chosen:
    return None
  scores = np.full((len(chosen), *table.accuracies.shape), np.nan)
  scores[np.ix_(range(len(chosen)), rows, columns)] = aligned.scores[chosen]
  return combined.predict_all(scores, table.accuracies, rows, same=table.same)


def add(aligned: AlignedScores) -> AlignedScores:
  """Adds `history`, `history_low_rank` and, beside scores, `combined`.

  A task's own accuracies, and those of a task of the same data, are never among
  what it is predicted from.

  Args:
    aligned: scores and accuracies; all that its accuracies know is used, also
      of tasks and checkpoints without scores.

  Returns:
    The same with more controls; with none where there is no other task.
  """
  table = _tabulate(aligned)
  rows = [table.tasks.index(task) for task in aligned.tasks]
  columns = [table.names.index(name) for name in aligned.checkpoints]
  if table.same[rows].all(axis=1).any():
    return aligned
  others = [table.accuracies[~table.same[t]] for t in rows]
  found: dict[str, np.ndarray | None] = {
    HISTORY: np.stack([history.mean_ranks(rest) for rest in others]),
    HISTORY_LOW_RANK: np.stack(
      [history.forecast(rest).mean for rest in others]
    ),
    COMBINED: _weighed(aligned, table, columns, rows),
  }
  taken = {predictor.name for predictor in aligned.predictors}
  predictors, scores = list(aligned.predictors), list(aligned.scores)
  for name, values in found.items():
    if values is None or name in taken:
      continue
    values = values[:, columns]
    missing = np.isnan(values)
    paired = ~missing & ~np.isnan(aligned.accuracies)
    if paired.sum(axis=1).min() < MIN_CHECKPOINTS:
      continue
    left_out = {
      task: {
        checkpoint: 'no accuracy on another task'
        for checkpoint, absent in zip(aligned.checkpoints, row, strict=True)
        if absent
      }
      for task, row in zip(aligned.tasks, missing, strict=True)
      if row.any()
    }
    # Its source is the accuracies, which have theirs.
    predictors.append(Predictor(name, 'control', left_out, {}, {}))
    scores.append(values)
  return dataclasses.replace(
    aligned,
    predictors=tuple(predictors),
    scores=np.reshape(scores, (len(scores), *aligned.accuracies.shape)),
  )
