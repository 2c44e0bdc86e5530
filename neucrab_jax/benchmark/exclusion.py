# SPDX-License-Identifier: Apache-2.0
"""Which accuracies of a published table are not judged by, by a stated rule.

A table of hundreds of networks holds random weights, runs that diverged, and
the same network under several names. All of them make τ look better or worse
than it is for who chooses between trained networks.
"""

import collections
import dataclasses
import fnmatch
from collections.abc import Iterable, Mapping
from typing import Any

from neucrab_jax.finetuning.known_accuracies import (
  KnownAccuracies,
  KnownAccuracy,
)

_SETTINGS = ('random', 'same_name', 'chance', 'margin')


@dataclasses.dataclass(frozen=True)
class Rule:
  """What is left out.

  Attributes:
    random: patterns of the names of networks with random weights.
    same_name: whether networks of one name under several owners count once.
    chance: by task, the accuracy of answering always the most frequent class.
    margin: a run that is no further above it has diverged.
  """

  random: tuple[str, ...] = ()
  same_name: bool = False
  chance: Mapping[str, float] = dataclasses.field(default_factory=dict)
  margin: float = 0.01


def read(settings: Mapping[str, Any]) -> Rule:
  """Reads a rule from a config's `leave_out`.

  Raises:
    ValueError: if a setting is not known, or the table of chance is no table.
  """
  unknown = set(settings) - set(_SETTINGS)
  if unknown:
    raise ValueError(
      f'Unknown setting of leave_out: {", ".join(sorted(unknown))}. Known: '
      f'{", ".join(_SETTINGS)}.'
    )
  chance = {task: float(c) for task, c in settings.get('chance', {}).items()}
  for task, value in chance.items():
    if not 0 <= value <= 1:
      raise ValueError(
        f'leave_out.chance.{task} must be from 0 to 1, not {value:g}.'
      )
  patterns = settings.get('random', '').split(',')
  return Rule(
    random=tuple(part.strip() for part in patterns if part.strip()),
    same_name=bool(settings.get('same_name', False)),
    chance=chance,
    margin=float(settings.get('margin', Rule.margin)),
  )


def _without(
  table: Mapping[str, Mapping[str, KnownAccuracy]], names: Iterable[str]
) -> dict[str, dict[str, KnownAccuracy]]:
  names = set(names)
  return {
    task: {name: known for name, known in row.items() if name not in names}
    for task, row in table.items()
  }


def _random(table: Mapping[str, Mapping], rule: Rule) -> set[str]:
  return {
    name
    for row in table.values()
    for name in row
    if any(fnmatch.fnmatchcase(name, pattern) for pattern in rule.random)
  }


def _doubles(table: Mapping[str, Mapping]) -> dict[str, list[str]]:
  """By the name that stays, the others of the same last part."""
  counts = collections.Counter(name for row in table.values() for name in row)
  alike: dict[str, list[str]] = {}
  # Who has most accuracies stays; of these, the first by name.
  for name in sorted(counts, key=lambda name: (-counts[name], name)):
    alike.setdefault(name.rpartition('/')[2], []).append(name)
  return {stays: others for stays, *others in alike.values() if others}


def _learnt(
  table: Mapping[str, Mapping[str, KnownAccuracy]], rule: Rule, of_kind: str
) -> tuple[dict[str, dict[str, KnownAccuracy]], list[str]]:
  """The runs that are better than chance, and notes on the others."""
  kept, gone, notes = {}, {}, []
  for task, row in table.items():
    kept[task] = dict(row)
    if task not in rule.chance:
      continue
    least = rule.chance[task] + rule.margin
    learnt = {name: a for name, a in row.items() if a.value > least}
    diverged = len(row) - len(learnt)
    if 2 * diverged > len(row):
      notes.append(
        f'{diverged} of {len(row)} accuracies on {task}{of_kind} are no more '
        f'than {rule.margin:g} above the most frequent class. They are kept, '
        'but say little of networks.'
      )
    elif diverged:
      kept[task], gone[task] = learnt, f'{task} {diverged} of {len(row)}'
  if gone:
    notes.append(
      f'Left out{of_kind}: runs that diverged, no more than {rule.margin:g} '
      f'above the most frequent class: {", ".join(gone.values())}.'
    )
  return kept, notes


def apply(
  accuracies: KnownAccuracies, rule: Rule
) -> tuple[KnownAccuracies, list[str]]:
  """Leaves out what a rule says.

  Args:
    accuracies: by kind, task and checkpoint.
    rule: which to leave out. Where most runs of a task are no better than
      chance, none of them is left out, and a note says that the task tells
      little.

  Returns:
    The rest, and a note on each thing that was left out.
  """
  kept: KnownAccuracies = {}
  notes: dict[str, None] = {}
  for kind, table in accuracies.items():
    of_kind = f' ({kind})' if len(accuracies) > 1 else ''
    if random := _random(table, rule):
      notes[
        f'Left out{of_kind}: {len(random)} networks with random weights: '
        f'{", ".join(sorted(random))}.'
      ] = None
      table = _without(table, random)
    table, told = _learnt(table, rule, of_kind)
    notes |= dict.fromkeys(told)
    if rule.same_name and (doubles := _doubles(table)):
      others = sorted(name for names in doubles.values() for name in names)
      notes[
        f'Left out{of_kind}: {len(others)} networks with the name of another, '
        'under another owner, be it the same weights or the same recipe: '
        f'{", ".join(others)}.'
      ] = None
      table = _without(table, others)
    kept[kind] = table
  return kept, list(notes)
