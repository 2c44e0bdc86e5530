# SPDX-License-Identifier: Apache-2.0
"""Plots of an evaluation, each an SVG element of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
from matplotlib import figure, ticker

from neucrab_jax.reports import plots

_BLUE, _RED, _GREY = '#1f5fa8', '#a3262a', '#7a94b4'
_WIDE = (7.2, 3.6)  # Inches.


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
  axes.grid(alpha=0.3)
  axes.spines[['top', 'right']].set_visible(False)
  axes.tick_params(labelsize=8)
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
