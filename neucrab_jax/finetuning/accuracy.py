# SPDX-License-Identifier: Apache-2.0
"""From the trials of a sweep to the accuracy of a checkpoint.

The trial is chosen by validation accuracy; the test accuracy of no other one is
looked at. With several seeds, each chooses from its own sweep, and the accuracy
is the mean.
"""

import dataclasses
import math
import statistics
from collections.abc import Callable, Sequence
from typing import Literal

import msgspec
import numpy as np
from scipy import stats

from neucrab_jax.finetuning import record
from neucrab_jax.finetuning.trainer import TrialResult

# How likely guessing would be to do as well as a trial that counts as sane.
_GUESSING = 0.05
# Standard errors by which the test accuracy may exceed the validation accuracy
# before something other than luck is likelier.
_SUSPICIOUS = 3.0


def guessing_level(labels: np.ndarray) -> float:
  """The accuracy that guessing the commonest class hardly ever exceeds."""
  n = len(labels)
  commonest = np.bincount(labels).max() / n
  return float(stats.binom.isf(_GUESSING, n, commonest) / n)


def standard_error(accuracy: float, num_examples: int) -> float:
  """√(p(1 − p) / n), of the examples that were drawn."""
  return math.sqrt(accuracy * (1 - accuracy) / num_examples)


def _is_sane(result: TrialResult, *, level: float) -> bool:
  """Whether a trial has learned something."""
  return result.finite and result.validation_accuracy > level


def _why_diverged(
  result: TrialResult, *, level: float, num_classes: int
) -> Literal['loss', 'chance'] | None:
  """None also for a trial that has learned nothing yet."""
  if not result.finite:
    return 'loss'
  at_chance = result.validation_accuracy <= level
  away = record.led_away(result.curve, num_classes)
  return 'chance' if at_chance and away else None


def choose(results: Sequence[TrialResult], *, level: float) -> list[int]:
  """Of each seed, the trial with the best validation accuracy.

  Between equals the smaller validation loss decides. A trial that diverged, or
  is no better than guessing, is chosen only where all are.

  Args:
    results: of all trials.
    level: `guessing_level` of the validation labels.

  Returns:
    Indices of results, in the order of the seeds.
  """

  def quality(index: int) -> tuple[bool, float, float]:
    result = results[index]
    loss = result.curve[-1].validation_loss
    return (
      _is_sane(result, level=level),
      result.validation_accuracy,
      -loss if loss is not None and math.isfinite(loss) else -math.inf,
    )

  seeds = dict.fromkeys(result.trial.seed for result in results)
  return [
    max((i for i, r in enumerate(results) if r.trial.seed == seed), key=quality)
    for seed in seeds
  ]


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
  result: TrialResult,
  *,
  level: float,
  num_classes: int,
  test: float | None,
  sizes: Sequence[int],
) -> record.Trial:
  """A trial as the record has it; without a test accuracy if not chosen."""
  validation = result.validation_accuracy
  why = _why_diverged(result, level=level, num_classes=num_classes)
  return record.Trial(
    **dataclasses.asdict(result.trial),
    validation_accuracy=validation,
    test_accuracy=test,
    diverged=why,
    suspicious=test is not None and _suspicious(validation, test, sizes=sizes),
    seconds=round(result.seconds, 3),
    curve=result.curve,
    at_chance=why is None and not _is_sane(result, level=level),
    compile_seconds=round(result.compile_seconds, 3),
  )


def _warnings(trials: Sequence[record.Trial]) -> tuple[str, ...]:
  """What a reader of the accuracy should know."""
  told = []
  if all(trial.diverged for trial in trials):
    told.append(
      'Every trial diverged (its loss was not finite, or ended far above that '
      'of guessing): the accuracy is that of a failed sweep. Smaller learning '
      'rates may help.'
    )
  elif all(trial.diverged or trial.at_chance for trial in trials):
    told.append(
      'No trial is better than guessing on the validation examples: the '
      'accuracy is that of a sweep that learned nothing. More steps or other '
      'learning rates may help.'
    )
  told += [
    f'The test accuracy {trial.test_accuracy:.3f} of learning rate '
    f'{trial.learning_rate}, {trial.steps} steps, seed {trial.seed} '
    f'is far above its validation accuracy {trial.validation_accuracy:.3f}. '
    'Are test examples among the training examples?'
    for trial in trials
    if trial.suspicious
  ]
  return tuple(told)


def summarise(
  results: Sequence[TrialResult],
  *,
  about: record.About,
  validation_labels: np.ndarray,
  num_test: int,
  test: Callable[[TrialResult], float],
) -> record.Accuracy:
  """Chooses, and has the test accuracy measured of what is chosen.

  Args:
    results: of all trials of all seeds.
    about: what the accuracy is of.
    validation_labels: [N].
    num_test: number of test examples.
    test: measures a trial's test accuracy; called once a seed.

  Returns:
    The record.
  """
  level = guessing_level(validation_labels)
  chosen = choose(results, level=level)
  tested = {index: test(results[index]) for index in chosen}
  sizes = len(validation_labels), num_test
  trials = [
    _describe(
      result,
      level=level,
      num_classes=about.task.num_classes,
      test=tested.get(index),
      sizes=sizes,
    )
    for index, result in enumerate(results)
  ]
  accuracies = list(tested.values())
  accuracy = statistics.fmean(accuracies)
  return record.Accuracy(
    **msgspec.structs.asdict(about),
    accuracy=accuracy,
    # Over seeds; and what another draw of the test examples would change.
    accuracy_std=(
      statistics.stdev(accuracies) if len(accuracies) > 1 else None
    ),
    standard_error=standard_error(accuracy, num_test),
    diverged=all(trial.diverged for trial in trials),
    chosen=tuple(chosen),
    trials=tuple(trials),
    seconds=round(sum(result.seconds for result in results), 3),
    warnings=_warnings(trials),
    compile_seconds=round(sum(r.compile_seconds for r in results), 3),
  )
