# SPDX-License-Identifier: Apache-2.0
"""Joins predictions with truth, and says what did not find its counterpart."""

import collections
import dataclasses
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from neucrab_jax import checkpoints, spelling
from neucrab_jax.benchmark import contest, predictions, truth

# Where the scores of a fixed order are from.
FROM_CONFIG = 'the config'


def fixed_order(order: str) -> dict[str, predictions.Score]:
  """Scores that put checkpoints in an order that was fixed beforehand.

  Args:
    order: a group, or names separated by commas, from worst to best; with '-'
      in front, from best to worst.

  Raises:
    ValueError: if a name is there twice.
  """
  chosen = order.removeprefix('-').strip()
  names = (
    list(checkpoints.names(chosen))
    if chosen in checkpoints.groups()
    else [part.strip() for part in chosen.split(',') if part.strip()]
  )
  (name, count), *_ = collections.Counter(names).most_common(1) or [('', 0)]
  if count > 1:
    raise ValueError(f'{name!r} is in the fixed order {count} times.')
  sign = -1.0 if order.startswith('-') else 1.0
  return {
    name: predictions.Score(sign * place, source=FROM_CONFIG)
    for place, name in enumerate(names)
  }


def _listed(names: Iterable[str]) -> str:
  return ', '.join(sorted(names))


def _given(
  scores: Sequence[predictions.Scores], tasks: Sequence[str]
) -> dict[str, dict[str, predictions.Scores]]:
  """By measure and task, in the order given, measures before controls."""
  found: dict[str, dict[str, predictions.Scores]] = {}
  for entry in sorted(scores, key=lambda s: s.measure in contest.CONTROLS):
    if entry.task in tasks:
      found.setdefault(entry.measure, {})[entry.task] = entry
  return found


def _contestant(
  name: str,
  role: str,
  by_task: Mapping[str, predictions.Scores],
  *,
  tasks: Sequence[str],
  names: Sequence[str],
) -> contest.Contestant:
  scores = np.full((len(tasks), len(names)), np.nan)
  resamples, left_out = {}, {}
  for t, task in enumerate(tasks):
    entry = by_task.get(task)
    for m, checkpoint in enumerate(names):
      if entry is not None and checkpoint in entry.scores:
        scores[t, m] = entry.scores[checkpoint].value
        resamples[t, m] = entry.scores[checkpoint].resamples
      else:
        why = 'no score' if entry is None else 'not in the ranking'
        if entry is not None:
          why = entry.failed.get(checkpoint, why)
        left_out.setdefault(task, {})[checkpoint] = why
  return contest.Contestant(
    name=name,
    role=role,
    scores=scores,
    left_out=left_out,
    resamples=resamples,
    sources={
      task: tuple(dict.fromkeys(s.source for s in entry.scores.values()))
      for task, entry in by_task.items()
    },
  )


def _as_scores(
  name: str, task: str, values: Mapping[str, predictions.Score | truth.Accuracy]
) -> predictions.Scores:
  scores = {
    checkpoint: predictions.Score(given.value, given.source)
    for checkpoint, given in values.items()
  }
  return predictions.Scores(measure=name, task=task, scores=scores)


def _common_tasks(
  group: str,
  scores: Sequence[predictions.Scores],
  table: Mapping[str, Mapping[str, truth.Accuracy]],
) -> tuple[str, ...]:
  predicted = dict.fromkeys(entry.task for entry in scores)
  if not predicted:
    return tuple(table)
  common = tuple(task for task in table if task in predicted)
  if not common:
    raise ValueError(
      f'{group}: the rankings are for {_listed(predicted)}, the accuracies '
      f'for {_listed(table)}.{spelling.nearest(next(iter(predicted)), table)} '
      "A CSV without a column 'task' is of the task that its name says: rename "
      'it, or add the column.'
    )
  return common


