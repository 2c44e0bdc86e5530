# SPDX-License-Identifier: Apache-2.0
"""An evaluation as a person sees it in a terminal."""

import pathlib
from typing import Any

from rich import box, markup, table
from rich import console as rich_console

from neucrab_jax.benchmark import metrics

# The other reading of Recall is in the files.
_COLUMNS = tuple(metrics.METRICS)[:7]
_SIGNIFICANT = 0.05
# Letters of a name: with them, a table fits into 80 columns.
_NAME = 14


def number(value: float | None) -> str:
  return '–' if value is None else f'{value:.3f}'


def _tau(row: dict[str, Any]) -> str:
  """τ with its interval, and a star where chance hardly gets as far."""
  cell = row['average']['kendall_tau']
  if cell['value'] is None:
    return '–'
  star = '*' if (row.get('p_value') or 1) < _SIGNIFICANT else ''
  span = (
    f'\n{cell["low"]:.2f}…{cell["high"]:.2f}' if cell['low'] is not None else ''
  )
  return f'{number(cell["value"])}{star}{span}'


def _show_contest(console: rich_console.Console, duel: dict[str, Any]) -> None:
  rows = table.Table(
    title=f'{duel["group"]}: truth is {duel["truth"]} '
    f'({len(duel["checkpoints"])} checkpoints; {", ".join(duel["tasks"])})',
    caption='mean over tasks; below τ its 95 % interval, resampling '
    f'{", ".join(duel["resampled"])}; * p < {_SIGNIFICANT} by permutation',
    box=box.SIMPLE_HEAD,
    pad_edge=False,
    collapse_padding=True,
  )
  rows.add_column('', min_width=_NAME)
  for metric in _COLUMNS:
    label = metrics.METRICS[metric][0]
    heading = label.replace('@', '\n@').replace(' ', '\n')
    rows.add_column(heading, justify='right')
  role = None
  for row in duel['rows']:
    if role not in (None, row['role']):
      rows.add_section()
    role = row['role']
    rows.add_row(
      row['name'],
      *(
        _tau(row)
        if metric == 'kendall_tau'
        else number(row['average'][metric]['value'])
        for metric in _COLUMNS
      ),
    )
  console.print(rows)
  for note in duel['notes']:
    console.print(f'[yellow]note[/] {markup.escape(note)}', soft_wrap=True)
  holding = [c for c in duel['comparisons'] if c['p_holm'] < _SIGNIFICANT]
  if duel['comparisons']:
    console.print(
      f'{len(holding)} of {len(duel["comparisons"])} differences in τ hold '
      'after correction'
      + ''.join(f'; {c["better"]} beats {c["worse"]}' for c in holding)
      + '.',
      soft_wrap=True,
      markup=False,
    )
  if len(duel['tasks']) > 1:
    _show_tasks(console, duel)


def _show_tasks(console: rich_console.Console, duel: dict[str, Any]) -> None:
  rows = table.Table(title='Kendall τ on each task')
  rows.add_column('', overflow='fold')
  for task in duel['tasks']:
    rows.add_column(task, justify='right')
  for row in duel['rows']:
    rows.add_row(
      row['name'],
      *(
        number(row['tasks'][task]['metrics']['kendall_tau']['value'])
        for task in duel['tasks']
      ),
    )
  console.print(rows)


def show(evaluation: dict[str, Any], folder: pathlib.Path) -> None:
  """Prints each contest's table, its notes, and who beats whom."""
  console = rich_console.Console(highlight=False)
  for duel in evaluation['contests']:
    _show_contest(console, duel)
  console.print(
    f'Written to {folder}: report.html, evaluation.json, evaluation.csv',
    soft_wrap=True,
  )
