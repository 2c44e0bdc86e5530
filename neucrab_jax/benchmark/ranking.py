# SPDX-License-Identifier: Apache-2.0
"""Scores checkpoints on a task by one or more measures, and puts them in order.

A run leaves `ranking.json`, `ranking.csv`, `report.html` and `config.json` in
its folder, and under `scores/` one record per checkpoint, from which an
interrupted run goes on. With several measures, each has a folder of its own for
the ranking and the scores, and `report.html` has them side by side.
"""

import contextlib
import csv
import dataclasses
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

_TIED = 'Its score is shared: the order within the tie means nothing.'

Record = dict[str, Any]


class Interrupted(Exception):
  """Ctrl-C ended a run; what was done is written, and in `result`."""

  def __init__(self, result: Record):
    super().__init__('Interrupted.')
    self.result = result


def _chosen(config: ml_collections.ConfigDict) -> dict[str, dict[str, Any]]:
  """The measures of a run, and all options of each, checked."""
  if 'measures' in config:
    names = [name.strip() for name in config.measures.split(',')]
    given = config.options.to_dict()
  else:
    names = [config.measure.name]
    given = {config.measure.name: config.measure.options.to_dict()}
  chosen = {}
  for name in names:
    options = {**measures.default_options(name), **given.get(name, {})}
    measures.check_options(name, options)
    chosen[name] = options
  return chosen


def rank(config: ml_collections.ConfigDict, workdir: str) -> Record:
  """Ranks, shows the ranking, and writes it.

  Args:
    config: as one of `configs/`.
    workdir: the folder for the results.

  Returns:
    The record that `ranking.json` holds; with several measures, `rankings` by
    measure, and the checkpoints that `failed` for any of them.

  Raises:
    ValueError: if the input is bad; before any long work starts.
    Interrupted: on Ctrl-C, with what was done.
  """
  chosen = _chosen(config)
  num_resamples = config.get('num_resamples', measures.NUM_RESAMPLES)
  measures.check_num_resamples(num_resamples)
  folder = pathlib.Path(workdir).expanduser()
  records.check_writable(folder)
  field = (
    candidates.from_files(config.features, chosen=tuple(chosen))
    if config.get('features')
    else candidates.from_checkpoints(config)
  )
  if parallel.is_primary():
    records.write_json(
      folder / 'config.json', json.loads(config.to_json_best_effort())
    )
  judges = [
    scoring.Judge(
      name,
      options,
      seed=config.seed,
      num_resamples=num_resamples,
      folder=folder / name if len(chosen) > 1 else folder,
    )
    for name, options in chosen.items()
  ]
  found, interrupted = _score_all(field, judges)
  rankings = {
    judge.measure: {
      'schema': SCHEMA,
      'task': dict(field.task),
      'measure': {
        'name': judge.measure,
        'variant': measures.variant(judge.measure, judge.options),
        'spread': measures.spread(judge.measure),
        'options': judge.options,
        'num_resamples': num_resamples,
      },
      'ranking': _in_order(found[judge.measure].entries),
      'skipped': found[judge.measure].skipped,
      'failed': found[judge.measure].failed,
      'environment': scoring.environment(seed=config.seed),
    }
    for judge in judges
  }
  if parallel.is_primary():
    for judge in judges:
      ranking = rankings[judge.measure]
      records.write_json(judge.folder / 'ranking.json', ranking)
      records.write_text(judge.folder / 'ranking.csv', _csv(ranking))
    page = report.render(
      list(rankings.values()), config=json.loads(config.to_json_best_effort())
    )
    records.write_text(folder / 'report.html', page)
    terminal.show(list(rankings.values()), folder)
  result = _summary(rankings)
  if interrupted:
    raise Interrupted(result)
  return result


def _summary(rankings: dict[str, Record]) -> Record:
  if len(rankings) == 1:
    return next(iter(rankings.values()))
  failed = [
    entry for ranking in rankings.values() for entry in ranking['failed']
  ]
  return {'rankings': rankings, 'failed': failed}


@dataclasses.dataclass
class _Found:
  """What came out for one measure: entries, and who has none and why."""

  entries: list[Record] = dataclasses.field(default_factory=list)
  skipped: list[Record] = dataclasses.field(default_factory=list)
  failed: list[Record] = dataclasses.field(default_factory=list)


def _score_all(
  field: candidates.Field, judges: list[scoring.Judge]
) -> tuple[dict[str, _Found], bool]:
  """Scores every candidate that can be; the others don't take it down.

  Returns:
    What was found by each measure, and whether Ctrl-C ended it early.
  """
  found = {judge.measure: _Found() for judge in judges}
  waiting = [
    (candidate.name, judge)
    for candidate in field.candidates
    for judge in judges
  ]

  def fail(name: str, judge: scoring.Judge, message: str) -> None:
    found[judge.measure].failed.append({'checkpoint': name, 'error': message})

  try:
    with _progress(field) as (describe, advance):
      for candidate in field.candidates:
        describe(candidate.name)
        try:
          computed = candidate.compute(advance)
        except Exception as error:
          logging.debug('%s failed', candidate.name, exc_info=True)
          for judge in judges:
            fail(candidate.name, judge, f'{type(error).__name__}: {error}')
            waiting.remove((candidate.name, judge))
          continue
        for judge in judges:
          # The features are the same on every process; one of them scores.
          if parallel.is_primary():
            describe(f'{candidate.name}: {judge.measure}')
            # Where it is one measure of several, not to apply is no failure.
            lacks = measures.lacks(judge.measure, **computed.inputs())
            if lacks and len(judges) > 1:
              found[judge.measure].skipped.append(
                {'checkpoint': candidate.name, 'reason': lacks}
              )
            else:
              try:
                entry = judge(candidate.name, computed)
                found[judge.measure].entries.append(entry)
              except Exception as error:
                logging.debug('%s failed', candidate.name, exc_info=True)
                fail(candidate.name, judge, f'{type(error).__name__}: {error}')
          waiting.remove((candidate.name, judge))
  except KeyboardInterrupt:
    for name, judge in waiting:
      fail(name, judge, 'Interrupted before it was scored.')
    return found, True
  return found, False


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
  """Best first; equal scores stay in the order given, and say so.

  Each but the last says in what share of the resamples it scores higher than
  the next: the resamples are the same examples for both.
  """
  ordered = sorted(entries, key=lambda entry: -entry['score'])
  scores = [entry['score'] for entry in ordered]
  resamples = [entry.pop('resamples') for entry in ordered]
  placed = []
  for place, entry in enumerate(ordered, start=1):
    placed.append({'rank': place, **entry})
    if scores.count(entry['score']) > 1:
      placed[-1]['warnings'] = [*entry['warnings'], _TIED]
    if place < len(ordered) and resamples[0]:
      pairs = zip(resamples[place - 1], resamples[place], strict=True)
      above = [mine > next_one for mine, next_one in pairs]
      placed[-1]['above_next'] = sum(above) / len(above)
  return placed


_COLUMNS = (
  'rank',
  'checkpoint',
  'score',
  'score_std',
  'score_stderr',
  'above_next',
  'feature_dim',
  'cached',
)


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
        *(entry.get(column, '') for column in _COLUMNS),
        *(seconds.get(step, '') for step in steps),
      ]
    )
  return text.getvalue()
