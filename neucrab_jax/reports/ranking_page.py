# SPDX-License-Identifier: Apache-2.0
"""`report.html` of a ranking: one self-contained page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import figure

from neucrab_jax.reports import comparison, page

if TYPE_CHECKING:
  from neucrab_jax.ranking import record

# Inches of the plot: its width, what each checkpoint adds, and the axis.
_WIDTH, _ROW, _AXIS = 7.2, 0.3, 0.8
# Checkpoints of which all pairs are shown: a picture of more says little.
_MOST_COMPARED = 60
# Letters of a name beside them, and its inches with those of the scale.
_LONGEST, _NAME = 30, 4.0
# Inches of a cell of the heat map, and the τ from which its number is white.
_CELL, _DARK = 0.36, 0.6


def _plot(ranking: record.Ranking) -> str:
  """The scores with their error bars, best on top, as an SVG element."""
  entries = ranking.ranking[::-1]
  measure = ranking.measure
  plot = figure.Figure(
    figsize=(_WIDTH, _AXIS + _ROW * len(entries)), layout='constrained'
  )
  axes = plot.subplots()
  axes.errorbar(
    [entry.score for entry in entries],
    range(len(entries)),
    xerr=[entry.score_std or 0 for entry in entries],
    fmt='o',
    color='#1f5fa8',
    ecolor='#7a94b4',
    capsize=3,
  )
  # By place, not by name: two long ones may look the same.
  axes.set_yticks(
    range(len(entries)), [page.label(entry.checkpoint) for entry in entries]
  )
  axes.set_xlabel(
    f'{measure.name} (larger is better; bars: one {measure.spread})'
  )
  axes.margins(y=0.5 / max(len(entries), 1))
  axes.grid(axis='x', alpha=0.3)
  axes.spines[['top', 'right', 'left']].set_visible(False)
  axes.tick_params(axis='y', length=0)
  return page.svg(plot)


def _shortened(name: str) -> str:
  return name if len(name) <= _LONGEST else f'{name[: _LONGEST - 1]}…'


def _order(ranking: record.Ranking) -> str:
  """The probability that each is truly above each other, as an SVG element."""
  assert ranking.order is not None
  # A name as long as a file's may be leaves no room for the picture.
  names = [
    f'{place}  {page.label(_shortened(name))}'
    for place, name in enumerate(ranking.order.checkpoints, start=1)
  ]
  side = _AXIS + _CELL * len(names)
  plot = figure.Figure(figsize=(side + _NAME, side + _AXIS))
  plot.set_layout_engine('constrained')
  axes = plot.subplots()
  image = axes.imshow(ranking.order.above, cmap='RdBu', vmin=0, vmax=1)
  axes.set_xticks(range(len(names)), [str(n + 1) for n in range(len(names))])
  axes.set_yticks(range(len(names)), names)
  plot.colorbar(image, label='probability that the row is truly above')
  return page.svg(plot)


def _heat_map(rankings: Sequence[record.Ranking]) -> str:
  """How measures agree, Kendall's τ of each two, as an SVG element."""
  names = [ranking.measure.name for ranking in rankings]
  taus = comparison.agreement(rankings)
  side = _AXIS + _CELL * len(names)
  plot = figure.Figure(figsize=(side + _AXIS, side), layout='constrained')
  axes = plot.subplots()
  image = axes.imshow(taus, cmap='RdBu', vmin=-1, vmax=1)
  axes.set_xticks(range(len(names)), names, rotation=90)
  axes.set_yticks(range(len(names)), names)
  for (row, column), tau in np.ndenumerate(taus):
    if np.isfinite(tau):
      axes.text(
        column,
        row,
        f'{tau:.2f}'.replace('0.', '.'),
        ha='center',
        va='center',
        fontsize=7,
        color='white' if abs(tau) > _DARK else 'black',
      )
  plot.colorbar(image, label="Kendall's τ")
  return page.svg(plot)


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
  # A measure that skipped every checkpoint agrees with none.
  scored = [ranking for ranking in rankings if ranking.ranking]
  return page.render(
    'ranking.html.j2',
    rankings=rankings,
    environment=rankings[0].environment,
    plots={
      ranking.measure.name: _plot(ranking)
      for ranking in rankings
      if ranking.ranking
    },
    orders={
      ranking.measure.name: _order(ranking)
      for ranking in rankings
      if ranking.order is not None
      and 1 < len(ranking.ranking) <= _MOST_COMPARED
    },
    advice=comparison.advice,
    percent=comparison.percent,
    steps=steps,
    ranks=dict(zip(names, ranks, strict=True)),
    heat_map=_heat_map(scored) if len(scored) > 1 else '',
    config=config,
  )
