# SPDX-License-Identifier: Apache-2.0
"""`report.html` of an ablation: agreement by energy and components."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from matplotlib import figure

from neucrab_jax.reports import agreement, page, plots

if TYPE_CHECKING:
  from neucrab_jax.benchmark.record import Ablation, Setting

# Inches, of the plot for one covariance.
_PLOT = (5.4, 3.4)


def _plot(rows: Sequence[Setting]) -> str:
  """τ by retained energy, a line for each number of components."""
  plot = figure.Figure(figsize=_PLOT, layout='constrained')
  axes = plot.subplots()
  for count in dict.fromkeys(row.components_per_class for row in rows):
    line = [
      row
      for row in rows
      if row.components_per_class == count and row.tau is not None
    ]
    axes.errorbar(
      [row.energy for row in line],
      [row.tau or 0 for row in line],
      yerr=[row.tau_std or 0 for row in line],
      marker='o',
      markersize=4,
      capsize=2,
      label=str(count),
    )
  axes.legend(title='components per class', fontsize=8, title_fontsize=8)
  axes.set_xlabel('share of the variance that PCA keeps', fontsize=9)
  axes.set_ylabel('Kendall τ with the accuracies', fontsize=9)
  axes.grid(alpha=0.3)
  axes.spines[['top', 'right']].set_visible(False)
  return plots.svg(plot)


def render(ablation: Ablation, *, config: dict[str, Any]) -> str:
  """Renders the page.

  Args:
    ablation: the record of `ablation.json`.
    config: what the run was asked for.

  Returns:
    HTML that needs no other file and no network.
  """
  by_covariance: dict[str, list[Setting]] = {}
  for row in ablation.rows:
    by_covariance.setdefault(row.covariance, []).append(row)
  return page.render(
    'ablation.html.j2',
    config=config,
    environment=ablation.environment,
    shade=agreement.shade,
    ink=agreement.ink,
    ablation=ablation,
    by_covariance=by_covariance,
    plots={name: _plot(rows) for name, rows in by_covariance.items()},
  )
