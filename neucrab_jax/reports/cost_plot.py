# SPDX-License-Identifier: Apache-2.0
"""Scores against what they cost, as a picture of a page."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from neucrab_jax.reports import comparison, points

if TYPE_CHECKING:
  from neucrab_jax.ranking import record

FRAME = points.Frame(
  width=800, height=360, left=70, right=20, top=14, bottom=40
)
# What takes less was timed too coarsely.
_LEAST_SECONDS = 1e-3


def draw(ranking: record.Ranking) -> points.Picture | None:
  """The picture of a ranking: seconds to the right, and scores upwards.

  Args:
    ranking: whose seconds are without those of compiling.

  Returns:
    None where there is nothing to compare.
  """
  cost = {
    entry.checkpoint: max(
      sum(entry.seconds.values()) - entry.compile_seconds, _LEAST_SECONDS
    )
    for entry in ranking.ranking
  }
  scores = [entry.score for entry in ranking.ranking]
  if len(scores) < 2:
    return None
  low, high = min(scores), max(scores)
  # Of equal or of huge scores no scale could be made.
  if not 0 < high - low < math.inf:
    return None
  # Half as far again as the outermost, so that no point is at the edge.
  least, most = min(cost.values()) / 1.5, max(cost.values()) * 1.5
  room = (high - low) / 20
  seconds = points.across(FRAME, least, most, is_log=True)
  score = points.up(FRAME, low - room, high + room)
  return points.Picture(
    'score against seconds',
    FRAME,
    [
      points.Point(
        seconds.place(cost[entry.checkpoint]),
        score.place(entry.score),
        f'{entry.checkpoint}: {entry.score:.4f}, '
        f'{cost[entry.checkpoint]:.3g} s, '
        f'{comparison.num_examples(entry, ranking)} examples',
        # By a race: its score is of fewer examples.
        'dropped' if entry.num_examples is not None else '',
      )
      for entry in ranking.ranking
    ],
    across=seconds.ticks('{:g} s'),
    up=score.ticks('{:.4g}'),
  )
