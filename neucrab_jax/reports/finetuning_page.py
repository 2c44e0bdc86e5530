# SPDX-License-Identifier: Apache-2.0
"""`report.html` of fine-tuning: accuracies and learning curves, on one page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from matplotlib import figure

from neucrab_jax.reports import page, plots

if TYPE_CHECKING:
  from neucrab_jax.finetuning.record import Accuracy
  from neucrab_jax.finetuning.run import Result

_COLUMNS = 3  # Of plots, one per checkpoint.
_WIDTH, _ROW = 8.4, 2.2  # Inches.
# Of trials in turn: curves that coincide are seen through each other's gaps,
# and where a larger marker lies under a smaller one.
_STYLES = ('-', '--', '-.', (0, (5, 1, 1, 1, 1, 1)))
_MARKERS = ('o', 's', '^', 'D', 'v')
_LARGEST_MARKER, _SMALLEST_MARKER = 7.0, 2.5  # Points.


def _look(number: int) -> dict[str, Any]:
  """How the curves of a trial are drawn, by its number."""
  size = _LARGEST_MARKER - 1.5 * number
  return {
    'color': f'C{number % 10}',
    'linestyle': _STYLES[number % len(_STYLES)],
    'marker': _MARKERS[number % len(_MARKERS)],
    'markersize': max(size, _SMALLEST_MARKER),
    'markerfacecolor': 'none',
    'zorder': 2 + 0.01 * number,
  }


def draw(accuracies: Sequence[Accuracy]) -> figure.Figure:
  """Every trial's validation accuracy by step."""
  rows = -(-len(accuracies) // _COLUMNS)
  plot = figure.Figure(figsize=(_WIDTH, _ROW * rows), layout='constrained')
  grid = plot.subplots(
    rows, _COLUMNS, squeeze=False, sharex=True, sharey=True
  ).flat
  for axes in grid[len(accuracies) :]:
    axes.set_visible(False)
  # The lowest of each column; a legend would cover a label of all together.
  for axes in grid[max(len(accuracies) - _COLUMNS, 0) : len(accuracies)]:
    axes.set_xlabel('steps', fontsize='small')
    axes.tick_params(labelbottom=True)
  # A trial looks the same in every plot.
  numbers = {}
  for axes, accuracy in zip(grid, accuracies, strict=False):
    axes.set_title(plots.label(accuracy.checkpoint), fontsize='small')
    axes.grid(alpha=0.3)
    axes.spines[['top', 'right']].set_visible(False)
    for index, trial in enumerate(accuracy.trials):
      label = f'{trial.learning_rate:g} × {trial.steps}'
      axes.plot(
        [point.step for point in trial.curve],
        [point.validation_accuracy for point in trial.curve],
        linewidth=2.0 if index in accuracy.chosen else 0.9,
        alpha=0.4 if trial.diverged else 1.0,
        label=label,
        **_look(numbers.setdefault(label, len(numbers))),
      )
  unique = {
    label: handle
    for axes in grid[: len(accuracies)]
    for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
  }
  plot.legend(
    unique.values(), unique, loc='outside lower center', ncols=4,
    fontsize='small',
  )  # fmt: skip
  plot.supylabel('validation accuracy', fontsize='small')
  return plot


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
    origins=[(a.checkpoint, a.weights, a.source) for a in accuracies],
    plot=plots.svg(draw(accuracies)) if accuracies else '',
  )
