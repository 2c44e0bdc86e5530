# SPDX-License-Identifier: Apache-2.0
"""What an evaluation is computed from: predictions and truth, joined.

A contest is one group of checkpoints under one truth, on one or more tasks. Its
contestants are the measures, the controls that anyone could use instead, and
the other truths, whose agreement with this one is a ceiling.

Axes: T tasks, M checkpoints.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from neucrab_jax.benchmark import truth

# Measures that know nothing of the task, or are what a careful person would try
# first: a measure is worth what it adds to them.
CONTROLS = ('random', 'num_parameters', 'upstream_accuracy', 'knn', 'linear')
FIXED_ORDER = 'fixed order'
# No order of two says anything.
MIN_CHECKPOINTS = 3


@dataclasses.dataclass(frozen=True)
class Contestant:
  """Scores of one kind on every task.

  Attributes:
    name: of the measure, the control or the other truth.
    role: 'measure', 'control' or 'ceiling'.
    scores: [T, M], NaN where there is none.
    left_out: by task and checkpoint, why there is none.
    resamples: by (task, checkpoint) as indices, scores of resampled examples.
    sources: by task, the files.
  """

  name: str
  role: str
  scores: np.ndarray
  left_out: Mapping[str, Mapping[str, str]]
  resamples: Mapping[tuple[int, int], Sequence[float]]
  sources: Mapping[str, tuple[str, ...]]


@dataclasses.dataclass(frozen=True)
class Contest:
  """One group under one truth.

  Attributes:
    group: its name.
    truth: which accuracies, such as 'linear'.
    tasks: T names.
    checkpoints: M names.
    accuracies: by task and checkpoint.
    contestants: in the order of tables.
    notes: what a reader should know.
  """

  group: str
  truth: str
  tasks: tuple[str, ...]
  checkpoints: tuple[str, ...]
  accuracies: Mapping[str, Mapping[str, truth.Accuracy]]
  contestants: tuple[Contestant, ...]
  notes: tuple[str, ...]

  def matrix(self) -> np.ndarray:
    """[T, M] accuracies, NaN where there is none."""
    return np.array(
      [
        [
          self.accuracies[task][name].value
          if name in self.accuracies[task]
          else np.nan
          for name in self.checkpoints
        ]
        for task in self.tasks
      ]
    )

  def parameters(self) -> np.ndarray | None:
    """[M] numbers of parameters, where a contestant knows them all."""
    for contestant in self.contestants:
      if contestant.name == 'num_parameters':
        numbers = contestant.scores[0]
        return None if np.isnan(numbers).any() else numbers
    return None
