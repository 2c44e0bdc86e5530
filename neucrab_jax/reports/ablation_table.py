# SPDX-License-Identifier: Apache-2.0
"""An ablation as a person sees it in a terminal."""

from __future__ import annotations

import pathlib
from typing import TYPE_CHECKING

from rich import table

from neucrab_jax.reports import terminal

if TYPE_CHECKING:
  from neucrab_jax.benchmark.record import Ablation


def show(ablation: Ablation, folder: pathlib.Path) -> None:
  """Prints the agreement under each setting, and who was left out."""
  console = terminal.make_console()
  rows = table.Table(
    title=f"Kendall's τ of NLEEP, {len(ablation.checkpoints)} checkpoints",
    caption='of the mean over seeds; ± is one standard deviation of a seed',
  )
  for column in ('energy', 'components per class', 'covariance', 'τ', '±'):
    rows.add_column(column, justify='right')
  for row in ablation.rows:
    rows.add_row(
      f'{row.energy:g}',
      str(row.components_per_class),
      row.covariance,
      terminal.number(row.tau),
      terminal.number(row.tau_std),
    )
  console.print(rows)
  if ablation.left_out:
    console.print(
      'No accuracy for, and left out: ' + ', '.join(ablation.left_out),
      soft_wrap=True,
      markup=False,
    )
  terminal.tell_files(
    console, folder, 'report.html, ablation.json, ablation.csv'
  )
