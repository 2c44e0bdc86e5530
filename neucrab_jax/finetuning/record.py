# SPDX-License-Identifier: Apache-2.0
"""The `Accuracy` record, and accuracies of checkpoints from wherever they lie.

A record is one JSON file for a checkpoint and a task. Accuracies are read from
such records, a folder of them, or CSVs with a column `checkpoint` and
`accuracy`, or several `accuracy_<kind>`; a column `task`, or the name of the
file, says the task, and a column `train_examples` tells accuracies after few
and after many examples apart.
"""

import dataclasses
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from neucrab_jax import input_files, storage
from neucrab_jax.environment import Environment
from neucrab_jax.finetuning.protocol import Protocol
from neucrab_jax.finetuning.saved_states import Point

SCHEMA = 1

# What columns of accuracies begin with, and what accuracies are called that
# nobody gave a name.
_ACCURACY = 'accuracy'


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
  """

  split: str
  num_examples: int
  fingerprint: str
  num_damaged: int = 0


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

  @property
  def doubt(self) -> str:
    """Why the accuracy is none to judge by, in a word or two; or nothing."""
    if self.diverged:
      return 'diverged'
    at_chance = all(trial.diverged or trial.at_chance for trial in self.trials)
    return 'no better than guessing' if at_chance else ''

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
)


def to_csv(folder: pathlib.Path) -> str:
  """All records of a folder as CSV, in the order of their paths."""
  rows = []
  for file in sorted(folder.glob('*/*.json')):
    found = storage.read_sealed(file, Accuracy, needs_seal=False)
    row = {column: getattr(found, column) for column in _COLUMNS}
    rows.append(list({**row, 'task': found.task.name}.values()))
  return storage.to_csv(_COLUMNS, rows)


@dataclasses.dataclass(frozen=True)
class KnownAccuracy:
  """How well one checkpoint did on one task, whoever says so.

  Attributes:
    value: from 0 to 1.
    source: the file it is from.
    by_seed: the accuracies of single runs, or none.
    standard_error: of the test examples that were drawn; 0 where not known.
    seconds: of all trials of its sweep, where known.
    examples_seen: in training the whole network, by all trials, where known.
    doubt: as of `Accuracy`, where its record says so.
  """

  value: float
  source: str
  by_seed: tuple[float, ...] = ()
  standard_error: float = 0.0
  seconds: float | None = None
  examples_seen: int | None = None
  doubt: str = ''


# Of the folder of a run, and of any other.
_INSIDE = ('accuracies/*/*.json', '**/*.json')

# By kind, such as 'accuracy' or 'linear', task and checkpoint.
KnownAccuracies = dict[str, dict[str, dict[str, KnownAccuracy]]]


def _add(
  found: KnownAccuracies,
  where: str,
  key: tuple[str, str, str],
  accuracy: KnownAccuracy,
) -> None:
  kind, task, checkpoint = key
  if not 0 <= accuracy.value <= 1:
    hint = ' In percent? Divide by 100.' if 1 < accuracy.value <= 100 else ''
    raise ValueError(
      f'{where}: the accuracy of {checkpoint!r} is {accuracy.value:g}, not '
      f'from 0 to 1.{hint}'
    )
  table = found.setdefault(kind, {}).setdefault(task, {})
  if checkpoint in table:
    raise ValueError(
      f'{where}: {checkpoint!r} has an accuracy for {task} already, from '
      f'{table[checkpoint].source!r}. Remove one.'
    )
  table[checkpoint] = accuracy


def _read_csv(file: pathlib.Path, name: str, found: KnownAccuracies) -> None:
  for where, row in input_files.rows(file):
    columns = [
      column
      for column in row
      if column.startswith(_ACCURACY) and not column.endswith('_std')
    ]
    if not columns:
      raise ValueError(
        f"{str(file)!r} has no column 'accuracy'; its columns are "
        f'{", ".join(row)}.'
      )
    size = row.get('train_examples') or ''
    amount = f'{size} training examples' if size.isdigit() else size
    for column in columns:
      parts = (name, column.removeprefix(_ACCURACY).strip('_'), amount)
      kind = ', '.join(filter(None, parts)) or _ACCURACY
      value = input_files.number(where, column, row[column])
      if value is None:
        continue
      error = input_files.number(
        where, 'standard_error', row.get('standard_error')
      )
      accuracy = KnownAccuracy(value, str(file), standard_error=error or 0.0)
      key = (kind, row.get('task') or file.stem, row['checkpoint'])
      _add(found, where, key, accuracy)


def _read_record(file: pathlib.Path, name: str, found: KnownAccuracies) -> None:
  accuracy = storage.read_sealed(file, Accuracy, needs_seal=False)
  protocol = accuracy.protocol
  seen = None
  if protocol.mode == 'full':
    seen = protocol.batch_size * sum(trial.steps for trial in accuracy.trials)
  by_seed = [trial.test_accuracy for trial in accuracy.chosen_trials()]
  key = (
    name or f'{protocol.mode} fine-tuning',
    accuracy.task.name,
    accuracy.checkpoint,
  )
  tested = KnownAccuracy(
    accuracy.accuracy,
    str(file),
    by_seed=tuple(value for value in by_seed if value is not None),
    standard_error=accuracy.standard_error,
    # Who fine-tunes waits for both.
    seconds=accuracy.seconds + accuracy.compile_seconds,
    examples_seen=seen,
    doubt=accuracy.doubt,
  )
  _add(found, repr(str(file)), key, tested)


def read_all(
  patterns: str | Sequence[str] | Mapping[str, str | Sequence[str]],
) -> KnownAccuracies:
  """Reads accuracies.

  Args:
    patterns: as `input_files.find` takes them; or those of several kinds of
      accuracies, name → patterns.

  Raises:
    ValueError: if a file is not what it should be, an accuracy is not from 0
      to 1, or there are two of one checkpoint for one task.
  """
  named = patterns if isinstance(patterns, Mapping) else {'': patterns}
  found: KnownAccuracies = {}
  for name, chosen in named.items():
    files = input_files.find(chosen, setting='accuracies', inside=_INSIDE)
    for file in files:
      read_file = _read_csv if file.suffix == '.csv' else _read_record
      read_file(file, name, found)
  return found
