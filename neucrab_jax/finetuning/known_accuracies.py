# SPDX-License-Identifier: Apache-2.0
"""Accuracies of checkpoints, read from wherever they lie.

They are in records of fine-tuning, a folder of them, or CSVs with a column
`checkpoint` and `accuracy`, or several `accuracy_<kind>`; a column `task`, or
the name of the file, says the task, and a column `train_examples` tells
accuracies after few and after many examples apart.
"""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

from neucrab_jax import input_files, storage
from neucrab_jax.finetuning import record

# What columns of accuracies begin with, and what accuracies are called that
# nobody gave a name.
_ACCURACY = 'accuracy'


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
    doubt: as of `record.Accuracy`, where its record says so.
    data: digests of the task's examples, where known.
  """

  value: float
  source: str
  by_seed: tuple[float, ...] = ()
  standard_error: float = 0.0
  seconds: float | None = None
  examples_seen: int | None = None
  doubt: str = ''
  data: frozenset[str] = frozenset()


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


def _doubt(row: Mapping[str, str]) -> str:
  """What the table of a run says of an accuracy."""
  diverged = (row.get('diverged') or '').strip().lower() in ('true', '1')
  return row.get('doubt') or 'diverged' * diverged


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
      accuracy = KnownAccuracy(
        value,
        str(file),
        standard_error=error or 0.0,
        doubt=_doubt(row),
      )
      key = (kind, row.get('task') or file.stem, row['checkpoint'])
      _add(found, where, key, accuracy)


def _read_record(file: pathlib.Path, name: str, found: KnownAccuracies) -> None:
  accuracy = storage.read_sealed(file, record.Accuracy, needs_seal=False)
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
    data=accuracy.task.data,
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
    if not found:
      raise ValueError(
        f'There is no accuracy in {" and ".join(map(repr, map(str, files)))}: '
        'all cells are empty.'
      )
  return found
