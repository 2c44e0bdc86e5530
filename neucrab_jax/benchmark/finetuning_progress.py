# SPDX-License-Identifier: Apache-2.0
"""Fine-tuning as a person sees it in a terminal: bars, then a table."""

import contextlib
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

from rich import console as rich_console
from rich import markup, progress, table

from neucrab_jax import parallel, training


class Bars:
  """One bar over the whole run and one over the trials at hand."""

  def __init__(self):
    self._bars = progress.Progress(
      progress.TextColumn('{task.description}'),
      progress.BarColumn(),
      progress.MofNCompleteColumn(),
      progress.TimeElapsedColumn(),
      progress.TextColumn('left'),
      progress.TimeRemainingColumn(),
      console=rich_console.Console(stderr=True),
      disable=not parallel.is_primary(),
    )
    self._whole = self._bars.add_task('all trials, steps', total=None)
    self._trial = self._bars.add_task('', total=None)
    self._before: dict[str, int] = {}

  @contextlib.contextmanager
  def showing(self, names: Sequence[str], *, steps: int) -> Iterator[None]:
    """Shows the bars.

    Args:
      names: of the checkpoints.
      steps: of all trials of a checkpoint.
    """
    self._steps = steps
    self._finished = 0
    self._bars.update(self._whole, total=steps * len(names))
    with self._bars:
      yield

  def begin(self, name: str, trials: Sequence[training.Trial]) -> None:
    """Starts over the bar of the trials at hand."""
    rates = ', '.join(f'{trial.learning_rate:g}' for trial in trials)
    self._bars.reset(
      self._trial,
      total=sum(trial.steps for trial in trials),
      description=f'{name}: learning rate {rates}',
    )

  def advance(self, steps: int) -> None:
    self._bars.advance(self._trial, steps)
    self._bars.advance(self._whole, steps)

  def finish(self, name: str) -> None:
    """A checkpoint is done, by whatever way."""
    self._finished += self._steps
    self._bars.update(
      self._whole, completed=self._finished, description=f'{name} is done'
    )

  def say(self, text: str) -> None:
    self._bars.console.print(markup.escape(text), soft_wrap=True)


def show(result: dict[str, Any], folder: pathlib.Path) -> None:
  """Prints the accuracies as a table, best first, with what to know of them."""
  console = rich_console.Console(highlight=False)
  task = result['task']
  splits = task['splits']
  rows = table.Table(
    title=f'Fine-tuned accuracy on {task["name"]} '
    f'({splits["train"]["num_examples"]} training examples, '
    f'{task["num_classes"]} classes)',
    caption=f'of {splits["test"]["num_examples"]} test examples; ± is one '
    'standard error of such a sample',
  )
  rows.add_column('checkpoint', overflow='fold')
  for column in ('accuracy', 'validation', 'chosen', 'seconds'):
    rows.add_column(column, justify='right')
  ordered = sorted(result['accuracies'], key=lambda r: -r['accuracy'])
  for record in ordered:
    chosen = [record['trials'][index] for index in record['chosen']]
    validation = sum(trial['validation_accuracy'] for trial in chosen)
    rows.add_row(
      record['checkpoint'],
      f'{record["accuracy"]:.3f} ± {record["standard_error"]:.3f}'
      + ' (diverged)' * record['diverged'],
      f'{validation / len(chosen):.3f}',
      ', '.join(
        f'{trial["learning_rate"]:g} × {trial["steps"]}' for trial in chosen
      ),
      f'{record["seconds"]:.0f}',
    )
  console.print(rows)
  for colour, word, lines in (
    ('yellow', 'warning', _told(ordered)),
    (
      'red',
      'failed',
      [(e['checkpoint'], e['error']) for e in result['failed']],
    ),
  ):
    for name, text in lines:
      console.print(
        f'[{colour}]{word}[/] {markup.escape(f"{name}: {text}")}',
        soft_wrap=True,
      )
  console.print(
    f'Written to {folder}: report.html, accuracies.csv, accuracies/',
    soft_wrap=True,
  )


def _told(entries: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
  return [
    (record['checkpoint'], text)
    for record in entries
    for text in record['warnings']
  ]
