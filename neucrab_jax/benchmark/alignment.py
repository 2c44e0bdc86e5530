# SPDX-License-Identifier: Apache-2.0
"""Aligns scores with accuracies: the same checkpoints, the same tasks.

What has no counterpart is left out, and told. Predictors are the measures, the
controls that anyone could use instead, and other accuracies, as a ceiling.

Axes: C predictors, T tasks, M checkpoints.
"""

import dataclasses
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from jaxtyping import Float

from neucrab_jax.benchmark import fixed_order, joining
from neucrab_jax.benchmark.record import Role
from neucrab_jax.finetuning.known_accuracies import (
  KnownAccuracies,
  KnownAccuracy,
)
from neucrab_jax.ranking.predictions import Prediction, Predictions

# Measures that know nothing of the task, or are what a careful person would try
# first: a measure is worth what it adds to them.
CONTROLS = ('random', 'num_parameters', 'upstream_accuracy', 'knn', 'linear')
FIXED_ORDER = 'fixed order'
# No order of two says anything.
MIN_CHECKPOINTS = 3


@dataclasses.dataclass(frozen=True)
class Predictor:
  """What predicts, beside its scores.

  Attributes:
    name: of the measure, the control or the other accuracies.
    role: what it is there for.
    left_out: by task and checkpoint, why there is no score.
    resamples: by (task, checkpoint) as indices, scores of resampled examples.
    sources: by task, the files.
  """

  name: str
  role: Role
  left_out: Mapping[str, Mapping[str, str]]
  resamples: Mapping[tuple[int, int], Sequence[float]]
  sources: Mapping[str, tuple[str, ...]]


@dataclasses.dataclass(frozen=True)
class AlignedScores:
  """One group of checkpoints and one kind of accuracies.

  Attributes:
    group: its name.
    accuracy: which accuracies, such as 'linear'.
    tasks: T names.
    checkpoints: M names.
    predictors: C of them, in the order of tables.
    scores: [C, T, M], NaN where there is none.
    accuracies: [T, M], from 0 to 1, NaN where there is none.
    known: by task and checkpoint, the accuracies with all that is known of
      them.
    notes: what a reader should know.
  """

  group: str
  accuracy: str
  tasks: tuple[str, ...]
  checkpoints: tuple[str, ...]
  predictors: tuple[Predictor, ...]
  scores: Float[np.ndarray, 'C T M']
  accuracies: Float[np.ndarray, 'T M']
  known: Mapping[str, Mapping[str, KnownAccuracy]]
  notes: tuple[str, ...] = ()

  def cells(self, t: int) -> list[KnownAccuracy | None]:
    """[M] accuracies on a task."""
    table = self.known[self.tasks[t]]
    return [table.get(name) for name in self.checkpoints]


def _common_tasks(
  group: str,
  predicted: Collection[str],
  table: Mapping[str, Mapping[str, KnownAccuracy]],
) -> tuple[str, ...]:
  """The tasks that have both scores and accuracies."""
  if not predicted:
    return tuple(table)
  common = tuple(task for task in table if task in predicted)
  if not common:
    raise joining.no_common_task(group, predicted, table)
  return common


def _common_checkpoints(
  group: str, predicted: Collection[str], known: Collection[str]
) -> tuple[str, ...]:
  """The checkpoints that have both a score and an accuracy."""
  common = tuple(name for name in known if name in predicted)
  if len(common) < MIN_CHECKPOINTS:
    raise ValueError(
      f'{group}: {len(common)} checkpoints have both a score and an accuracy; '
      f'at least {MIN_CHECKPOINTS} must. Scores: '
      f'{joining.listed(predicted) or "none"}. Accuracies: '
      f'{joining.listed(known) or "none"}.'
    )
  return common


def _known_on(
  tasks: Sequence[str], table: Mapping[str, Mapping[str, KnownAccuracy]]
) -> tuple[str, ...]:
  return tuple(dict.fromkeys(name for task in tasks for name in table[task]))


def check(
  group: str,
  *,
  tasks: Collection[str],
  names: Collection[str],
  accuracies: KnownAccuracies,
) -> None:
  """Checks that scores which are still to be made will find accuracies.

  Args:
    group: what to call the group.
    tasks: that there will be scores on.
    names: of the checkpoints that will have scores.
    accuracies: what is known.

  Raises:
    ValueError: if no task, or fewer than three checkpoints, have both.
  """
  for table in accuracies.values():
    common = _common_tasks(group, tasks, table)
    _common_checkpoints(group, names, _known_on(common, table))


@dataclasses.dataclass(frozen=True)
class _Given:
  """A predictor's scores by task, before they are aligned."""

  name: str
  role: Role
  by_task: Mapping[str, Predictions]


def _as_predictions(
  name: str, task: str, values: Mapping[str, Prediction | KnownAccuracy]
) -> Predictions:
  scores = {
    checkpoint: Prediction(given.value, given.source)
    for checkpoint, given in values.items()
  }
  return Predictions(measure=name, task=task, scores=scores)


