# SPDX-License-Identifier: Apache-2.0
"""The records of a benchmark: `evaluation.json` and `ablation.json`."""

import math
from typing import Literal

import msgspec

from neucrab_jax.environment import Environment

Role = Literal['measure', 'control', 'ceiling']


def defined(number: float) -> float | None:
  """The number; None for NaN, which JSON has not."""
  return None if math.isnan(number) else float(number)


class _Struct(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
  """What all of these records are."""


class Estimate(_Struct, frozen=True):
  """A metric with its interval; None where it is not defined."""

  value: float | None
  low: float | None = None
  high: float | None = None


class TaskRow(_Struct, frozen=True, omit_defaults=True):
  """A predictor on one task.

  Attributes:
    metrics: by name.
    p_value: of Kendall's τ, by permutation; None where τ is not defined.
    chance_tau: |τ| that chance exceeds too seldom.
    num_checkpoints: that have both a score and an accuracy.
    left_out: by checkpoint, why.
    sources: files of the scores.
  """

  metrics: dict[str, Estimate]
  p_value: float | None = None
  chance_tau: float | None = None
  num_checkpoints: int = 0
  left_out: dict[str, str] = {}
  sources: tuple[str, ...] = ()


class Row(_Struct, frozen=True, omit_defaults=True):
  """A predictor on all tasks.

  Attributes:
    name: of the measure, the control, or the other accuracies.
    role: what it is there for.
    average: by metric, the mean over tasks.
    tasks: by name.
    p_value: as in `TaskRow`, of the mean τ.
    chance_tau: as in `TaskRow`.
    spread: by source of chance, the standard deviation of the mean τ where
      only that is resampled.
    leave_one_out: by checkpoint, the mean τ without it.
    drop_largest: the mean τ without none, one, two, … of the largest networks.
  """

  name: str
  role: Role
  average: dict[str, Estimate]
  tasks: dict[str, TaskRow]
  p_value: float | None = None
  chance_tau: float | None = None
  spread: dict[str, float | None] = {}
  leave_one_out: dict[str, float | None] = {}
  drop_largest: tuple[float | None, ...] = ()


class Comparison(_Struct, frozen=True):
  """Two predictors, the better first, by paired resamples.

  Attributes:
    better: name of the one with the higher mean τ.
    worse: name of the other.
    difference: of the mean τ.
    low: end of its interval.
    high: the other end.
    p: two-sided.
    p_holm: adjusted for the number of comparisons.
  """

  better: str
  worse: str
  difference: float
  low: float
  high: float
  p: float
  p_holm: float


class MeasureCost(_Struct, frozen=True):
  """What a measure costs per checkpoint, means over tasks; None: not known."""

  score_seconds: float
  extract_seconds: float | None
  flops: float | None


class FineTuningCost(_Struct, frozen=True):
  """What a whole sweep costs per checkpoint, means over tasks."""

  seconds: float | None
  flops: float | None


class Cost(_Struct, frozen=True):
  """What it costs to ask a measure, and what fine-tuning costs instead."""

  measures: dict[str, MeasureCost]
  fine_tuning: FineTuningCost


class Point(_Struct, frozen=True):
  """A checkpoint's accuracy on a task, and its scores by predictor."""

  checkpoint: str
  accuracy: float
  source: str
  scores: dict[str, float | None]


class Alignment(_Struct, frozen=True):
  """How well predictors put one group in the order of its accuracies.

  Attributes:
    group: name of the checkpoints together.
    accuracy: which accuracies, such as 'linear'.
    tasks: T names.
    checkpoints: M names.
    notes: what a reader should know.
    resampled: the sources of chance.
    rows: measures, best first, then controls, then ceilings.
    comparisons: of each two, the surest first.
    cost: of them.
    points: by task, every score beside every accuracy.
  """

  group: str
  accuracy: str
  tasks: tuple[str, ...]
  checkpoints: tuple[str, ...]
  notes: tuple[str, ...]
  resampled: tuple[str, ...]
  rows: tuple[Row, ...]
  comparisons: tuple[Comparison, ...]
  cost: Cost
  points: dict[str, tuple[Point, ...]]


class Source(_Struct, frozen=True):
  """A file that went into an evaluation."""

  file: str
  sha256: str


class Evaluation(_Struct, frozen=True):
  """`evaluation.json`.

  Attributes:
    schema: of the record.
    alignments: one for each group and kind of accuracies.
    num_resamples: R, for intervals, the null and comparisons alike.
    confidence: of the intervals.
    sources: all files.
    environment: what computed it.
    failed: checkpoints that its own rankings could not score, a line each.
  """

  schema: Literal[1]
  alignments: tuple[Alignment, ...]
  num_resamples: int
  confidence: float
  sources: tuple[Source, ...]
  environment: Environment
  failed: tuple[str, ...] = ()


class Setting(_Struct, frozen=True):
  """Agreement under one setting of NLEEP's parameters.

  Attributes:
    energy: the share of the variance that PCA keeps.
    components_per_class: K / C.
    covariance: of the mixture.
    tau: of the mean over seeds; None where it is not defined.
    tau_by_seed: of each.
    tau_std: standard deviation of these; None for fewer than two.
    scores: of each checkpoint, the mean over seeds.
  """

  energy: float
  components_per_class: int
  covariance: str
  tau: float | None
  tau_by_seed: tuple[float | None, ...]
  tau_std: float | None
  scores: tuple[float, ...]


class Ablation(_Struct, frozen=True):
  """`ablation.json`.

  Attributes:
    schema: of the record.
    checkpoints: M names.
    accuracies: of each.
    left_out: checkpoints without an accuracy.
    rows: one for each setting.
    environment: what computed it.
  """

  schema: Literal[1]
  checkpoints: tuple[str, ...]
  accuracies: tuple[float, ...]
  left_out: tuple[str, ...]
  rows: tuple[Setting, ...]
  environment: Environment
