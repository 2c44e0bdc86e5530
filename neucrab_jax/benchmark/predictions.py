# SPDX-License-Identifier: Apache-2.0
"""What measures predict: scores of checkpoints, as they lie on disk.

They are `ranking.json` files, or CSVs with a column `checkpoint`, one column
per measure and, if there are several, a column `task`; a CSV without one is of
the task that its name says.
"""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from neucrab_jax.benchmark import evidence

# Columns that tell rows of a CSV apart; no measure is called so.
_KEYS = ('checkpoint', 'task', 'train_examples')


@dataclasses.dataclass(frozen=True)
class Score:
  """What a measure says of one checkpoint.

  Attributes:
    value: larger predicts better.
    source: the file it is from.
    resamples: the scores of resampled examples, or none.
    seconds: by step, such as 'extract' and 'score'; what was cached is absent.
  """

  value: float
  source: str
  resamples: tuple[float, ...] = ()
  seconds: Mapping[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Scores:
  """One measure on one task.

  Attributes:
    measure: its name; with what tells it from others of the name.
    task: the name of the task.
    scores: by checkpoint.
    failed: by checkpoint, why it has none.
    num_examples: of the task, where known.
  """

  measure: str
  task: str
  scores: Mapping[str, Score]
  failed: Mapping[str, str] = dataclasses.field(default_factory=dict)
  num_examples: int | None = None


def _resamples(
  ranking: pathlib.Path, entry: Mapping[str, Any]
) -> tuple[float, ...]:
  """The resampled scores beside a ranking, if they are those of the entry."""
  file = ranking.parent / 'scores' / f'{entry["checkpoint"]}.json'
  if not file.exists():
    return ()
  record = evidence.read_json(file, needs=())
  if record.get('score') != entry['score']:
    return ()
  return tuple(record.get('resamples') or ())


def _read_ranking(file: pathlib.Path) -> tuple[Scores, dict[str, Any]]:
  record = evidence.read_json(file, needs=('task', 'measure', 'ranking'))
  scores = {}
  for entry in record['ranking']:
    seconds = dict(entry.get('seconds', {}))
    if entry.get('cached'):
      # Reading the cache is not what the features cost.
      seconds.pop('extract', None)
    if entry['checkpoint'] in scores:
      raise ValueError(
        f'{str(file)!r} ranks {entry["checkpoint"]!r} twice. Remove one.'
      )
    scores[entry['checkpoint']] = Score(
      float(entry['score']),
      source=str(file),
      resamples=_resamples(file, entry),
      seconds=seconds,
    )
  failed = {e['checkpoint']: e['error'] for e in record.get('failed', [])}
  found = Scores(
    measure=record['measure']['name'],
    task=record['task']['name'],
    scores=scores,
    failed=failed,
    num_examples=record['task'].get('num_examples'),
  )
  return found, dict(record['measure'].get('options', {}))


def _read_score_csv(file: pathlib.Path) -> list[Scores]:
  found: dict[tuple[str, str], dict[str, Score]] = {}
  for where, row in evidence.rows(file):
    task, checkpoint = row.get('task') or file.stem, row['checkpoint']
    measures = [
      column
      for column in row
      if column not in _KEYS and not column.startswith(evidence.ACCURACY)
    ]
    if not measures:
      raise ValueError(
        f'{str(file)!r} has no column of scores; its columns are '
        f'{", ".join(row)}.'
      )
    for measure in measures:
      scores = found.setdefault((task, measure), {})
      value = evidence.number(where, measure, row[measure])
      if checkpoint in scores:
        raise ValueError(
          f'{where}: {checkpoint!r} has a row already. Remove one.'
        )
      if value is not None:
        scores[checkpoint] = Score(value, source=str(file))
  return [
    Scores(measure=measure, task=task, scores=scores)
    for (task, measure), scores in found.items()
  ]


def _tell_apart(
  rankings: list[tuple[Scores, dict[str, Any]]],
) -> list[Scores]:
  """Gives rankings of one measure and task the options they differ by."""
  by_name: dict[str, list[dict[str, Any]]] = {}
  for scores, options in rankings:
    by_name.setdefault(scores.measure, []).append(options)
  told = []
  for scores, options in rankings:
    differing = [
      f'{key}={value}'
      for key, value in options.items()
      if any(o.get(key) != value for o in by_name[scores.measure])
    ]
    name = ' '.join((scores.measure, *differing))
    told.append(dataclasses.replace(scores, measure=name))
  return told


def read(files: Sequence[pathlib.Path]) -> list[Scores]:
  """Reads rankings and CSVs of scores.

  Raises:
    ValueError: if a file is not what it should be, or two rank by one measure
      for one task.
  """
  rankings = [_read_ranking(file) for file in files if file.suffix != '.csv']
  found = _tell_apart(rankings)
  for file in files:
    if file.suffix == '.csv':
      found += _read_score_csv(file)
  seen: dict[tuple[str, str], Scores] = {}
  for scores in found:
    other = seen.setdefault((scores.measure, scores.task), scores)
    if other is not scores:
      sources = {s.source for x in (other, scores) for s in x.scores.values()}
      raise ValueError(
        f'There are two rankings by {scores.measure} for {scores.task}, in '
        f'{" and ".join(sorted(sources)) or "one file"}. Give one of them.'
      )
  return found
