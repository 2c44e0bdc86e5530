# SPDX-License-Identifier: Apache-2.0
"""A ranking as a person sees it in a terminal."""

import pathlib
from typing import Any

from rich import console as rich_console
from rich import markup, table


def _plain(entry: dict[str, Any], text: str) -> str:
  return markup.escape(f'{entry["checkpoint"]}: {text}')


def show(ranking: dict[str, Any], folder: pathlib.Path) -> None:
  """Prints a ranking as a table, with its warnings and failures."""
  console = rich_console.Console(highlight=False)
  measure, task = ranking['measure'], ranking['task']
  rows = table.Table(
    title=f'{measure["name"]} on {task["name"]} ({task["split"]}: '
    f'{task["num_examples"]} examples, {task["num_classes"]} classes)',
    caption=f'{measure["variant"]}; ± is one '
    f'{measure["spread"]}; larger is better',
  )
  for column in ('rank', 'score', '±', 'D', 'seconds'):
    rows.add_column(column, justify='right')
  rows.columns.insert(1, table.Column('checkpoint', overflow='fold'))
  for entry in ranking['ranking']:
    seconds = sum(entry['seconds'].values())
    rows.add_row(
      str(entry['rank']),
      entry['checkpoint'],
      f'{entry["score"]:.4f}',
      f'{entry["score_std"]:.4f}',
      str(entry['feature_dim']),
      f'{seconds:.1f}' + (' (cached)' if entry['cached'] else ''),
    )
  console.print(rows)
  for entry in ranking['ranking']:
    for warning in entry['warnings']:
      console.print(
        f'[yellow]warning[/] {_plain(entry, warning)}', soft_wrap=True
      )
  for entry in ranking['failed']:
    console.print(
      f'[red]failed[/] {_plain(entry, entry["error"])}', soft_wrap=True
    )
  console.print(
    f'Written to {folder}: report.html, ranking.json, ranking.csv',
    soft_wrap=True,
  )
