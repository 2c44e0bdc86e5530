# SPDX-License-Identifier: Apache-2.0
"""Scores checkpoints on a task by a measure, and puts them in order.

A run leaves `ranking.json`, `ranking.csv`, `report.html` and `config.json` in
its folder, and under `scores/` one record per checkpoint, from which an
interrupted run goes on.
"""

import contextlib
import csv
import io
import json
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import ml_collections
from absl import logging
from rich import console as rich_console
from rich import progress

from neucrab_jax import measures, parallel, records
from neucrab_jax.benchmark import candidates, report, scoring, terminal

SCHEMA = 1

Record = dict[str, Any]


class Interrupted(Exception):
  """Ctrl-C ended a run; what was done is written, and in `ranking`."""

  def __init__(self, ranking: Record):
    super().__init__('Interrupted.')
    self.ranking = ranking


def rank(config: ml_collections.ConfigDict, workdir: str) -> Record:
  """Ranks, shows the ranking, and writes it.

  Args:
    config: as one of `configs/`.
    workdir: the folder for the results.

  Returns:
    The record that `ranking.json` holds.

  Raises:
    ValueError: if the input is bad; before any long work starts.
    Interrupted: on Ctrl-C, with what was done.
  """
  measure = config.measure.name
  options = {
    **measures.default_options(measure),
    **config.measure.options.to_dict(),
  }
  measures.check_options(measure, options)
  folder = pathlib.Path(workdir).expanduser()
  records.check_writable(folder)
  field = (
    candidates.from_files(config.features, measure=measure)
    if 'features' in config
    else candidates.from_checkpoints(config)
  )
  if parallel.is_primary():
    records.write_json(
      folder / 'config.json', json.loads(config.to_json_best_effort())
    )
  judge = scoring.Judge(
    measure, options, seed=config.seed, folder=folder / 'scores'
  )
  entries, failed, interrupted = _score_all(field, judge)
  ranking = {
    'schema': SCHEMA,
    'task': dict(field.task),
    'measure': {
      'name': measure,
      'variant': measures.variant(measure, options),
      'spread': measures.spread(measure),
      'options': options,
    },
    'ranking': _in_order(entries),
    'failed': failed,
    'environment': scoring.environment(seed=config.seed),
  }
  if parallel.is_primary():
    _write(folder, ranking, config)
    terminal.show(ranking, folder)
  if interrupted:
    raise Interrupted(ranking)
  return ranking


def _score_all(
  field: candidates.Field, judge: scoring.Judge
) -> tuple[list[Record], list[Record], bool]:
  """Scores every candidate that can be; the others don't take it down.

  Returns:
    The entries, what failed and why, and whether Ctrl-C ended it early.
  """
  entries, failed = [], []
  waiting = [candidate.name for candidate in field.candidates]
  try:
    with _progress(field) as (describe, advance):
      for candidate in field.candidates:
        describe(candidate.name)
        try:
          computed = candidate.compute(advance)
          # The features are the same on every process; one of them scores.
          if parallel.is_primary():
            describe(f'{candidate.name}: {judge.measure}')
            entries.append(judge(candidate.name, computed))
        except Exception as error:
          logging.debug('%s failed', candidate.name, exc_info=True)
          message = f'{type(error).__name__}: {error}'
          failed.append({'checkpoint': candidate.name, 'error': message})
        waiting.remove(candidate.name)
  except KeyboardInterrupt:
    failed += [
      {'checkpoint': name, 'error': 'Interrupted before it was scored.'}
      for name in waiting
    ]
    return entries, failed, True
  return entries, failed, False


@contextlib.contextmanager
def _progress(
  field: candidates.Field,
) -> Iterator[tuple[Callable[[str], None], Callable[[int], None]]]:
  """A bar over all candidates' examples, with the time that is left."""
  bars = progress.Progress(
    progress.TextColumn('{task.description}'),
    progress.BarColumn(),
    progress.TaskProgressColumn(),
    progress.TimeElapsedColumn(),
    progress.TextColumn('left'),
    progress.TimeRemainingColumn(),
    console=rich_console.Console(stderr=True),
    disable=not parallel.is_primary(),
  )
  total = sum(candidate.size for candidate in field.candidates)
  with bars:
    task = bars.add_task('', total=total)
    yield (
      lambda text: bars.update(task, description=text),
      lambda count: bars.advance(task, count),
    )
    bars.update(task, description='done', completed=total)


def _in_order(entries: list[Record]) -> list[Record]:
  """Best first; equal scores stay in the order given, and say so."""
  ordered = sorted(entries, key=lambda entry: -entry['score'])
  scores = [entry['score'] for entry in ordered]
  return [
    {
      'rank': place,
      **entry,
      'warnings': entry['warnings']
      + ['Its score is shared: the order within the tie means nothing.']
      * (scores.count(entry['score']) > 1),
    }
    for place, entry in enumerate(ordered, start=1)
  ]


_COLUMNS = ('rank', 'checkpoint', 'score', 'score_std', 'feature_dim', 'cached')


def _csv(ranking: Record) -> str:
  text = io.StringIO()
  writer = csv.writer(text, lineterminator='\n')
  # In the order they were taken, each once.
  steps = dict.fromkeys(
    step for entry in ranking['ranking'] for step in entry['seconds']
  )
  writer.writerow([*_COLUMNS, *(f'seconds_{step}' for step in steps)])
  for entry in ranking['ranking']:
    seconds = entry['seconds']
    writer.writerow(
      [
        *(entry[column] for column in _COLUMNS),
        *(seconds.get(step, '') for step in steps),
      ]
    )
  return text.getvalue()


def _write(
  folder: pathlib.Path, ranking: Record, config: ml_collections.ConfigDict
) -> None:
  records.write_json(folder / 'ranking.json', ranking)
  records.write_text(folder / 'ranking.csv', _csv(ranking))
  records.write_text(
    folder / 'report.html',
    report.render(ranking, config=json.loads(config.to_json_best_effort())),
  )
