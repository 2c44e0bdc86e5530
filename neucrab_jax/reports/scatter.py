# SPDX-License-Identifier: Apache-2.0
"""Scores against accuracies, as a picture of an evaluation's page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from neucrab_jax.reports import points

if TYPE_CHECKING:
  from neucrab_jax.benchmark.record import Point

_FRAME = points.Frame(
  width=360, height=300, left=56, right=12, top=28, bottom=46
)
# Of the range that points take, left free on either side.
_ROOM = 0.08
# The worst misplaced are named, from this many places on.
_NAMED, _MISPLACED = 4, 2


def _ranks(values: np.ndarray) -> np.ndarray:
  return 1 + np.sum(values > values[:, np.newaxis], axis=1)


def _scale(axis, values: np.ndarray) -> points.Scale:
  low, high = float(values.min()), float(values.max())
  room = _ROOM * (high - low) or max(abs(high), 1.0) * _ROOM
  return axis(_FRAME, low - room, high + room)


def draw(
  found: Sequence[Point], name: str, *, tau: float | None
) -> points.Picture | None:
  """The picture of a predictor; the worst misplaced checkpoints are named.

  Args:
    found: of a task, as the evaluation's record has them.
    name: of the predictor.
    tau: to say in the title.

  Returns:
    None where no checkpoint has a finite score, or no scale holds them all.
  """
  known = [
    (point.checkpoint, score, point.accuracy)
    for point in found
    if (score := point.scores[name]) is not None and np.isfinite(score)
  ]
  scores, accuracies = (
    np.array([row[column] for row in known], np.float64) for column in (1, 2)
  )
  # Of huge scores no scale could be made.
  if not known or float(scores.max()) - float(scores.min()) == np.inf:
    return None
  predicted, true = _ranks(scores), _ranks(accuracies)
  off = np.abs(predicted - true)
  wrong = np.argsort(-off, kind='stable')[:_NAMED]
  wrong = set(wrong[off[wrong] >= _MISPLACED].tolist())
  across = _scale(points.across, scores)
  up = _scale(points.up, accuracies)
  places = [
    points.Point(
      across.place(score),
      up.place(accuracy),
      f'{checkpoint}: {score:.4g}, accuracy {accuracy:.3f}; '
      f'rank {predicted[i]}, truly {true[i]}',
      'wrong' if i in wrong else '',
    )
    for i, (checkpoint, score, accuracy) in enumerate(known)
  ]
  return points.Picture(
    f'{name} against accuracy',
    _FRAME,
    places,
    across=across.ticks('{:.4g}'),
    up=up.ticks('{:.3g}'),
    labels=points.labels(
      _FRAME,
      [
        (places[i], f'{known[i][0]} {predicted[i]}→{true[i]}')
        for i in sorted(wrong)
      ],
      'wrong',
    ),
    title='no τ' if tau is None else f'τ = {tau:.2f}'.replace('-', '−'),
    names=(points.short(name), 'accuracy'),
  )
