# SPDX-License-Identifier: Apache-2.0
"""Scores checkpoints on a task by one or more measures, and puts them in order.

A run leaves `ranking.json`, `ranking.csv`, `report.html` and `config.json` in
its folder, and under `scores/` one record per checkpoint, from which an
interrupted run goes on. With several measures, each has a folder of its own for
the ranking and the scores, and `report.html` has them side by side.
"""

import contextlib
import dataclasses
import functools
import json
import pathlib
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

import ml_collections
from absl import logging

from neucrab_jax import measures, parallel, records
from neucrab_jax.benchmark import (
  candidates,
  places,
  report,
  scoring,
  terminal,
)
from neucrab_jax.ops import pca

SCHEMA = 1

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
  found, interrupted = _score_all(run, bar)
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
      'ranking': places.in_order(found[judge.measure].entries),
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
      records.write_text(judge.folder / 'ranking.csv', places.as_csv(ranking))
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


@dataclasses.dataclass
class _Found:
  """What came out for one measure: entries, and who has none and why."""

  entries: list[Record] = dataclasses.field(default_factory=list)
  skipped: list[Record] = dataclasses.field(default_factory=list)
  failed: list[Record] = dataclasses.field(default_factory=list)


# Of one candidate by one measure: where it goes in `_Found`, and the record.
_Outcome = tuple[str, Record]


def _outcome(
  judge: scoring.Judge,
  *,
  name: str,
  computed: candidates.Computed,
  alone: bool,
  bar: terminal.Bar,
) -> _Outcome:
  bar.describe(f'{name}: {judge.measure}')
  # Where it is one measure of several, not to apply is no failure.
  lacks = measures.lacks(judge.measure, **computed.inputs())
  if lacks and not alone:
    return 'skipped', {'checkpoint': name, 'reason': lacks}
  try:
    return 'entries', judge(name, computed)
  except Exception as error:
    return _failure(name, error)


def _failure(name: str, error: Exception) -> _Outcome:
  logging.debug('%s failed', name, exc_info=error)
  message = f'{type(error).__name__}: {error}'
  return 'failed', {'checkpoint': name, 'error': message}


@contextlib.contextmanager
def _mapping(num_threads: int) -> Iterator[Callable[..., Iterator]]:
  """`map`, or one that works on several items at once."""
  if num_threads == 1:
    yield map
    return
  pool = futures.ThreadPoolExecutor(num_threads, 'score')
  try:
    # For all threads, or the first to end would set it back for the others.
    with pca.one_lapack_thread():
      yield pool.map
  finally:
    pool.shutdown(cancel_futures=True)


def _score_all(run: Run, bar: terminal.Bar) -> tuple[dict[str, _Found], bool]:
  """Scores every candidate that can be; the others don't take it down.

  Returns:
    What was found by each measure, and whether Ctrl-C ended it early.
  """
  judges = run.judges
  found = {judge.measure: _Found() for judge in judges}
  waiting = [
    (candidate.name, judge)
    for candidate in run.field.candidates
    for judge in judges
  ]

  def put(name: str, judge: scoring.Judge, outcome: _Outcome) -> None:
    where, record = outcome
    getattr(found[judge.measure], where).append(record)
    waiting.remove((name, judge))

  try:
    with _mapping(run.config.get('num_threads', 1)) as mapped:
      for candidate in run.field.candidates:
        name = candidate.name
        bar.describe(name)
        try:
          computed = candidate.compute(bar.advance)
        except Exception as error:
          for judge in judges:
            put(name, judge, _failure(name, error))
          continue
        # The features are the same on every process; one of them scores.
        if not parallel.is_primary():
          continue
        outcomes = mapped(
          functools.partial(
            _outcome,
            name=name,
            computed=computed,
            alone=len(judges) == 1,
            bar=bar,
          ),
          judges,
        )
        for judge, outcome in zip(judges, outcomes, strict=True):
          put(name, judge, outcome)
  except KeyboardInterrupt:
    for name, judge in waiting:
      message = 'Interrupted before it was scored.'
      found[judge.measure].failed.append({'checkpoint': name, 'error': message})
    return found, True
  return found, False
