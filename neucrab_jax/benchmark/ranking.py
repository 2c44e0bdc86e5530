# SPDX-License-Identifier: Apache-2.0
"""Scores checkpoints on a task by one or more measures, and puts them in order.

A run leaves `ranking.json`, `ranking.csv`, `report.html` and `config.json` in
its folder, and under `scores/` one record per checkpoint, from which an
interrupted run goes on. With several measures, each has a folder of its own for
the ranking and the scores, and `report.html` has them side by side.
"""

import csv
import dataclasses
import io
import json
import pathlib
from typing import Any

import ml_collections

from neucrab_jax import measures, parallel, records
from neucrab_jax.benchmark import candidates, report, scoring, terminal

SCHEMA = 1

_TIED = 'Its score is shared: the order within the tie means nothing.'

Record = dict[str, Any]


class Interrupted(Exception):
  """Ctrl-C ended a run; what was done is written, and in `rankings`."""

  def __init__(self, rankings: dict[str, Record]):
    super().__init__('Interrupted.')
    self.rankings = rankings


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


@dataclasses.dataclass(frozen=True)
class Run:
  """A run that was found sound, and has not started.

  Attributes:
    config: as one of `configs/`.
    folder: for the results.
    field: what competes.
    judges: by which measures.
    num_resamples: of the examples, for how sure the order is.
  """

  config: ml_collections.ConfigDict
  folder: pathlib.Path
  field: candidates.Field
  judges: tuple[scoring.Judge, ...]
  num_resamples: int

  @property
  def size(self) -> int:
    """How many times the run advances the progress."""
    return sum(candidate.size for candidate in self.field.candidates)


def prepare(config: ml_collections.ConfigDict, workdir: str) -> Run:
  """Checks all that can be checked before any long work.

  Args:
    config: as one of `configs/`.
    workdir: the folder for the results.

  Raises:
    ValueError: if the input is bad.
  """
  chosen = _chosen(config)
  num_resamples = config.get('num_resamples', measures.NUM_RESAMPLES)
  measures.check_num_resamples(num_resamples)
  if config.get('num_threads', 1) < 1:
    raise ValueError(f'num_threads must be positive, not {config.num_threads}.')
  folder = pathlib.Path(workdir).expanduser()
  records.check_writable(folder)
  field = (
    candidates.from_files(config.features, chosen=tuple(chosen))
    if config.get('features')
    else candidates.from_checkpoints(config)
  )
  judges = tuple(
    scoring.Judge(
      name,
      options,
      seed=config.seed,
      num_resamples=num_resamples,
      folder=folder / name if len(chosen) > 1 else folder,
    )
    for name, options in chosen.items()
  )
  return Run(config, folder, field, judges, num_resamples)


def score(run: Run, bar: terminal.Bar) -> dict[str, Record]:
  """Scores all candidates, and writes the rankings.

  Args:
    run: what to score.
    bar: advanced by `run.size`.

  Returns:
    By measure, the record that `ranking.json` holds.

  Raises:
    Interrupted: on Ctrl-C, with what was done.
  """
  if parallel.is_primary():
    records.write_json(
      run.folder / 'config.json', json.loads(run.config.to_json_best_effort())
    )
  found, interrupted = scoring.score_all(
    run.field,
    run.judges,
    bar,
    num_threads=run.config.get('num_threads', 1),
  )
  rankings = {
    judge.measure: {
      'schema': SCHEMA,
      'task': dict(run.field.task),
      'measure': {
        'name': judge.measure,
        'variant': measures.variant(judge.measure, judge.options),
        'spread': measures.spread(judge.measure),
        'options': judge.options,
        'num_resamples': run.num_resamples,
      },
      'ranking': _in_order(found[judge.measure].entries),
      'skipped': found[judge.measure].skipped,
      'failed': found[judge.measure].failed,
      'environment': scoring.environment(seed=run.config.seed),
    }
    for judge in run.judges
  }
  if parallel.is_primary():
    for judge in run.judges:
      ranking = rankings[judge.measure]
      records.write_json(judge.folder / 'ranking.json', ranking)
      records.write_text(judge.folder / 'ranking.csv', _csv(ranking))
  if interrupted:
    raise Interrupted(rankings)
  return rankings


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
  run = prepare(config, workdir)
  interrupted = None
  try:
    with terminal.bar(run.size) as bar:
      rankings = score(run, bar)
  except Interrupted as error:
    rankings, interrupted = error.rankings, error
  if parallel.is_primary():
    page = report.render(
      list(rankings.values()), config=json.loads(config.to_json_best_effort())
    )
    records.write_text(run.folder / 'report.html', page)
    terminal.show(list(rankings.values()), run.folder)
  if interrupted:
    raise interrupted
  return _summary(rankings)


def _summary(rankings: dict[str, Record]) -> Record:
  if len(rankings) == 1:
    return next(iter(rankings.values()))
  failed = [
    entry for ranking in rankings.values() for entry in ranking['failed']
  ]
  return {'rankings': rankings, 'failed': failed}


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
