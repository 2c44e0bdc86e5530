# SPDX-License-Identifier: Apache-2.0
"""`report.html` of a ranking: one self-contained page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from neucrab_jax.reports import comparison, cost_plot, page

if TYPE_CHECKING:
  from neucrab_jax.ranking import record

# Checkpoints of which all pairs are shown: a picture of more says little.
_MOST_COMPARED = 60
# Share of the width that is left free beside the outermost bars, in percent.
_MARGIN = 3.0
# Between these and white lie the cells of a matrix; its numbers are white where
# the cell is darker than this.
_LOW, _HIGH, _DARK = (178, 24, 43), (33, 102, 172), 0.6


class _Interval(NamedTuple):
  """Where a score and the ends of its bar are, in percent of a width."""

  low: float
  score: float
  high: float


def _intervals(ranking: record.Ranking) -> list[_Interval]:
  """The scores on a common scale, with bars of one `score_std`."""
  scores = np.array([entry.score for entry in ranking.ranking])
  stds = np.array([entry.score_std or 0 for entry in ranking.ranking])
  # Halves, so that no difference of large scores overflows.
  ends = np.stack([scores / 2 - stds / 2, scores / 2, scores / 2 + stds / 2])
  least, most = ends.min(), ends.max()
  shares = (ends - least) / ((most - least) or 1)
  places = _MARGIN + (100 - 2 * _MARGIN) * shares
  return [_Interval(*map(float, column)) for column in places.T]


class _Cell(NamedTuple):
  """A cell of a matrix as a picture."""

  text: str
  colours: str  # CSS


def _cell(value: float, text: str) -> _Cell:
  """Red at −1, white at 0, blue at 1; without a colour if not defined."""
  if not np.isfinite(value):
    return _Cell('', '')
  towards = _HIGH if value > 0 else _LOW
  mixed = [round(255 + abs(value) * (end - 255)) for end in towards]
  shown = 'white' if abs(value) > _DARK else 'black'
  return _Cell(
    text, f'background: rgb({", ".join(map(str, mixed))}); color: {shown}'
  )


def _order(ranking: record.Ranking) -> list[list[_Cell]]:
  """The probability that each is truly above each other."""
  assert ranking.order is not None
  return [
    [_cell(2 * p - 1, comparison.percent(p).rstrip(' %')) for p in row]
    for row in ranking.order.above
  ]


class _Run(NamedTuple):
  """How far a checkpoint came in a race."""

  checkpoint: str
  num_examples: int
  width: float  # In percent of all examples.
  why: str  # It left; '' of those that were there at the end.


def _runs(ranking: record.Ranking) -> list[_Run]:
  """The checkpoints of a race, in the order of the ranking."""
  assert ranking.race is not None
  chances = {one.checkpoint: one.in_top for one in ranking.race.dropped}
  top = ranking.race.top
  best = f'among the best {top}' if top > 1 else 'the best'
  runs = []
  for entry in ranking.ranking:
    count = comparison.num_examples(entry, ranking)
    chance = chances.get(entry.checkpoint)
    why = '' if chance is None else f'{best}: {comparison.percent(chance)}'
    width = 100 * count / ranking.task.num_examples
    runs.append(_Run(entry.checkpoint, count, width, why))
  return runs


def _agreement(rankings: Sequence[record.Ranking]) -> list[list[_Cell]]:
  """How measures agree: Kendall's τ of each two."""
  return [
    [_cell(tau, f'{tau:.2f}'.replace('0.', '.')) for tau in row]
    for row in comparison.agreement(rankings)
  ]


def render(
  rankings: Sequence[record.Ranking], *, config: dict[str, Any]
) -> str:
  """Renders the page.

  Args:
    rankings: records of `ranking.json`, one for each measure of a run.
    config: what the run was asked for.

  Returns:
    HTML that needs no other file and no network.
  """
  # In the order they were taken, each once.
  steps = {
    ranking.measure.name: list(
      dict.fromkeys(step for entry in ranking.ranking for step in entry.seconds)
    )
    for ranking in rankings
  }
  names, ranks = comparison.ranks(rankings)
  # The same by every measure that could score them.
  networks = {
    entry.checkpoint: (entry.checkpoint, entry.network, entry.source)
    for ranking in rankings
    for entry in ranking.ranking
    if entry.network
  }
  # A measure that skipped every checkpoint agrees with none.
  scored = [ranking for ranking in rankings if ranking.ranking]
  return page.render(
    'ranking.html.j2',
    rankings=rankings,
    environment=rankings[0].environment,
    intervals={
      ranking.measure.name: _intervals(ranking)
      for ranking in rankings
      if ranking.ranking
    },
    orders={
      ranking.measure.name: _order(ranking)
      for ranking in rankings
      if ranking.order is not None
      and 1 < len(ranking.ranking) <= _MOST_COMPARED
    },
    plots={
      ranking.measure.name: cost_plot.draw(ranking) for ranking in rankings
    },
    races={
      ranking.measure.name: _runs(ranking)
      for ranking in rankings
      if ranking.race
    },
    told_race=comparison.race,
    advice=comparison.advice,
    percent=comparison.percent,
    steps=steps,
    networks=list(networks.values()),
    origins=[
      (name, network.weights, source)
      for name, network, source in networks.values()
    ],
    ranks=dict(zip(names, ranks, strict=True)),
    scored=[ranking.measure.name for ranking in scored],
    agreement=_agreement(scored) if len(scored) > 1 else [],
    config=config,
  )


def render_table(ranking: record.Ranking) -> str:
  """Renders the places alone, as a part of some other page."""
  return page.render(
    'ranking_table.html.j2',
    ranking=ranking,
    spans=_intervals(ranking) if ranking.ranking else [],
    advice=comparison.advice(ranking),
    percent=comparison.percent,
    config={},
  )
