# SPDX-License-Identifier: Apache-2.0
"""The plot of learning curves: what is in it can be seen."""

import itertools
import types

import pytest
from matplotlib.backends import backend_agg

from neucrab_jax.reports import finetuning_page


def make_accuracy(name, num_trials):
  """With trials whose curves coincide."""
  curve = [
    types.SimpleNamespace(step=step, validation_accuracy=0.1)
    for step in range(0, 100, 10)
  ]
  return types.SimpleNamespace(
    checkpoint=name,
    chosen=(0,),
    trials=tuple(
      types.SimpleNamespace(
        learning_rate=0.1 / (1 + i), steps=100, diverged=None, curve=curve
      )
      for i in range(num_trials)
    ),
  )


def draw(num_checkpoints, num_trials):
  names = [f'checkpoint {i}' for i in range(num_checkpoints)]
  figure = finetuning_page.draw([make_accuracy(n, num_trials) for n in names])
  canvas = backend_agg.FigureCanvasAgg(figure)
  canvas.draw()
  return figure


@pytest.mark.parametrize('num_checkpoints', [1, 2, 3, 4, 9])
@pytest.mark.parametrize('num_trials', [1, 4, 10])
def test_the_legend_covers_no_label(num_checkpoints, num_trials):
  figure = draw(num_checkpoints, num_trials)
  (legend,) = figure.legends
  assert len(legend.get_texts()) == num_trials
  shown = [axes for axes in figure.axes if axes.get_visible()]
  labels = [axes.xaxis.label for axes in shown if axes.get_xlabel()]
  assert len(labels) == min(num_checkpoints, 3)
  texts = [
    *labels,
    figure._supylabel,
    *(axes.title for axes in shown),
    *(tick for axes in shown for tick in axes.get_xticklabels()),
  ]
  box = legend.get_window_extent()
  for text in texts:
    assert not box.overlaps(text.get_window_extent())


def test_curves_that_coincide_are_drawn_apart():
  figure = draw(1, 6)
  lines = figure.axes[0].get_lines()
  looks = [
    (line.get_color(), line.get_linestyle(), line.get_marker())
    for line in lines
  ]
  assert len(set(looks)) == 6
  for below, above in itertools.pairwise(lines):
    assert below.get_zorder() < above.get_zorder()
    assert below.get_markersize() > above.get_markersize() or (
      below.get_marker() != above.get_marker()
    )
    # The one above has gaps, or is drawn otherwise than the one below.
    assert below.get_linestyle() != above.get_linestyle()
