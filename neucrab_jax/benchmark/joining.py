# SPDX-License-Identifier: Apache-2.0
"""Which task of the accuracies a ranking is of: by its data, then by its name.

A folder is one task however the way to it is written, and may be called
something else in a table.
"""

import dataclasses
import pathlib
from collections.abc import Collection, Iterable, Mapping, Sequence

from neucrab_jax import spelling
from neucrab_jax.finetuning.known_accuracies import (
  KnownAccuracies,
  KnownAccuracy,
)
from neucrab_jax.ranking import predictions
from neucrab_jax.ranking.predictions import Predictions

# By the name of a task, digests of its data; none where they are not known.
Tasks = Mapping[str, frozenset[str]]


def known_tasks(accuracies: KnownAccuracies) -> Tasks:
  """The tasks that there are accuracies on."""
  found: dict[str, frozenset[str]] = {}
  for tables in accuracies.values():
    for task, table in tables.items():
      parts = (known.data for known in table.values())
      found[task] = found.get(task, frozenset()).union(*parts)
  return found


def _last_part(name: str) -> str:
  """'signs' for 'signs/' and '/data/signs'."""
  return pathlib.PurePath(name).name or name


def counterpart(name: str, data: Collection[str], *, known: Tasks) -> str:
  """The known task that a task is; its own name, if it is none of them.

  Args:
    name: of the task.
    data: digests of its data.
    known: the tasks to choose from.
  """
  same = [task for task, digests in known.items() if digests & set(data)]
  if name in same or (not same and name in known):
    return name
  if not same:
    same = [task for task in known if _last_part(task) == _last_part(name)]
  return same[0] if len(same) == 1 else name


def join(
  predicted: Sequence[Predictions], accuracies: KnownAccuracies
) -> tuple[list[Predictions], list[str]]:
  """Gives predictions the names that the accuracies have for their tasks.

  Returns:
    The predictions, and what a reader should know of other names.

  Raises:
    ValueError: if two of one measure turn out to be for one task.
  """
  known = known_tasks(accuracies)
  joined, notes = [], {}
  for entry in predicted:
    task = counterpart(entry.task, entry.data, known=known)
    if task != entry.task:
      why = 'data' if known[task] & entry.data else 'folder or file'
      notes[
        f'The rankings for {entry.task!r} and the accuracies for {task!r} are '
        f'of the same {why}.'
      ] = None
    joined.append(dataclasses.replace(entry, task=task))
  predictions.refuse_doubles(joined)
  return joined, list(notes)


def no_common_task(
  group: str,
  predicted: Iterable[str],
  known: Mapping[str, Mapping[str, KnownAccuracy]],
) -> ValueError:
  """The error for rankings and accuracies of different tasks."""
  predicted = list(predicted)
  sources = {a.source for table in known.values() for a in table.values()}
  remedy = (
    "A CSV without a column 'task' is of the task that its name says: rename "
    'it, or add the column.'
    if any(source.endswith('.csv') for source in sources)
    else 'Rank and fine-tune on the same task: the data of these differ, and '
    'so do their names.'
  )
  return ValueError(
    f'{group}: the rankings are for {", ".join(sorted(predicted))}, the '
    f'accuracies for {", ".join(sorted(known))}.'
    f'{spelling.nearest(predicted[0], known)} {remedy}'
  )


def doubts(
  tasks: Iterable[str],
  names: Iterable[str],
  known: Mapping[str, Mapping[str, KnownAccuracy]],
) -> list[str]:
  """A word on the accuracies that their own records doubt, a note each task."""
  names, notes = list(names), []
  for task in tasks:
    doubted: dict[str, list[str]] = {}
    for name in names:
      if name in known[task] and (doubt := known[task][name].doubt):
        doubted.setdefault(doubt, []).append(name)
    notes += [
      f'{len(alike)} of {len(names)} accuracies on {task} are of sweeps that '
      f'their records call {doubt}: {", ".join(alike)}.'
      for doubt, alike in doubted.items()
    ]
  return notes


def listed(names: Iterable[str]) -> str:
  """Names for a sentence."""
  return ', '.join(sorted(names))


def coverage(
  predicted: Collection[str],
  known: Collection[str],
  *,
  tasks: Sequence[str],
  all_tasks: Iterable[str],
) -> list[str]:
  """A word on the checkpoints and tasks without a counterpart."""
  notes = []
  for what, lacking, having in (
    ('an accuracy, but no score', set(known) - set(predicted), known),
    ('a score, but no accuracy', set(predicted) - set(known), predicted),
  ):
    if lacking:
      notes.append(
        f'{len(lacking)} of {len(having)} checkpoints have {what}, and are '
        f'left out: {listed(lacking)}.'
      )
  unpaired = [task for task in dict.fromkeys(all_tasks) if task not in tasks]
  if unpaired:
    notes.append(
      'Left out, because there are only scores or only accuracies: '
      f'{listed(unpaired)}.'
    )
  return notes
