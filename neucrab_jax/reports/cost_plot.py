# SPDX-License-Identifier: Apache-2.0
"""Scores against what they cost, as a picture of a page."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from neucrab_jax.reports import comparison

if TYPE_CHECKING:
  from neucrab_jax.ranking import record

# Of the picture, in its own units; its numbers stand in the margins.
WIDTH, HEIGHT = 800, 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 20, 14, 40
# What takes less was timed too coarsely.
_LEAST_SECONDS = 1e-3
# Lines across, at most.
_MOST_TICKS = 6


class Tick(NamedTuple):
  """A line across, and the number on it."""

  place: float
  text: str


class Point(NamedTuple):
  """A checkpoint."""

  x: float
  y: float
  text: str
  was_dropped: bool  # By a race: its score is of fewer examples.


class CostPlot(NamedTuple):
  """The picture: seconds to the right, by powers of ten, and scores upwards."""

  points: list[Point]
  seconds: list[Tick]
  scores: list[Tick]


def _steps(low: float, high: float) -> list[float]:
  """Round numbers within, at most so many."""
  span = high - low
  power = 10.0 ** math.floor(math.log10(span))
  sizes = [f * power for f in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)]
  step = next(size for size in sizes if span / size <= _MOST_TICKS)
  first, last = math.ceil(low / step), math.floor(high / step)
  return [number * step for number in range(first, last + 1)]


def _powers(low: float, high: float) -> list[float]:
  """1, 2 and 5 times the powers of ten within; of many the powers alone."""
  exponents = range(
    math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1
  )
  found = [f * 10.0**e for e in exponents for f in (1, 2, 5)]
  found = [value for value in found if low <= value <= high]
  if len(found) > _MOST_TICKS:
    found = [10.0**e for e in exponents if low <= 10.0**e <= high]
  return found


def draw(ranking: record.Ranking) -> CostPlot | None:
  """The picture of a ranking; None where there is nothing to compare.

  Args:
    ranking: whose seconds are without those of compiling.
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
  low, high = low - (high - low) / 20, high + (high - low) / 20

  def across(seconds: float) -> float:
    share = math.log(seconds / least) / math.log(most / least)
    return _LEFT + share * (WIDTH - _LEFT - _RIGHT)

  def up(score: float) -> float:
    share = (score - low) / (high - low)
    return HEIGHT - _BOTTOM - share * (HEIGHT - _BOTTOM - _TOP)

  return CostPlot(
    points=[
      Point(
        across(cost[entry.checkpoint]),
        up(entry.score),
        f'{entry.checkpoint}: {entry.score:.4f}, '
        f'{cost[entry.checkpoint]:.3g} s, '
        f'{comparison.num_examples(entry, ranking)} examples',
        entry.num_examples is not None,
      )
      for entry in ranking.ranking
    ],
    seconds=[Tick(across(s), f'{s:g} s') for s in _powers(least, most)],
    scores=[Tick(up(score), f'{score:.4g}') for score in _steps(low, high)],
  )
