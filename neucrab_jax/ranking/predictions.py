# SPDX-License-Identifier: Apache-2.0
"""What measures predict: scores of checkpoints, by task, whoever scored them.

They are from rankings, or from CSVs with a column `checkpoint`, one column per
measure and, if there are several, a column `task`; a CSV without one is of the
task that its name says.
"""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from neucrab_jax import input_files
from neucrab_jax.ranking import record

# Columns that tell rows of a CSV apart; no measure is called so.
_KEYS = ('checkpoint', 'task', 'train_examples')
# What columns of accuracies begin with.
_ACCURACY = 'accuracy'


@dataclasses.dataclass(frozen=True)
class Prediction:
  """What a measure predicts of one checkpoint.

  Attributes:
    value: larger predicts better.
    source: the file it is from.
    resamples: the scores of resampled examples, or none.
    seconds: by step, such as 'extract' and 'score'; what was cached is absent.
    flops: of one image's forward pass, where they are on record.
  """

  value: float
  source: str
  resamples: tuple[float, ...] = ()
  seconds: Mapping[str, float] = dataclasses.field(default_factory=dict)
  flops: float | None = None


@dataclasses.dataclass(frozen=True)
class Predictions:
  """One measure on one task.

  Attributes:
    measure: its name; with what tells it from others of the name.
    task: the name of the task.
    scores: by checkpoint.
    failed: by checkpoint, why it has none.
    num_examples: of the task, where known.
    data: digests of the task's examples, where known.
  """

  measure: str
  task: str
  scores: Mapping[str, Prediction]
  failed: Mapping[str, str] = dataclasses.field(default_factory=dict)
  num_examples: int | None = None
  data: frozenset[str] = frozenset()


def _waited(entry: record.Entry) -> dict[str, float]:
  """Seconds by step, compiling included, as whoever asks waits for it."""
  waited: dict[str, float] = {}
  for step, value in entry.seconds.items():
    step = step.removesuffix(record.COMPILING)
    # Reading the cache is not what the features cost.
    if not (entry.cached and step == 'extract'):
      waited[step] = waited.get(step, 0.0) + value
  return waited


def of_ranking(
  ranking: record.Ranking,
  *,
  source: pathlib.Path,
  resamples: Mapping[str, tuple[float, ...]],
) -> Predictions:
  """What a ranking predicts.

  Args:
    ranking: the record.
    source: the file that it is in.
    resamples: by checkpoint, scores on resampled examples.

  Raises:
    ValueError: if it ranks a checkpoint twice.
  """
  scores = {}
  for entry in ranking.ranking:
    if entry.checkpoint in scores:
      raise ValueError(
        f'{str(source)!r} ranks {entry.checkpoint!r} twice. Remove one.'
      )
    # Scores of a race are of different examples: its order is what it predicts.
    scores[entry.checkpoint] = Prediction(
      -float(entry.rank) if ranking.race else entry.score,
      source=str(source),
      resamples=() if ranking.race else resamples.get(entry.checkpoint, ()),
      seconds=_waited(entry),
      flops=entry.network.flops if entry.network else None,
    )
  return Predictions(
    measure=ranking.measure.name,
    task=ranking.task.name,
    scores=scores,
    failed={failure.checkpoint: failure.error for failure in ranking.failed},
    num_examples=ranking.task.num_examples,
    data=ranking.task.data,
  )


def _read_csv(file: pathlib.Path) -> list[Predictions]:
  found: dict[tuple[str, str], dict[str, Prediction]] = {}
  for where, row in input_files.rows(file):
    task, checkpoint = row.get('task') or file.stem, row['checkpoint']
    measures = [
      column
      for column in row
      if column not in _KEYS and not column.startswith(_ACCURACY)
    ]
    if not measures:
      raise ValueError(
        f'{str(file)!r} has no column of scores; its columns are '
        f'{", ".join(row)}.'
      )
    for measure in measures:
      scores = found.setdefault((task, measure), {})
      value = input_files.number(where, measure, row[measure])
      if checkpoint in scores:
        raise ValueError(
          f'{where}: {checkpoint!r} has a row already. Remove one.'
        )
      if value is not None:
        scores[checkpoint] = Prediction(value, source=str(file))
  return [
    Predictions(measure=measure, task=task, scores=scores)
    for (task, measure), scores in found.items()
  ]


def _tell_apart(
  rankings: Sequence[tuple[Predictions, Mapping[str, Any]]],
) -> list[Predictions]:
  """Gives rankings of one measure and task the options they differ by."""
  by_name: dict[str, list[Mapping[str, Any]]] = {}
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


def refuse_doubles(found: Sequence[Predictions]) -> None:
  """Raises ValueError if two rank by one measure for one task."""
  seen: dict[tuple[str, str], Predictions] = {}
  for scores in found:
    other = seen.setdefault((scores.measure, scores.task), scores)
    if other is not scores:
      sources = {s.source for x in (other, scores) for s in x.scores.values()}
      raise ValueError(
        f'There are two rankings by {scores.measure} for {scores.task}, in '
        f'{" and ".join(sorted(sources)) or "one file"}. Give one of them.'
      )


def read(files: Sequence[pathlib.Path]) -> list[Predictions]:
  """Reads rankings and CSVs of scores.

  Raises:
    ValueError: if a file is not what it should be, or two rank by one measure
      for one task.
  """
  rankings = []
  for file in files:
    if file.suffix != '.csv':
      ranking, resamples = record.read(file)
      predicted = of_ranking(ranking, source=file, resamples=resamples)
      rankings.append((predicted, ranking.measure.options))
  found = _tell_apart(rankings)
  for file in files:
    if file.suffix == '.csv':
      found += _read_csv(file)
  refuse_doubles(found)
  return found
