# SPDX-License-Identifier: Apache-2.0
"""Scores checkpoints on a task by one or more measures, and puts them in order.

A run leaves `ranking.json`, `ranking.csv`, `report.html` and `config.json` in
its folder, and under `scores/` one record per checkpoint, from which an
interrupted run goes on. With several measures, each has a folder of its own for
the ranking and the scores, and `report.html` has them side by side.
"""

import dataclasses
import functools

from neucrab_jax import (
  cluster,
  environment,
  interruption,
  measures,
  parallel,
  progress,
  storage,
)
from neucrab_jax.ranking import (
  predictions,
  racing,
  record,
  remote,
  scoring,
)
from neucrab_jax.ranking.preparation import Run as Run
from neucrab_jax.ranking.preparation import prepare as prepare
from neucrab_jax.reports import ranking_page, ranking_table
from neucrab_jax.typing import Config


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
  pool = cluster.current()
  score_all: scoring.ScoreAll = (
    functools.partial(scoring.score_all, num_threads=run.config.num_threads)
    if pool is None
    else functools.partial(remote.score_all, pool=pool, run=run)
  )
  outcome = None
  if run.race:
    (scorer,) = run.scorers
    outcome = racing.race(
      run.candidates, scorer, bar, wanted=run.race, score_all=score_all
    )
    results = {scorer.measure: outcome.results}
    interrupted = outcome.interrupted
  else:
    results, interrupted = score_all(
      run.candidates.candidates, run.scorers, bar
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
