# SPDX-License-Identifier: Apache-2.0
"""Scores checkpoints on a task by one or more measures, and puts them in order.

A run leaves `ranking.json`, `ranking.csv`, `report.html` and `config.json` in
its folder, and under `scores/` one record per checkpoint, from which an
interrupted run goes on. With several measures, each has a folder of its own for
the ranking and the scores, and `report.html` has them side by side.
"""

import dataclasses
import pathlib
from typing import Any

from neucrab_jax import (
  environment,
  interruption,
  measures,
  parallel,
  progress,
  storage,
)
from neucrab_jax.ranking import (
  candidates,
  feature_files,
  predictions,
  racing,
  record,
  scoring,
)
from neucrab_jax.reports import ranking_page, ranking_table
from neucrab_jax.typing import Config


def _chosen(config: Config) -> dict[str, dict[str, Any]]:
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
  """A ranking run that was found sound, and has not started.

  Attributes:
    config: as one of `configs/`.
    folder: for the results.
    candidates: what is ranked.
    scorers: one for each measure.
    num_resamples: of the examples; 0 for an uncertainty to first order.
    race: what is looked for by a race; None without one.
  """

  config: Config
  folder: pathlib.Path
  candidates: candidates.Candidates
  scorers: tuple[scoring.Scorer, ...]
  num_resamples: int
  race: racing.Settings | None = None


def prepare(
  config: Config, workdir: str, found: candidates.Candidates | None = None
) -> Run:
  """Checks all that can be checked before any long work.

  Args:
    config: as one of `configs/`.
    workdir: the folder for the results.
    found: what is ranked, if not what the config says.

  Raises:
    ValueError: if the input is bad.
  """
  chosen = _chosen(config)
  num_resamples = config.get('num_resamples', 0)
  measures.check_num_resamples(num_resamples)
  measures.check_seed(config.seed)
  if config.num_threads < 0:
    raise ValueError(
      f'num_threads must not be negative, but is {config.num_threads}.'
    )
  race = racing.settings(config, tuple(chosen))
  folder = storage.open_workdir(workdir)
  if found is None:
    found = (
      feature_files.find(config.features)
      if config.get('features') or 'checkpoints' not in config
      else candidates.from_checkpoints(config)
    )
  scorers = tuple(
    scoring.Scorer(
      name,
      options,
      seed=config.seed,
      num_resamples=num_resamples,
      folder=folder / name if len(chosen) > 1 else folder,
    )
    for name, options in chosen.items()
  )
  if race:
    found = racing.sized(found)
  return Run(config, folder, found, scorers, num_resamples, race)


@dataclasses.dataclass(frozen=True)
class Ranked:
  """What a run came to.

  Attributes:
    rankings: by measure.
    predictions: what the rankings predict, in the same order.
    interrupted: whether Ctrl-C ended it early.
  """

  rankings: dict[str, record.Ranking]
  predictions: tuple[predictions.Predictions, ...]
  interrupted: bool


def score(run: Run, bar: progress.Bar) -> Ranked:
  """Scores all candidates, and writes the rankings.

  Args:
    run: what to score.
    bar: advanced by the size of the candidates.
  """
  if parallel.is_primary():
    settings = storage.settings(run.config)
    storage.write_json(run.folder / 'config.json', settings)
  outcome, num_threads = None, run.config.num_threads
  if run.race:
    (scorer,) = run.scorers
    outcome = racing.race(
      run.candidates, scorer, bar, wanted=run.race, num_threads=num_threads
    )
    results = {scorer.measure: outcome.results}
    interrupted = outcome.interrupted
  else:
    results, interrupted = scoring.score_all(
      run.candidates.candidates, run.scorers, bar, num_threads=num_threads
    )
  rankings, predicted = {}, []
  for scorer in run.scorers:
    found = results[scorer.measure]
    entries, order = (
      record.in_order(found.scored, outcome.dropped, outcome.num_examples)
      if outcome
      else record.in_order(found.scored)
    )
    ranking = record.Ranking(
      schema=record.SCHEMA,
      task=run.candidates.task,
      measure=record.Measure(
        name=scorer.measure,
        variant=measures.variant(scorer.measure, scorer.options),
        spread=measures.spread(scorer.measure),
        options=scorer.options,
        num_resamples=run.num_resamples,
      ),
      ranking=entries,
      order=order,
      skipped=tuple(found.skipped),
      failed=tuple(found.failed),
      environment=environment.current(seed=run.config.seed),
      race=outcome.race if outcome else None,
    )
    rankings[scorer.measure] = ranking
    predicted.append(
      predictions.of_ranking(
        ranking,
        source=scorer.folder / record.FILE,
        resamples={s.checkpoint: s.score.resampled() for s in found.scored},
      )
    )
    if parallel.is_primary():
      record.write(scorer.folder, ranking)
  return Ranked(rankings, tuple(predicted), interrupted)


def rank(config: Config, workdir: str) -> dict[str, record.Ranking]:
  """Ranks, shows the rankings, and writes them.

  Args:
    config: as one of `configs/`.
    workdir: the folder for the results.

  Returns:
    By measure, the record that its `ranking.json` holds.

  Raises:
    ValueError: if the input is bad; before any long work starts.
    interruption.Interrupted: on Ctrl-C; what was done is written.
  """
  run = prepare(config, workdir)
  with progress.bar(run.candidates.size) as bar:
    ranked = score(run, bar)
  if parallel.is_primary():
    rankings = list(ranked.rankings.values())
    page = ranking_page.render(rankings, config=storage.settings(config))
    storage.write_text(run.folder / 'report.html', page)
    ranking_table.show(rankings, run.folder)
  if ranked.interrupted:
    raise interruption.Interrupted
  return ranked.rankings
