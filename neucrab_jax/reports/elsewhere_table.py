# SPDX-License-Identifier: Apache-2.0
"""What is known of checkpoints from elsewhere, as a person sees it."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich import table

from neucrab_jax.reports import terminal

if TYPE_CHECKING:
  from neucrab_jax.benchmark.elsewhere import Entry


def _percent(share: float | None) -> str:
  return '–' if share is None else f'{100 * share:.0f} %'


def show(
  entries: Sequence[Entry],
  folder: pathlib.Path,
  *,
  file: str,
  left_out: Sequence[str],
) -> None:
  """Prints a row for each checkpoint, in the order measured here.

  Args:
    entries: one for each.
    folder: where they were written.
    file: to which file.
    left_out: tasks of the tables that may be the one at hand.
  """
  console = terminal.make_console()
  rows = table.Table(
    title='measured here, and known from elsewhere',
    caption='of the networks of each other task, as many per cent did worse: '
    'the mean over tasks; what is expected of a new task, with a 90 % range',
  )
  rows.add_column('checkpoint', overflow='fold')
  for column in ('rank here', 'elsewhere', 'expected', 'range', 'accuracies'):
    rows.add_column(column, justify='right')
  for entry in entries:
    span = '–'
    if entry.low is not None:
      span = f'{_percent(entry.low)} … {_percent(entry.high)}'
    rows.add_row(
      terminal.one_line(entry.checkpoint),
      f'{entry.rank:g}',
      _percent(entry.mean_rank),
      _percent(entry.expected),
      span,
      str(len(entry.tasks)),
    )
  console.print(rows)
  if left_out:
    terminal.tell(
      console,
      'note',
      f'Not used, because it may be this task: {", ".join(left_out)}.',
    )
  if not any(entry.tasks for entry in entries):
    terminal.tell(console, 'note', 'None of these names is known elsewhere.')
  terminal.tell_files(console, folder, file)