def _coverage(
  group: str,
  scores: Sequence[predictions.Scores],
  table: Mapping[str, Mapping[str, truth.Accuracy]],
  order: Mapping[str, predictions.Score],
) -> tuple[tuple[str, ...], list[str]]:
  """The checkpoints that are in both tables, and a word on the others."""
  tasks = _common_tasks(group, scores, table)
  known = dict.fromkeys(name for task in tasks for name in table[task])
  predicted = set(order) | {
    name for entry in scores for name in (*entry.scores, *entry.failed)
  }
  common = tuple(name for name in known if name in predicted)
  if len(common) < contest.MIN_CHECKPOINTS:
    raise ValueError(
      f'{group}: {len(common)} checkpoints have both a score and an accuracy; '
      f'at least {contest.MIN_CHECKPOINTS} must. Scores: '
      f'{_listed(predicted) or "none"}. Accuracies: {_listed(known) or "none"}.'
    )
  notes = []
  for what, lacking, having in (
    ('an accuracy, but no score', set(known) - predicted, known),
    ('a score, but no accuracy', predicted - set(known), predicted),
  ):
    if lacking:
      notes.append(
        f'{len(lacking)} of {len(having)} checkpoints have {what}, and are '
        f'left out: {_listed(lacking)}.'
      )
  unpaired = [
    task
    for task in dict.fromkeys((*table, *(entry.task for entry in scores)))
    if task not in tasks
  ]
  if unpaired:
    notes.append(
      'Left out, because there are only scores or only accuracies: '
      f'{_listed(unpaired)}.'
    )
  return common, notes


def _shortcomings(
  contestant: contest.Contestant, accuracies: np.ndarray, tasks: Sequence[str]
) -> tuple[list[str], bool]:
  """What a reader should know of a contestant, and whether it can take part."""
  notes, counts = [], []
  for t, task in enumerate(tasks):
    paired = ~np.isnan(contestant.scores[t]) & ~np.isnan(accuracies[t])
    counts.append(int(paired.sum()))
    values = contestant.scores[t, paired]
    if len(values) and (values == values[0]).all():
      notes.append(
        f'All {len(values)} scores of {contestant.name} on {task} are equal: '
        'there is no τ and no correlation; Rel and Recall are those of chance.'
      )
  if min(counts) < contest.MIN_CHECKPOINTS:
    worst = int(np.argmin(counts))
    return [
      f'{contestant.name} is left out: only {counts[worst]} checkpoints have '
      f'its score and an accuracy on {tasks[worst]}, fewer than '
      f'{contest.MIN_CHECKPOINTS}.'
    ], False
  return notes, True


def join(
  group: str,
  *,
  scores: Sequence[predictions.Scores],
  truths: truth.Truths,
  order: str = '',
) -> list[contest.Contest]:
  """Joins scores with accuracies: a contest for each truth.

  Args:
    group: what to call the group.
    scores: of any measures and tasks; may be empty if there is an order.
    truths: the accuracies.
    order: as `fixed_order` takes it; empty for none.

  Raises:
    ValueError: if nothing can be joined, or fewer than three checkpoints.
  """
  if not scores and not order:
    raise ValueError(
      f'{group}: there is nothing to judge. Give rankings, or an order.'
    )
  places = fixed_order(order) if order else {}
  contests = []
  for name, table in truths.items():
    names, notes = _coverage(group, scores, table, places)
    tasks = _common_tasks(group, scores, table)
    entries: list[tuple[str, str, dict[str, predictions.Scores]]] = [
      (
        measure,
        'control' if measure in contest.CONTROLS else 'measure',
        by_task,
      )
      for measure, by_task in _given(scores, tasks).items()
    ]
    if places:
      by_task = {
        task: _as_scores(contest.FIXED_ORDER, task, places) for task in tasks
      }
      entries.append((contest.FIXED_ORDER, 'control', by_task))
    for other, accuracies in truths.items():
      if other != name and all(task in accuracies for task in tasks):
        by_task = {
          task: _as_scores(other, task, accuracies[task]) for task in tasks
        }
        entries.append((f'truth: {other}', 'ceiling', by_task))
    bare = contest.Contest(group, name, tasks, names, table, (), ())
    chosen = []
    for contestant in (
      _contestant(*entry, tasks=tasks, names=names) for entry in entries
    ):
      told, takes_part = _shortcomings(contestant, bare.matrix(), tasks)
      notes += told
      if takes_part:
        chosen.append(contestant)
    absent = [
      control
      for control in contest.CONTROLS
      # A random order takes part in every contest anyway.
      if control not in {'random', *(entrant.name for entrant in chosen)}
    ]
    if absent:
      notes.append(
        f'Controls that are not among the rankings: {", ".join(absent)}.'
      )
    contests.append(
      dataclasses.replace(bare, contestants=tuple(chosen), notes=tuple(notes))
    )
  return contests
