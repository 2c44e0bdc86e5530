# SPDX-License-Identifier: Apache-2.0
"""Plots of an evaluation, each an SVG element of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib import axes as mpl_axes
from matplotlib import figure, ticker
from scipy import stats

from neucrab_jax.reports import plots

if TYPE_CHECKING:
  from neucrab_jax.benchmark.record import Point

_BLUE, _RED, _GREY = '#1f5fa8', '#a3262a', '#7a94b4'
# Inches. One fills the width of a phone, two stand side by side in print.
_SCATTER = (3.6, 3.0)
_WIDE = (7.2, 3.6)
_MARGINS = {'left': 0.17, 'right': 0.97, 'bottom': 0.16, 'top': 0.9}
# The worst misplaced are named, from this many places on.
_NAMED, _MISPLACED = 4, 2
# Shares of an axis: between labels above one another, beside a point, and the
# highest label.
_LINE, _BESIDE, _TOP = 0.075, 0.04, 0.97


def _bare(axes: mpl_axes.Axes) -> None:
  axes.grid(alpha=0.3)
  axes.spines[['top', 'right']].set_visible(False)
  axes.tick_params(labelsize=8)


def _ranks(values: np.ndarray) -> np.ndarray:
  return stats.rankdata(-values, method='min').astype(int)


def _name(
  axes: mpl_axes.Axes,
  points: Sequence[tuple[float, float]],
  labels: Sequence[str],
) -> None:
  """Labels points, none over another."""
  axes.get_xlim()  # Limits are found when asked for, and transforms don't ask.
  to_axes = axes.transData + axes.transAxes.inverted()
  places = [to_axes.transform(point) for point in points]
  order = sorted(range(len(points)), key=lambda i: places[i][1])
  # Up from the lowest; then down from the top, where they would leave the plot.
  heights: list[float] = []
  for index in order:
    heights.append(max([places[index][1], *(h + _LINE for h in heights[-1:])]))
  ceiling = _TOP
  for rank in reversed(range(len(heights))):
    heights[rank] = min(heights[rank], ceiling)
    ceiling = heights[rank] - _LINE
  for index, height in zip(order, heights, strict=True):
    x = places[index][0]
    left = x < 0.5
    axes.annotate(
      labels[index],
      xy=points[index],
      xytext=(x + (_BESIDE if left else -_BESIDE), height),
      textcoords='axes fraction',
      ha='left' if left else 'right',
      va='center',
      fontsize=7,
      color=_RED,
      arrowprops={'arrowstyle': '-', 'color': _RED, 'linewidth': 0.4},
    )


def scatter(points: Sequence[Point], name: str, *, tau: float | None) -> str:
  """A predictor's scores against accuracies; misplaced checkpoints are named.

  Args:
    points: of a task, as the evaluation's record has them.
    name: of the predictor.
    tau: to say in the title.
  """
  known = [p for p in points if p.scores[name] is not None]
  x = np.array([p.scores[name] for p in known])
  y = np.array([p.accuracy for p in known])
  predicted, true = _ranks(x), _ranks(y)
  off = np.abs(predicted - true)
  wrong = np.argsort(-off, kind='stable')[:_NAMED]
  wrong = wrong[off[wrong] >= _MISPLACED]
  plot = figure.Figure(figsize=_SCATTER)
  # A layout that fits itself draws every plot twice.
  axes = plot.subplots(gridspec_kw=_MARGINS)
  _bare(axes)
  right = np.setdiff1d(np.arange(len(x)), wrong)
  axes.scatter(x[right], y[right], s=16, color=_BLUE)
  axes.scatter(x[wrong], y[wrong], s=16, color=_RED)
  axes.margins(0.08)
  axes.locator_params(nbins=5)
  axes.set_xlabel(plots.label(name), fontsize=8)
  axes.set_ylabel('accuracy', fontsize=8)
  axes.set_title('no τ' if tau is None else f'τ = {tau:.2f}', fontsize=9)
  _name(
    axes,
    [(float(x[i]), float(y[i])) for i in wrong],
    [
      plots.label(f'{known[i].checkpoint} {predicted[i]}→{true[i]}')
      for i in wrong
    ],
  )
  return plots.svg(plot)


def cost(
  rows: Sequence[Mapping[str, Any]], *, unit: str, fine_tuning: float | None
) -> str:
  """Agreement against what it costs, with fine-tuning as the far end.

  Args:
    rows: each with `name`, `cost`, and `low`, `tau` and `high`.
    unit: of the cost.
    fine_tuning: its cost, if known.
  """
  plot = figure.Figure(figsize=_WIDE, layout='constrained')
  axes = plot.subplots()
  _bare(axes)
  for row in rows:
    if row['low'] is not None:
      axes.plot(
        [row['cost']] * 2, [row['low'], row['high']], color=_GREY, linewidth=1
      )
  axes.scatter(
    [row['cost'] for row in rows], [row['tau'] for row in rows], color=_BLUE
  )
  axes.set_xscale('log')
  axes.xaxis.set_minor_formatter(ticker.NullFormatter())
  axes.margins(x=0.15)
  if fine_tuning:
    axes.axvline(fine_tuning, color=_RED, linestyle='--', linewidth=1)
    axes.annotate(
      'fine-tuning',
      (fine_tuning, 0),
      xycoords=('data', 'axes fraction'),
      xytext=(-4, 4),
      textcoords='offset points',
      ha='right',
      fontsize=8,
      color=_RED,
    )
  for row in rows:
    axes.annotate(
      plots.label(row['name']),
      (row['cost'], row['tau']),
      xytext=(4, 3),
      textcoords='offset points',
      fontsize=8,
    )
  axes.set_xlabel(f'{unit} per checkpoint', fontsize=9)
  axes.set_ylabel('Kendall τ with the accuracies', fontsize=9)
  return plots.svg(plot)


def shade(value: float | None) -> str:
  """A background for an agreement from −1, red, to 1, blue, as CSS."""
  if value is None:
    return 'none'
  r, g, b, _ = matplotlib.colormaps['RdBu']((value + 1) / 2, bytes=True)
  return f'rgb({r} {g} {b})'


def ink(value: float | None) -> str:
  """The colour of a number on `shade`."""
  dark = 0.6  # Where black can't be read any more.
  return '#fff' if value is not None and abs(value) > dark else '#1c2430'
