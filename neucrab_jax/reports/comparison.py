# SPDX-License-Identifier: Apache-2.0
"""Several measures' rankings of the same checkpoints, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

if TYPE_CHECKING:
  from neucrab_jax.ranking import record


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
