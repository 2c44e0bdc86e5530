# SPDX-License-Identifier: Apache-2.0
"""Several measures' rankings of the same checkpoints, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
  from neucrab_jax.ranking import record

# A sentence names the fewest checkpoints that have the best one among them
# with this probability...
_SURE = 0.9
# ...and says that those can be left out which are the best with less than this.
_HOPELESS = 0.01
# Names in one sentence.
_MOST_NAMED = 4


def percent(probability: float) -> str:
  """A probability as people read it: at most '>99 %', at least '<1 %'.

  >>> [percent(p) for p in (0.999, 0.934, 0.004)]
  ['>99 %', '93 %', '<1 %']
  """
  if probability > 0.99:
    return '>99 %'
  return (
    '<1 %' if probability < 0.01 else f'{probability:.0%}'.replace('%', ' %')
  )


def advice(ranking: record.Ranking) -> str:
  """What the order means for who has to choose, in one sentence or two.

  Returns:
    Which are best and which can be left out; '' where nothing is known of how
    sure the order is.
  """
  if ranking.order is None or len(ranking.ranking) < 2:
    return ''
  best = ranking.order.best
  places = sorted(range(len(best)), key=lambda place: -best[place])
  chosen, total = [], 0.0
  for place in places:
    chosen.append(place)
    total += best[place]
    if total >= _SURE:
      break
  names = [ranking.order.checkpoints[place] for place in sorted(chosen)]
  if len(names) > _MOST_NAMED:
    first = f'Which is best is open: it is one of {len(names)}'
  else:
    listed = ', '.join(names[:-1]) + ' or ' * (len(names) > 1) + names[-1]
    first = f'{listed} is best'
  sentence = f'{first} with {percent(total)}'
  hopeless = [place for place in places if best[place] < _HOPELESS]
  hopeless = [place for place in hopeless if place not in chosen]
  if not hopeless:
    return f'{sentence}.'
  if len(hopeless) > _MOST_NAMED:
    return f'{sentence}; {len(hopeless)} of {len(best)} can be left out.'
  left_out = [ranking.order.checkpoints[place] for place in sorted(hopeless)]
  return f'{sentence}; {", ".join(left_out)} can be left out.'


def num_examples(entry: record.Entry, ranking: record.Ranking) -> int:
  """How many a checkpoint was scored on; a race drops some before its end."""
  if entry.num_examples is not None:
    return entry.num_examples
  if ranking.race and ranking.race.rounds:
    return ranking.race.rounds[-1].num_examples
  return ranking.task.num_examples


def race(ranking: record.Ranking) -> str:
  """What a race found and saved, in a sentence; '' where there was none."""
  if ranking.race is None or not ranking.race.rounds:
    return ''
  held = ranking.race
  examples = held.rounds[-1].num_examples
  found = (
    f'{len(ranking.ranking) - len(held.dropped)} of {len(ranking.ranking)} '
    f'checkpoints were left in a race for the best {held.top}, after '
    f'{examples} of {ranking.task.num_examples} examples'
  )
  return (
    f'{found}: {held.passes:,} of {held.all_passes:,} image passes, '
    f'{percent(held.passes / held.all_passes)}; none of the best was dropped '
    f'with {percent(held.confidence)}.'
  )


def ranks(
  rankings: Sequence[record.Ranking],
) -> tuple[list[str], list[list[int | None]]]:
  """The rank of each checkpoint by each measure.

  Args:
    rankings: records of `ranking.json`.

  Returns:
    The checkpoints, best mean rank first, and for each its ranks in the order
    of the rankings; None where a measure has none.
  """
  by_measure = [
    {entry.checkpoint: entry.rank for entry in ranking.ranking}
    for ranking in rankings
  ]
  rows = {
    name: [places.get(name) for places in by_measure]
    for places in by_measure
    for name in places
  }

  def mean_rank(name: str) -> float:
    return float(np.mean([rank for rank in rows[name] if rank is not None]))

  names = sorted(rows, key=mean_rank)
  return names, [rows[name] for name in names]


def agreement(rankings: Sequence[record.Ranking]) -> np.ndarray:
  """Kendall's τ-b of each two measures, over the checkpoints that both scored.

  Args:
    rankings: records of `ranking.json`, M of them.

  Returns:
    [M, M]; NaN where two share fewer than two checkpoints, or one ties them
    all.
  """
  # Takes a second to import, and one measure needs none of it.
  from scipy import stats

  scores = [
    {entry.checkpoint: entry.score for entry in ranking.ranking}
    for ranking in rankings
  ]
  taus = np.full((len(scores), len(scores)), np.nan)
  for i, one in enumerate(scores):
    for j, other in enumerate(scores):
      shared = [name for name in one if name in other]
      if len(shared) >= 2:
        taus[i, j] = stats.kendalltau(
          [one[name] for name in shared], [other[name] for name in shared]
        )[0]
  return taus
