# SPDX-License-Identifier: Apache-2.0
"""Scores and accuracies of eight checkpoints, aligned."""

import numpy as np

from neucrab_jax.benchmark import alignment, bootstrap
from neucrab_jax.finetuning.known_accuracies import KnownAccuracy
from neucrab_jax.ranking.predictions import Prediction, Predictions

NAMES = tuple('abcdefgh')
RNG = np.random.default_rng(0)
ACCURACIES = RNG.permutation(np.linspace(0.3, 0.9, len(NAMES)))
# Near the accuracies, and nothing to do with them.
GOOD = ACCURACIES + 0.05 * RNG.standard_normal(len(NAMES))
BAD = RNG.standard_normal(len(NAMES))


def make(*, tasks=('t',), resamples=(), by_seed=(), error=0.0, **scores):
  """The same scores and accuracies on every task."""
  given = [
    Predictions(
      measure,
      task,
      {
        name: Prediction(
          value, 'ranking.json', tuple(value + r for r in resamples)
        )
        for name, value in zip(NAMES, values, strict=True)
        if not np.isnan(value)
      },
    )
    for measure, values in scores.items()
    for task in tasks
  ]
  table = {
    name: KnownAccuracy(
      value,
      'accuracies.csv',
      by_seed=tuple(value + s for s in by_seed),
      standard_error=error,
    )
    for name, value in zip(NAMES, ACCURACIES, strict=True)
  }
  (aligned,) = alignment.align(
    'group',
    predicted=given,
    accuracies={'accuracy': dict.fromkeys(tasks, table)},
  )
  return aligned


def draw(aligned, **options):
  rng = np.random.default_rng(0)
  return bootstrap.draw(aligned, rng, num=2_000, **options)
