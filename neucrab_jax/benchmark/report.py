# SPDX-License-Identifier: Apache-2.0
"""`report.html`: a ranking as one self-contained page, a view of its record."""

import io
import json
from typing import Any

import jinja2
from matplotlib import figure

_ENVIRONMENT = jinja2.Environment(
  loader=jinja2.PackageLoader('neucrab_jax.benchmark', '.'),
  autoescape=True,
  undefined=jinja2.StrictUndefined,
  trim_blocks=True,
  lstrip_blocks=True,
)
# Inches of the plot: its width, what each checkpoint adds, and the axis.
_WIDTH, _ROW, _AXIS = 7.2, 0.3, 0.8


def _plot(ranking: dict[str, Any]) -> str:
  """The scores with their error bars, best on top, as an SVG element."""
  entries = ranking['ranking'][::-1]
  measure = ranking['measure']
  plot = figure.Figure(
    figsize=(_WIDTH, _AXIS + _ROW * len(entries)), layout='constrained'
  )
  axes = plot.subplots()
  axes.errorbar(
    [entry['score'] for entry in entries],
    [entry['checkpoint'] for entry in entries],
    xerr=[entry['score_std'] for entry in entries],
    fmt='o',
    color='#1f5fa8',
    ecolor='#7a94b4',
    capsize=3,
  )
  axes.set_xlabel(
    f'{measure["name"]} (larger is better; bars: one {measure["spread"]})'
  )
  axes.margins(y=0.5 / max(len(entries), 1))
  axes.grid(axis='x', alpha=0.3)
  axes.spines[['top', 'right', 'left']].set_visible(False)
  axes.tick_params(axis='y', length=0)
  svg = io.StringIO()
  # Neither date nor random ids: the same ranking gives the same bytes.
  plot.savefig(svg, format='svg', metadata={'Date': None})
  text = svg.getvalue()
  return text[text.index('<svg') :]


def render(ranking: dict[str, Any], *, config: dict[str, Any]) -> str:
  """Renders the page.

  Args:
    ranking: the record of `ranking.json`.
    config: what the run was asked for.

  Returns:
    HTML that needs no other file and no network.
  """
  # In the order they were taken, each once.
  steps = dict.fromkeys(
    step for entry in ranking['ranking'] for step in entry['seconds']
  )
  return _ENVIRONMENT.get_template('report.html.j2').render(
    ranking=ranking,
    plot=_plot(ranking) if ranking['ranking'] else '',
    steps=list(steps),
    config=json.dumps(config, indent=2),
  )
