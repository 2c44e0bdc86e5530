# SPDX-License-Identifier: Apache-2.0
"""The `Accuracy` record: one JSON file for a checkpoint and a task."""

import math
import pathlib
import re
from collections.abc import Sequence
from typing import Literal

import msgspec

from neucrab_jax import environment, storage
from neucrab_jax.environment import Environment
from neucrab_jax.finetuning.protocol import Protocol

SCHEMA = 1


class Point(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
  """A point of a learning curve; on record, what is not finite is null.

  Attributes:
    step: after how many.
    learning_rate: of the last step.
    loss: mean cross-entropy since the last point, nats.
    accuracy: since the last point.
    validation_loss: mean cross-entropy, nats.
    validation_accuracy: of the validation examples.
  """

  step: int
  learning_rate: float
  loss: float | None
  accuracy: float
  validation_loss: float | None
  validation_accuracy: float

  @property
  def loss_is_finite(self) -> bool:
    return self.loss is not None and math.isfinite(self.loss)

  @property
  def finite(self) -> bool:
    """Whether no loss is NaN or infinite."""
    loss = self.validation_loss
    return self.loss_is_finite and loss is not None and math.isfinite(loss)


class RecordError(ValueError):
  """A record is there that this run must neither use nor replace."""


class Part(
  msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True
):
  """The examples of one role, such as 'train'.

  Attributes:
    split: of the task that they are from.
    num_examples: how many.
    fingerprint: SHA-256 of them.
    num_damaged: images of the split that were left out, as they are damaged.
    split_fingerprint: SHA-256 of all examples of the split, where known.
  """

  split: str
  num_examples: int
  fingerprint: str
  num_damaged: int = 0
  split_fingerprint: str = ''


class Task(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
  """What a checkpoint was fine-tuned on.

  Attributes:
    name: of the task.
    num_classes: C.
    splits: by role: 'train', 'validation' and 'test'.
    fingerprint: SHA-256 of those of the parts.
  """

  name: str
  num_classes: int
  splits: dict[str, Part]
  fingerprint: str

  @property
  def data(self) -> frozenset[str]:
    """Digests of the data, by which it is known again under another name."""
    digests = {
      digest
      for part in self.splits.values()
      for digest in (part.fingerprint, part.split_fingerprint)
    }
    return frozenset(filter(None, digests))

  def parts_alone(self) -> 'Task':
    """The task without the digests of whole splits, which decide nothing."""
    parts = {
      role: msgspec.structs.replace(part, split_fingerprint='')
      for role, part in self.splits.items()
    }
    return msgspec.structs.replace(self, splits=parts)


class Trial(
  msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True
):
  """One cell of the sweep, and what came of it.

  Attributes:
    learning_rate: see `protocol.Trial`, like the next two.
    steps: see there.
    seed: see there.
    validation_accuracy: after the last step.
    test_accuracy: None for a trial that was not chosen.
    diverged: its loss was not finite, or ended far above that of guessing, with
      the validation accuracy of chance; or None.
    suspicious: whether the test accuracy is too far above the validation's.
    seconds: of training and validation.
    curve: its points, the last one after all steps.
    at_chance: whether it did not diverge, and its validation accuracy is that
      of chance all the same: what is undertrained.
    compile_seconds: of compiling for its training and validation.
  """

  learning_rate: float
  steps: int
  seed: int
  validation_accuracy: float
  test_accuracy: float | None
  diverged: Literal['loss', 'chance'] | None
  suspicious: bool
  seconds: float
  curve: tuple[Point, ...]
  at_chance: bool = False
  compile_seconds: float = 0.0


# Times the loss of guessing, ln C, with which a head of zeros begins: beyond,
# training has led away.
_FAR_ABOVE = 2.0


def led_away(curve: Sequence[Point], num_classes: int) -> bool:
  """Whether training ended far above the loss of guessing."""
  loss = curve[-1].loss if curve else None
  return loss is not None and loss > _FAR_ABOVE * math.log(num_classes)


class About(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
  """What an accuracy is of, known before training.

  Attributes:
    schema: of the record.
    key: SHA-256 of all that the accuracy should depend on.
    checkpoint: its name.
    weights: SHA-256 of them.
    task: what it is fine-tuned on.
    protocol: how.
    environment: where.
  """

  schema: Literal[1]
  key: str
  checkpoint: str
  weights: str
  task: Task
  protocol: Protocol
  environment: Environment


class Accuracy(
  About, frozen=True, forbid_unknown_fields=True, omit_defaults=True
):
  """How well a checkpoint transfers to a task: one JSON file.

  Attributes:
    accuracy: on the test examples, the mean over seeds.
    accuracy_std: standard deviation over seeds; None with one.
    standard_error: what another draw of the test examples would change.
    diverged: whether all trials did.
    chosen: of each seed, the index of the trial that validation chose.
    trials: all of the sweep.
    seconds: of all trials.
    warnings: what a reader should know.
    compile_seconds: of compiling for them, which a network of an architecture
      that was trained before is spared.
    source: of the checkpoint, where it was downloaded: its commit and the
      digests of its files.
  """

  accuracy: float
  accuracy_std: float | None
  standard_error: float
  diverged: bool
  chosen: tuple[int, ...]
  trials: tuple[Trial, ...]
  seconds: float
  warnings: tuple[str, ...]
  compile_seconds: float = 0.0
  source: environment.Source | None = None

  @property
  def doubt(self) -> str:
    """Why the accuracy is none to judge by, in a word or two; or nothing."""
    if not self.trials or not all(
      trial.diverged or trial.at_chance for trial in self.trials
    ):
      return 'diverged' if self.diverged else ''
    classes = self.task.num_classes
    # Records of before called both the same.
    undertrained = [
      trial
      for trial in self.trials
      if trial.at_chance
      or (trial.diverged == 'chance' and not led_away(trial.curve, classes))
    ]
    return 'no better than guessing' if undertrained else 'diverged'

  def chosen_trials(self) -> tuple[Trial, ...]:
    return tuple(self.trials[index] for index in self.chosen)


class Failure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
  """A checkpoint that could not be fine-tuned, and why."""

  checkpoint: str
  error: str


def path(folder: pathlib.Path, *, checkpoint: str, task: str) -> pathlib.Path:
  """Where the record of a checkpoint on a task is; the task may be a path."""
  readable = re.sub(r'[^\w.-]+', '_', task).strip('_.')
  name = storage.file_name(checkpoint)
  return folder / storage.file_name(readable) / f'{name}.json'


def read(file: pathlib.Path, *, key: str) -> Accuracy | None:
  """Reads a record, if there is one.

  Args:
    file: of the record.
    key: that it must have: of protocol, weights and data.

  Raises:
    RecordError: if it is of other settings.
    DamagedFileError: if it is no record, or was changed since it was written.
  """
  try:
    found = storage.read_sealed(file, Accuracy)
  except FileNotFoundError:
    return None
  if found.key != key:
    raise RecordError(
      f'{str(file)!r} is of other settings, weights or data. Choose another '
      '--workdir, or move it away.'
    )
  return found


_COLUMNS = (
  'checkpoint',
  'task',
  'accuracy',
  'accuracy_std',
  'standard_error',
  'diverged',
  'seconds',
  'compile_seconds',
  'doubt',
)


def to_csv(folder: pathlib.Path) -> str:
  """All records of a folder as CSV, in the order of their paths."""
  rows = []
  for file in sorted(folder.glob('*/*.json')):
    found = storage.read_sealed(file, Accuracy, needs_seal=False)
    row = {column: getattr(found, column) for column in _COLUMNS}
    rows.append(list({**row, 'task': found.task.name}.values()))
  return storage.to_csv(_COLUMNS, rows)
