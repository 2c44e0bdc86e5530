# SPDX-License-Identifier: Apache-2.0
"""Fine-tuned accuracies as a person sees them in a terminal."""

from __future__ import annotations

import pathlib
from typing import TYPE_CHECKING

from rich import table

from neucrab_jax.reports import terminal

if TYPE_CHECKING:
  from neucrab_jax.finetuning.run import Result


def show(result: Result, folder: pathlib.Path) -> None:
  """Prints the accuracies as a table, best first, with what to know of them."""
  console = terminal.make_console()
  task = result.task
  rows = table.Table(
    title=f'Fine-tuned accuracy on {task.name} '
    f'({task.splits["train"].num_examples} training examples, '
    f'{task.num_classes} classes)',
    caption=f'of {task.splits["test"].num_examples} test examples; ± is one '
    'standard error of such a sample; seconds: of training + of compiling',
  )
  rows.add_column('checkpoint', overflow='fold')
  for column in ('accuracy', 'validation', 'chosen', 'seconds'):
    rows.add_column(column, justify='right')
  ordered = sorted(result.accuracies, key=lambda a: -a.accuracy)
  for accuracy in ordered:
    chosen = accuracy.chosen_trials()
    compiling = round(accuracy.compile_seconds)
    validation = sum(trial.validation_accuracy for trial in chosen)
    rows.add_row(
      terminal.one_line(accuracy.checkpoint),
      f'{accuracy.accuracy:.3f} ± {accuracy.standard_error:.3f}'
      + (f' ({accuracy.doubt})' if accuracy.doubt else ''),
      f'{validation / len(chosen):.3f}',
      ', '.join(f'{trial.learning_rate:g} × {trial.steps}' for trial in chosen),
      f'{accuracy.seconds:.0f}' + (f' + {compiling}' if compiling else ''),
    )
  if ordered:
    console.print(rows)
  warnings = [(a.checkpoint, text) for a in ordered for text in a.warnings]
  failures = [(f.checkpoint, f.error) for f in result.failed]
  terminal.tell_of(console, 'warning', warnings)
  terminal.tell_of(console, 'failed', failures)
  terminal.tell_files(
    console, folder, 'report.html, accuracies.csv, accuracies/'
  )
