# SPDX-License-Identifier: Apache-2.0
"""What is known of checkpoints from other tasks, beside what is measured here.

It is looked up by name, in published accuracies or one's own, and never mixed
with scores: it changes no ranking, and has a file of its own.
"""

import dataclasses
import math
import pathlib
import re
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from scipy import special

from neucrab_jax import storage
from neucrab_jax.benchmark import history
from neucrab_jax.finetuning import known_accuracies
from neucrab_jax.ranking import record
from neucrab_jax.reports import elsewhere_table

PUBLISHED = 'published'
FILE = 'known_elsewhere.csv'
# Of the published tables, those whose names mean one network each.
_TABLES = ('huggingface_full', 'huggingface_1k', 'vtab_accuracies')
# Names that tables shorten.
_ALIASES = {'relativepatchlocation': 'relpatloc'}
# What is shorter is part of too many names.
_SHORTEST = 3


def _letters(name: str) -> str:
  """A name by its letters and digits alone."""
  return re.sub(r'[^a-z0-9]', '', name.lower())


def _key(checkpoint: str) -> str:
  """What a checkpoint and the name of it in a table have in common."""
  name = checkpoint.removeprefix('hf:').partition('@')[0]
  letters = _letters(name)
  return _ALIASES.get(letters, letters)


def is_same_task(one: str, other: str) -> bool:
  """Whether two names may mean one task: 'flowers' and 'oxford_flowers102'.

  It is wrong on the safe side: cifar10 counts as cifar100, too.
  """
  names = [_letters(pathlib.PurePath(name).name) for name in (one, other)]
  short, long = sorted((name.rstrip('s') for name in names), key=len)
  return short == long or (len(short) >= _SHORTEST and short in long)


@dataclasses.dataclass(frozen=True)
class Known:
  """Accuracies on many tasks, by table and task.

  Attributes:
    tasks: name of each row's task.
    rows: by checkpoint's key, its accuracies.
    data: of each row's task, digests of its data.
  """

  tasks: tuple[str, ...]
  rows: tuple[Mapping[str, float], ...]
  data: tuple[frozenset[str], ...]


def read(chosen: str) -> Known:
  """Reads what is known.

  Args:
    chosen: 'published', or accuracies as `evaluate` takes them: files, folders
      or patterns, separated by commas.

  Raises:
    ValueError: if a file is not what it should be.
  """
  parts = [part.strip() for part in chosen.split(',') if part.strip()]
  folder = pathlib.Path(__file__).parent / PUBLISHED
  files: list[str | list[str]] = []
  if own := [part for part in parts if part != PUBLISHED]:
    files.append(own)
  if PUBLISHED in parts:
    files += [str(folder / f'{name}.csv') for name in _TABLES]
  tasks, rows, data = [], [], []
  for patterns in files:
    for table in known_accuracies.read_all(patterns).values():
      for task, row in table.items():
        tasks.append(task)
        rows.append({_key(name): known.value for name, known in row.items()})
        data.append(frozenset().union(*(known.data for known in row.values())))
  return Known(tuple(tasks), tuple(rows), tuple(data))


@dataclasses.dataclass(frozen=True)
class Entry:
  """What is known of a checkpoint, and what is measured here.

  Attributes:
    checkpoint: its name.
    rank: here; the mean over measures, if there are several.
    mean_rank: elsewhere, from 0 for the worst to 1 for the best of each table;
      None where the name is not known.
    expected: the same on a new task, by the low-rank model.
    low: 5 % are expected to be below.
    high: 5 % are expected to be above.
    tasks: that it is known from.
  """

  checkpoint: str
  rank: float
  mean_rank: float | None = None
  expected: float | None = None
  low: float | None = None
  high: float | None = None
  tasks: tuple[str, ...] = ()


def look_up(
  known: Known, ranks: Mapping[str, float], *, task: str, data: Collection[str]
) -> list[Entry]:
  """Looks up each checkpoint, without the task at hand.

  Args:
    known: accuracies on many tasks.
    ranks: by checkpoint, here.
    task: the name of the task at hand; rows of one that may be called so are
      not used.
    data: digests of its data; nor rows of the same.
  """
  used = [
    i
    for i, name in enumerate(known.tasks)
    if not is_same_task(name, task) and known.data[i].isdisjoint(data)
  ]
  keys = tuple(dict.fromkeys(key for i in used for key in known.rows[i]))
  if not keys:
    return [Entry(name, rank) for name, rank in ranks.items()]
  places = {key: m for m, key in enumerate(keys)}
  accuracies = np.full((len(used), len(keys)), np.nan)
  for s, i in enumerate(used):
    for key, value in known.rows[i].items():
      accuracies[s, places[key]] = value
  means, forecast = history.mean_ranks(accuracies), history.forecast(accuracies)
  tail = special.ndtri(0.95)
  entries = []
  for name, rank in ranks.items():
    m = places.get(_key(name))
    if m is None:
      entries.append(Entry(name, rank))
      continue
    mean, std = forecast.mean[m], forecast.std[m]
    entries.append(
      Entry(
        name,
        rank,
        mean_rank=float(means[m]),
        expected=float(special.ndtr(mean / math.hypot(1, std))),
        low=float(special.ndtr(mean - tail * std)),
        high=float(special.ndtr(mean + tail * std)),
        tasks=tuple(
          known.tasks[i]
          for s, i in enumerate(used)
          if not np.isnan(accuracies[s, m])
        ),
      )
    )
  return entries


def _mean_ranks(rankings: Sequence[record.Ranking]) -> dict[str, float]:
  places: dict[str, list[int]] = {}
  for ranking in rankings:
    for entry in ranking.ranking:
      places.setdefault(entry.checkpoint, []).append(entry.rank)
  means = {name: sum(found) / len(found) for name, found in places.items()}
  return dict(sorted(means.items(), key=lambda item: item[1]))


def tell(
  known: Known, rankings: Sequence[record.Ranking], folder: pathlib.Path
) -> list[Entry]:
  """Shows what is known beside what was measured, and writes it.

  Args:
    known: accuracies on many tasks.
    rankings: of one task, by one measure or more.
    folder: for `known_elsewhere.csv`.
  """
  task = rankings[0].task
  entries = look_up(
    known, _mean_ranks(rankings), task=task.name, data=task.data
  )
  header = tuple(field.name for field in dataclasses.fields(Entry))
  rows = [
    (*dataclasses.astuple(entry)[:-1], ' '.join(entry.tasks))
    for entry in entries
  ]
  storage.write_text(folder / FILE, storage.to_csv(header, rows))
  left_out = sorted({n for n in known.tasks if is_same_task(n, task.name)})
  elsewhere_table.show(entries, folder, file=FILE, left_out=left_out)
  return entries
