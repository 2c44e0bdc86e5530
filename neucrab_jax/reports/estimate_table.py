# SPDX-License-Identifier: Apache-2.0
"""How long fine-tuning would take, as a person sees it in a terminal."""

from __future__ import annotations

import pathlib
from typing import TYPE_CHECKING

from rich import table

from neucrab_jax.reports import terminal

if TYPE_CHECKING:
  from neucrab_jax.finetuning.estimate import Estimate


def duration(seconds: float) -> str:
  """Seconds as people read them.

  >>> [duration(s) for s in (4.2, 90, 5400, 360000)]
  ['4 s', '1.5 min', '1.5 h', '100 h']
  """
  for unit, size in (('h', 3600), ('min', 60)):
    if seconds >= size:
      value = seconds / size
      return f'{value:.1f} {unit}' if value < 10 else f'{value:.0f} {unit}'
  return f'{seconds:.0f} s'


def show(found: Estimate, folder: pathlib.Path) -> None:
  """Prints what each checkpoint would take, and all of them."""
  console = terminal.make_console()
  about = found.environment
  rows = table.Table(
    title=f'Fine-tuning on {found.task.name}, {about.devices} × '
    f'{about.backend}, as measured here',
    caption='all: with restoring, compiling and validations',
  )
  rows.add_column('checkpoint', overflow='fold')
  for column in ('trials', 'steps', 'seconds a step', 'all'):
    rows.add_column(column, justify='right')
  for row in found.rows:
    rows.add_row(
      terminal.one_line(row.checkpoint),
      str(row.trials),
      str(row.steps),
      f'{row.step_seconds:.3g}',
      duration(row.seconds),
    )
  if found.rows:
    rows.add_section()
    trials, steps = (
      sum(getattr(row, name) for row in found.rows)
      for name in ('trials', 'steps')
    )
    rows.add_row(
      f'{len(found.rows)} checkpoints',
      str(trials),
      str(steps),
      '',
      duration(found.seconds),
    )
    console.print(rows)
  terminal.tell_of(
    console, 'failed', [(one.checkpoint, one.error) for one in found.failed]
  )
  terminal.tell_files(console, folder, 'estimate.json')
