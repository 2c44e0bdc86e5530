# SPDX-License-Identifier: Apache-2.0
"""The `Accuracy` record: how well a checkpoint really transfers to a task.

The trial is chosen by validation accuracy; the test accuracy of no other one is
looked at. With several seeds, each chooses from its own sweep, and the accuracy
is the mean.
"""

import csv
import dataclasses
import io
import json
import math
import pathlib
import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from neucrab_jax import training

SCHEMA = 1

# How likely guessing would be to do as well as a trial that counts as sane.
_GUESSING = 0.05
# Standard errors by which the test accuracy may exceed the validation accuracy
# before something other than luck is likelier.
_SUSPICIOUS = 3.0

Record = dict[str, Any]


class RecordError(ValueError):
  """A record is there that this run can neither use nor replace."""


def path(folder: pathlib.Path, *, checkpoint: str, task: str) -> pathlib.Path:
  """Where the record of a checkpoint on a task is; the task may be a path."""
  readable = re.sub(r'[^\w.-]+', '_', task).strip('_.')
  return folder / readable / f'{checkpoint}.json'


def read(file: pathlib.Path, *, key: str) -> Record | None:
  """Reads a record, if there is one.

  Args:
    file: of the record.
    key: that it must have: of protocol, weights and data.

  Raises:
    RecordError: if it is of other settings, or no record.
  """
  try:
    text = file.read_text(encoding='utf-8')
  except FileNotFoundError:
    return None
  try:
    record = json.loads(text)
    found = record['key']
  except (ValueError, KeyError, TypeError) as error:
    raise RecordError(
      f'{str(file)!r} is no record of an accuracy. Move it away.'
    ) from error
  if found != key:
    raise RecordError(
      f'{str(file)!r} is of other settings, weights or data. Choose another '
      '--workdir, or move it away.'
    )
  return record


def guessing_level(labels: np.ndarray) -> float:
  """The accuracy that guessing the commonest class hardly ever exceeds."""
  n = len(labels)
  commonest = np.bincount(labels).max() / n
  return float(stats.binom.isf(_GUESSING, n, commonest) / n)


def standard_error(accuracy: float, num_examples: int) -> float:
  """√(p(1 − p) / n), of the examples that were drawn."""
  return math.sqrt(accuracy * (1 - accuracy) / num_examples)


def _why_diverged(outcome: training.Outcome, *, level: float) -> str | None:
  if not outcome.finite:
    return 'loss'
  return 'chance' if outcome.validation_accuracy <= level else None


def choose(outcomes: Sequence[training.Outcome], *, level: float) -> list[int]:
  """Of each seed, the trial with the best validation accuracy.

  Between equals the smaller validation loss decides. A diverged trial is chosen
  only where all are.

  Args:
    outcomes: of all trials.
    level: `guessing_level` of the validation labels.

  Returns:
    Indices of outcomes, in the order of the seeds.
  """

  def quality(index: int) -> tuple[bool, float, float]:
    outcome = outcomes[index]
    loss = outcome.curve[-1]['validation_loss']
    return (
      _why_diverged(outcome, level=level) is None,
      outcome.validation_accuracy,
      -loss if math.isfinite(loss) else -math.inf,
    )

  seeds = dict.fromkeys(outcome.trial.seed for outcome in outcomes)
  return [
    max(
      (i for i, o in enumerate(outcomes) if o.trial.seed == seed), key=quality
    )
    for seed in seeds
  ]


def _finite(point: Mapping[str, float]) -> dict[str, float | None]:
  """JSON has no NaN."""
  return {k: v if math.isfinite(v) else None for k, v in point.items()}


def _suspicious(validation: float, test: float, *, sizes: Sequence[int]):
  """Whether a test accuracy is further above the validation's than luck goes.

  Args:
    validation: accuracy.
    test: accuracy.
    sizes: numbers of validation and of test examples.
  """
  error = math.hypot(*map(standard_error, (validation, test), sizes))
  return test - validation > _SUSPICIOUS * error


def _describe(
  outcome: training.Outcome,
  *,
  level: float,
  test: float | None,
  sizes: Sequence[int],
) -> Record:
  """A trial as the record has it; without a test accuracy if not chosen."""
  validation = outcome.validation_accuracy
  return {
    **dataclasses.asdict(outcome.trial),
    'validation_accuracy': validation,
    'test_accuracy': test,
    'diverged': _why_diverged(outcome, level=level),
    'suspicious': (
      test is not None and _suspicious(validation, test, sizes=sizes)
    ),
    'seconds': round(outcome.seconds, 3),
    'curve': [_finite(point) for point in outcome.curve],
  }


def _warnings(trials: Sequence[Record]) -> list[str]:
  """What a reader of the accuracy should know."""
  told = []
  if all(trial['diverged'] for trial in trials):
    told.append(
      'Every trial diverged (its loss was not finite, or its validation '
      'accuracy that of guessing): the accuracy is that of a failed sweep. '
      'Other learning rates or more steps may help.'
    )
  told += [
    f'The test accuracy {trial["test_accuracy"]:.3f} of learning rate '
    f'{trial["learning_rate"]}, {trial["steps"]} steps, seed {trial["seed"]} '
    f'is far above its validation accuracy {trial["validation_accuracy"]:.3f}. '
    'Are test examples among the training examples?'
    for trial in trials
    if trial['suspicious']
  ]
  return told


def summarise(
  outcomes: Sequence[training.Outcome],
  *,
  validation_labels: np.ndarray,
  num_test: int,
  test: Callable[[training.Trial], float],
) -> Record:
  """Chooses, and has the test accuracy measured of what is chosen.

  Args:
    outcomes: of all trials of all seeds.
    validation_labels: [N].
    num_test: number of test examples.
    test: measures a trial's test accuracy; called once a seed.

  Returns:
    The part of the record that training decides.
  """
  level = guessing_level(validation_labels)
  chosen = choose(outcomes, level=level)
  tested = {index: test(outcomes[index].trial) for index in chosen}
  sizes = len(validation_labels), num_test
  trials = [
    _describe(outcome, level=level, test=tested.get(index), sizes=sizes)
    for index, outcome in enumerate(outcomes)
  ]
  accuracies = list(tested.values())
  accuracy = statistics.fmean(accuracies)
  return {
    'accuracy': accuracy,
    # Over seeds; and what another draw of the test examples would change.
    'accuracy_std': (
      statistics.stdev(accuracies) if len(accuracies) > 1 else None
    ),
    'standard_error': standard_error(accuracy, num_test),
    'diverged': all(trial['diverged'] for trial in trials),
    'chosen': chosen,
    'trials': trials,
    'seconds': round(sum(outcome.seconds for outcome in outcomes), 3),
    'warnings': _warnings(trials),
  }


_COLUMNS = (
  'checkpoint',
  'task',
  'accuracy',
  'accuracy_std',
  'standard_error',
  'diverged',
  'seconds',
)


def table(folder: pathlib.Path) -> str:
  """All records of a folder as CSV, in the order of their paths."""
  text = io.StringIO()
  writer = csv.writer(text, lineterminator='\n')
  writer.writerow(_COLUMNS)
  for file in sorted(folder.glob('*/*.json')):
    record = json.loads(file.read_text(encoding='utf-8'))
    row = {**record, 'task': record['task']['name']}
    # The csv module writes None as nothing.
    writer.writerow([row[column] for column in _COLUMNS])
  return text.getvalue()
