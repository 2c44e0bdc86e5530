# SPDX-License-Identifier: Apache-2.0
"""Predicts a new task from other tasks' accuracies, and from scores on it.

What `known_controls` puts beside measures that are judged, for a task of which
no accuracy is known.

Axes: S other tasks, M checkpoints, P measures.
"""

import pathlib
from collections.abc import Mapping

import numpy as np

from neucrab_jax.benchmark import combined, history, known_controls
from neucrab_jax.finetuning import known_accuracies
from neucrab_jax.ranking import predictions

# By task and checkpoint.
Values = Mapping[str, Mapping[str, float]]


def read(file: str) -> tuple[Values, Mapping[str, Values]]:
  """Accuracies, and scores by measure, of a table such as the published ones.

  Args:
    file: a CSV with `task`, `checkpoint`, `accuracy`, and a column for the
      scores of each measure.

  Raises:
    ValueError: if it has several kinds of accuracies.
  """
  tables = known_accuracies.read_all(file)
  if len(tables) != 1:
    raise ValueError(
      f'{file!r} has {len(tables)} kinds of accuracies, {", ".join(tables)}. '
      'Keep one.'
    )
  (table,) = tables.values()
  accuracies = {
    task: {name: known.value for name, known in row.items()}
    for task, row in table.items()
  }
  scores: dict[str, dict[str, dict[str, float]]] = {}
  for found in predictions.read([pathlib.Path(file)]):
    scores.setdefault(found.measure, {})[found.task] = {
      name: score.value for name, score in found.scores.items()
    }
  return accuracies, scores


def predict(
  accuracies: Values, task: str, *, scores: Mapping[str, Values] | None = None
) -> dict[str, dict[str, float]]:
  """What history, and scores with it, expect of a task.

  >>> known = {'cars': {'a': 0.9, 'b': 0.5}, 'pets': {'a': 0.8, 'b': 0.7}}
  >>> predict(known, 'flowers')['history']
  {'a': 0.75, 'b': 0.25}

  Args:
    accuracies: on other tasks; those of the task itself are not looked at.
    task: to be predicted.
    scores: by measure, on the task and on the others, of which it is learnt
      how far they can be trusted.

  Returns:
    By predictor, a number for each checkpoint, larger for who will do better:
    `history`, the mean rank; `history_low_rank`, the one-factor model; and,
    given scores and two tasks or more with both, `combined`. A checkpoint that
    a predictor knows nothing of is not in it.

  Raises:
    ValueError: if there is no other task.
  """
  scores = scores or {}
  others = [name for name in accuracies if name != task]
  if not others:
    raise ValueError(
      f'{task!r} cannot be predicted from itself: give accuracies on another '
      'task.'
    )
  rows = [accuracies[name] for name in others]
  rows += [by_task.get(task, {}) for by_task in scores.values()]
  names = tuple(dict.fromkeys(name for row in rows for name in row))

  def matrix(table: Values) -> np.ndarray:  # [1 + S, M], the task first.
    found = [table.get(name, {}) for name in (task, *others)]
    return np.array([[row.get(n, np.nan) for n in names] for row in found])

  known = matrix({name: accuracies[name] for name in others})
  found = {
    known_controls.HISTORY: history.mean_ranks(known[1:]),
    known_controls.HISTORY_LOW_RANK: history.forecast(known[1:]).mean,
  }
  if scores:
    weighed = combined.predict(
      np.stack([matrix(by_task) for by_task in scores.values()]),
      known,
      0,
      same=np.eye(len(known), dtype=bool),
    )
    if weighed is not None:
      found[known_controls.COMBINED] = weighed
  return {
    predictor: {
      name: float(value)
      for name, value in zip(names, values, strict=True)
      if not np.isnan(value)
    }
    for predictor, values in found.items()
  }
