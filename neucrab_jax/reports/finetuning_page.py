# SPDX-License-Identifier: Apache-2.0
"""`report.html` of fine-tuning: accuracies and learning curves, on one page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from matplotlib import figure

from neucrab_jax.reports import page

if TYPE_CHECKING:
  from neucrab_jax.finetuning.record import Accuracy
  from neucrab_jax.finetuning.run import Result

_COLUMNS = 3  # Of plots, one per checkpoint.
_WIDTH, _ROW = 8.4, 2.2  # Inches.


def _plot(accuracies: Sequence[Accuracy]) -> str:
  """Every trial's validation accuracy by step, as an SVG element."""
  rows = -(-len(accuracies) // _COLUMNS)
  plot = figure.Figure(figsize=(_WIDTH, _ROW * rows), layout='constrained')
  grid = plot.subplots(
    rows, _COLUMNS, squeeze=False, sharex=True, sharey=True
  ).flat
  for axes in grid[len(accuracies) :]:
    axes.set_visible(False)
  # A trial has the same colour in every plot.
  colours = {}
  for axes, accuracy in zip(grid, accuracies, strict=False):
    axes.set_title(page.label(accuracy.checkpoint), fontsize='small')
    axes.grid(alpha=0.3)
    axes.spines[['top', 'right']].set_visible(False)
    for index, trial in enumerate(accuracy.trials):
      label = f'{trial.learning_rate:g} × {trial.steps}'
      axes.plot(
        [point.step for point in trial.curve],
        [point.validation_accuracy for point in trial.curve],
        color=colours.setdefault(label, f'C{len(colours)}'),
        linewidth=2.0 if index in accuracy.chosen else 0.9,
        linestyle=':' if trial.diverged else '-',
        label=label,
      )
  handles, labels = grid[0].get_legend_handles_labels()
  unique = dict(zip(labels, handles, strict=True))
  plot.legend(
    unique.values(), unique, loc='outside lower center', ncols=4,
    fontsize='small',
  )  # fmt: skip
  plot.supylabel('validation accuracy', fontsize='small')
  plot.supxlabel('steps', fontsize='small')
  return page.svg(plot)


def render(result: Result, *, config: dict[str, Any]) -> str:
  """Renders the page.

  Args:
    result: of the run.
    config: what the run was asked for.

  Returns:
    HTML that needs no other file and no network.
  """
  accuracies = sorted(result.accuracies, key=lambda a: -a.accuracy)
  return page.render(
    'finetuning.html.j2',
    config=config,
    task=result.task,
    protocol=result.protocol,
    accuracies=accuracies,
    failed=result.failed,
    plot=_plot(accuracies) if accuracies else '',
  )
