# SPDX-License-Identifier: Apache-2.0
"""An evaluation as a person sees it in a terminal."""

from __future__ import annotations

import pathlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from rich import box, table
from rich import console as rich_console

from neucrab_jax.reports import terminal

if TYPE_CHECKING:
  from neucrab_jax.benchmark.record import Alignment, Evaluation, Row

# The other reading of Recall is in the files.
_MOST_COLUMNS = 7
_SIGNIFICANT = 0.05
# Letters of a name: with them, a table fits into 80 columns.
_NAME = 14


def _tau(row: Row) -> str:
  """τ with its interval, and a star where chance hardly gets as far."""
  cell = row.average['kendall_tau']
  if cell.value is None:
    return '–'
  star = '*' if (row.p_value or 1) < _SIGNIFICANT else ''
  span = f'\n{cell.low:.2f}…{cell.high:.2f}' if cell.low is not None else ''
  return f'{terminal.number(cell.value)}{star}{span}'


def _show_alignment(
  console: rich_console.Console,
  aligned: Alignment,
  labels: Mapping[str, str],
) -> None:
  columns = list(labels)[:_MOST_COLUMNS]
  rows = table.Table(
    title=f'{aligned.group}: accuracies are {aligned.accuracy} '
    f'({len(aligned.checkpoints)} checkpoints; {", ".join(aligned.tasks)})',
    caption='mean over tasks; below τ its 95 % interval, resampling '
    f'{", ".join(aligned.resampled)}; * p < {_SIGNIFICANT} by permutation',
    box=box.SIMPLE_HEAD,
    pad_edge=False,
    collapse_padding=True,
  )
  rows.add_column('', min_width=_NAME)
  for metric in columns:
    heading = labels[metric].replace('@', '\n@').replace(' ', '\n')
    rows.add_column(heading, justify='right')
  role = None
  for row in aligned.rows:
    if role not in (None, row.role):
      rows.add_section()
    role = row.role
    rows.add_row(
      row.name,
      *(
        _tau(row)
        if metric == 'kendall_tau'
        else terminal.number(row.average[metric].value)
        for metric in columns
      ),
    )
  console.print(rows)
  for note in aligned.notes:
    terminal.tell(console, 'note', note)
  holding = [c for c in aligned.comparisons if c.p_holm < _SIGNIFICANT]
  if aligned.comparisons:
    console.print(
      f'{len(holding)} of {len(aligned.comparisons)} differences in τ hold '
      'after correction'
      + ''.join(f'; {c.better} beats {c.worse}' for c in holding)
      + '.',
      soft_wrap=True,
      markup=False,
    )
  if len(aligned.tasks) > 1:
    _show_tasks(console, aligned)


def _show_tasks(console: rich_console.Console, aligned: Alignment) -> None:
  """A table of τ; of tasks and predictors, what is more goes down."""
  rows = table.Table(title='Kendall τ on each task')
  rows.add_column('', overflow='fold')
  cells = {
    row.name: [
      terminal.number(row.tasks[task].metrics['kendall_tau'].value)
      for task in aligned.tasks
    ]
    for row in aligned.rows
  }
  columns: Iterable[str] = aligned.tasks
  if len(aligned.tasks) > len(cells):
    columns = cells
    cells = dict(
      zip(aligned.tasks, zip(*cells.values(), strict=True), strict=True)
    )
  for column in columns:
    rows.add_column(column, justify='right', overflow='fold')
  for name, taus in cells.items():
    rows.add_row(name, *taus)
  console.print(rows)


def show(
  evaluation: Evaluation, folder: pathlib.Path, *, labels: Mapping[str, str]
) -> None:
  """Prints each alignment's table, its notes, and which of two is better.

  Args:
    evaluation: the record.
    folder: where it was written.
    labels: what to call each metric.
  """
  console = terminal.make_console()
  for aligned in evaluation.alignments:
    _show_alignment(console, aligned, labels)
  terminal.tell_files(
    console, folder, 'report.html, evaluation.json, evaluation.csv'
  )
