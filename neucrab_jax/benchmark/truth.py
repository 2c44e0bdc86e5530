# SPDX-License-Identifier: Apache-2.0
"""How well checkpoints really did: accuracies, as they lie on disk.

They are the records that fine-tuning leaves, a folder of them, or CSVs with a
column `checkpoint` and `accuracy`, or several `accuracy_<truth>`; a column
`task`, or the name of the file, says the task, and a column `train_examples`
tells truths from few and from many examples apart.
"""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

from neucrab_jax.benchmark import evidence


@dataclasses.dataclass(frozen=True)
class Accuracy:
  """How well one checkpoint really did.

  Attributes:
    value: test accuracy, from 0 to 1.
    source: the file it is from.
    by_seed: the accuracies of single runs, or none.
    standard_error: of the test examples that were drawn; 0 where not known.
    seconds: of all trials of its sweep, where known.
    examples_seen: in training the whole network, by all trials, where known.
  """

  value: float
  source: str
  by_seed: tuple[float, ...] = ()
  standard_error: float = 0.0
  seconds: float | None = None
  examples_seen: int | None = None


# Of the folder of a run, and of any other.
_INSIDE = ('accuracies/*/*.json', '**/*.json')

# By truth, such as 'accuracy' or 'linear', task and checkpoint.
Truths = dict[str, dict[str, dict[str, Accuracy]]]


def _add(
  truths: Truths, where: str, key: tuple[str, str, str], accuracy: Accuracy
) -> None:
  truth, task, checkpoint = key
  if not 0 <= accuracy.value <= 1:
    hint = ' In percent? Divide by 100.' if 1 < accuracy.value <= 100 else ''
    raise ValueError(
      f'{where}: the accuracy of {checkpoint!r} is {accuracy.value:g}, not '
      f'from 0 to 1.{hint}'
    )
  table = truths.setdefault(truth, {}).setdefault(task, {})
  if checkpoint in table:
    raise ValueError(
      f'{where}: {checkpoint!r} has an accuracy for {task} already, from '
      f'{table[checkpoint].source!r}. Remove one.'
    )
  table[checkpoint] = accuracy


def _read_accuracy_csv(file: pathlib.Path, name: str, truths: Truths) -> None:
  for where, row in evidence.rows(file):
    columns = [
      column
      for column in row
      if column.startswith(evidence.ACCURACY) and not column.endswith('_std')
    ]
    if not columns:
      raise ValueError(
        f"{str(file)!r} has no column 'accuracy'; its columns are "
        f'{", ".join(row)}.'
      )
    size = row.get('train_examples') or ''
    amount = f'{size} training examples' if size.isdigit() else size
    for column in columns:
      parts = (
        name,
        column.removeprefix(evidence.ACCURACY).strip('_'),
        amount,
      )
      truth = ', '.join(filter(None, parts)) or evidence.ACCURACY
      value = evidence.number(where, column, row[column])
      if value is None:
        continue
      error = evidence.number(
        where, 'standard_error', row.get('standard_error')
      )
      accuracy = Accuracy(value, str(file), standard_error=error or 0.0)
      key = (truth, row.get('task') or file.stem, row['checkpoint'])
      _add(truths, where, key, accuracy)


def _read_accuracy_record(
  file: pathlib.Path, name: str, truths: Truths
) -> None:
  record = evidence.read_json(file, needs=('checkpoint', 'task', 'accuracy'))
  trials, protocol = record.get('trials', []), record.get('protocol', {})
  chosen = [trials[index] for index in record.get('chosen', [])]
  mode = protocol.get('mode')
  seen = None
  if mode == 'full' and 'batch_size' in protocol:
    seen = protocol['batch_size'] * sum(trial['steps'] for trial in trials)
  accuracy = Accuracy(
    float(record['accuracy']),
    str(file),
    by_seed=tuple(trial['test_accuracy'] for trial in chosen),
    standard_error=record.get('standard_error') or 0.0,
    seconds=record.get('seconds'),
    examples_seen=seen,
  )
  truth = name or (f'{mode} fine-tuning' if mode else evidence.ACCURACY)
  key = (truth, record['task']['name'], record['checkpoint'])
  _add(truths, repr(str(file)), key, accuracy)


def read(
  patterns: str | Sequence[str] | Mapping[str, str | Sequence[str]],
) -> Truths:
  """Reads accuracies.

  Args:
    patterns: as `find` takes them; or several truths, name → patterns.

  Raises:
    ValueError: if a file is not what it should be, an accuracy is not from 0
      to 1, or there are two of one checkpoint for one task.
  """
  named = patterns if isinstance(patterns, Mapping) else {'': patterns}
  truths: Truths = {}
  for name, chosen in named.items():
    files = evidence.find(chosen, setting='accuracies', inside=_INSIDE)
    for file in files:
      read = (
        _read_accuracy_csv if file.suffix == '.csv' else _read_accuracy_record
      )
      read(file, name, truths)
  return truths