def _all_given(
  kind: str,
  predicted: Sequence[Predictions],
  accuracies: KnownAccuracies,
  order: Mapping[str, Prediction],
  tasks: Sequence[str],
) -> list[_Given]:
  """Measures in the order given, controls, then the other accuracies."""
  by_measure: dict[str, dict[str, Predictions]] = {}
  for entry in sorted(predicted, key=lambda p: p.measure in CONTROLS):
    if entry.task in tasks:
      by_measure.setdefault(entry.measure, {})[entry.task] = entry
  given = [
    _Given(name, 'control' if name in CONTROLS else 'measure', by_task)
    for name, by_task in by_measure.items()
  ]
  if order:
    by_task = {
      task: _as_predictions(FIXED_ORDER, task, order) for task in tasks
    }
    given.append(_Given(FIXED_ORDER, 'control', by_task))
  for other, table in accuracies.items():
    if other != kind and all(task in table for task in tasks):
      by_task = {
        task: _as_predictions(other, task, table[task]) for task in tasks
      }
      given.append(_Given(f'accuracy: {other}', 'ceiling', by_task))
  return given


def _align_one(
  given: _Given, *, tasks: Sequence[str], names: Sequence[str]
) -> tuple[Predictor, np.ndarray]:
  """A predictor and its scores [T, M]."""
  scores = np.full((len(tasks), len(names)), np.nan)
  resamples, left_out = {}, {}
  for t, task in enumerate(tasks):
    entry = given.by_task.get(task)
    for m, checkpoint in enumerate(names):
      if entry is not None and checkpoint in entry.scores:
        scores[t, m] = entry.scores[checkpoint].value
        resamples[t, m] = entry.scores[checkpoint].resamples
      else:
        why = 'no score' if entry is None else 'not in the ranking'
        if entry is not None:
          why = entry.failed.get(checkpoint, why)
        left_out.setdefault(task, {})[checkpoint] = why
  predictor = Predictor(
    name=given.name,
    role=given.role,
    left_out=left_out,
    resamples=resamples,
    sources={
      task: tuple(dict.fromkeys(s.source for s in entry.scores.values()))
      for task, entry in given.by_task.items()
    },
  )
  return predictor, scores


def _shortcomings(
  name: str, scores: np.ndarray, accuracies: np.ndarray, tasks: Sequence[str]
) -> tuple[list[str], bool]:
  """What a reader should know of a predictor, and whether it can take part."""
  notes, counts = [], []
  for t, task in enumerate(tasks):
    paired = ~np.isnan(scores[t]) & ~np.isnan(accuracies[t])
    counts.append(int(paired.sum()))
    values = scores[t, paired]
    if len(set(values)) == 1:
      notes.append(
        f'All {len(values)} scores of {name} on {task} are equal: '
        'there is no τ and no correlation; Rel and Recall are those of chance.'
      )
  if min(counts) < MIN_CHECKPOINTS:
    worst = int(np.argmin(counts))
    return [
      f'{name} is left out: only {counts[worst]} checkpoints have '
      f'its score and an accuracy on {tasks[worst]}, fewer than '
      f'{MIN_CHECKPOINTS}.'
    ], False
  return notes, True


def align(
  group: str,
  *,
  predicted: Sequence[Predictions],
  accuracies: KnownAccuracies,
  order: str = '',
  alone: bool = False,
) -> list[AlignedScores]:
  """Aligns scores with accuracies, once for each kind of accuracies.

  Args:
    group: what to call the group.
    predicted: by any measures on any tasks; may be empty if there is an order.
    accuracies: by kind, task and checkpoint.
    order: as `fixed_order.read` takes it; empty for none.
    alone: whether accuracies will do, of which history is judged.

  Raises:
    ValueError: if nothing can be aligned, or fewer than three checkpoints.
  """
  if not (predicted or order or alone):
    raise ValueError(
      f'{group}: there is nothing to judge. Give rankings, or an order.'
    )
  places = fixed_order.read(order) if order else {}
  predicted, joined = joining.join(predicted, accuracies)
  # A table may have scores on some of its tasks alone.
  predicted_tasks = dict.fromkeys(
    entry.task for entry in predicted if entry.scores or entry.failed
  )
  predicted_names = set(places) | {
    name for entry in predicted for name in (*entry.scores, *entry.failed)
  }
  found = []
  for kind, table in accuracies.items():
    tasks = _common_tasks(group, predicted_tasks, table)
    known = _known_on(tasks, table)
    having = predicted_names if predicted or order else known
    names = _common_checkpoints(group, having, known)
    notes = joined + joining.doubts(tasks, names, table)
    notes += joining.coverage(
      having, known, tasks=tasks, all_tasks=(*table, *predicted_tasks)
    )
    matrix = np.array(
      [
        [table[t][name].value if name in table[t] else np.nan for name in names]
        for t in tasks
      ]
    )
    predictors, scores = [], []
    for given in _all_given(kind, predicted, accuracies, places, tasks):
      predictor, values = _align_one(given, tasks=tasks, names=names)
      told, takes_part = _shortcomings(given.name, values, matrix, tasks)
      notes += told
      if takes_part:
        predictors.append(predictor)
        scores.append(values)
    absent = [
      control
      for control in CONTROLS
      # A random order is always compared with anyway.
      if control not in {'random', *(p.name for p in predictors)}
    ]
    if absent and having is not known:
      notes.append(
        f'Controls that are not among the rankings: {", ".join(absent)}.'
      )
    found.append(
      AlignedScores(
        group=group,
        accuracy=kind,
        tasks=tasks,
        checkpoints=names,
        predictors=tuple(predictors),
        scores=np.reshape(scores, (len(scores), *matrix.shape)),
        accuracies=matrix,
        known=table,
        notes=tuple(notes),
      )
    )
  return found
