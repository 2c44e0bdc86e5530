# SPDX-License-Identifier: Apache-2.0
"""Rankings as a person sees them in a terminal, and how far they are."""

import contextlib
import dataclasses
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

from rich import console as rich_console
from rich import markup, progress, table

from neucrab_jax import parallel
from neucrab_jax.benchmark import comparison


@dataclasses.dataclass(frozen=True)
class Bar:
  """Where a run says what it does, and how much more of it is done."""

  describe: Callable[[str], None]
  advance: Callable[[int], None]


@contextlib.contextmanager
def bar(total: int) -> Iterator[Bar]:
  """A bar from nothing to `total`, with the time that is left."""
  bars = progress.Progress(
    progress.TextColumn('{task.description}'),
    progress.BarColumn(),
    progress.TaskProgressColumn(),
    progress.TimeElapsedColumn(),
    progress.TextColumn('left'),
    progress.TimeRemainingColumn(),
    console=rich_console.Console(stderr=True),
    disable=not parallel.is_primary(),
  )
  with bars:
    task = bars.add_task('', total=total)
    yield Bar(
      lambda text: bars.update(task, description=text),
      lambda count: bars.advance(task, count),
    )
    bars.update(task, description='done', completed=total)


def _title(ranking: dict[str, Any], measures: str) -> str:
  task = ranking['task']
  return (
    f'{measures} on {task["name"]} ({task["split"]}: '
    f'{task["num_examples"]} examples, {task["num_classes"]} classes)'
  )


def _number(value: float | None) -> str:
  return '' if value is None else f'{value:.4f}'


def _table(ranking: dict[str, Any]) -> table.Table:
  """One ranking, with how sure it is of each place."""
  measure = ranking['measure']
  caption = f'{measure["variant"]}; ± is one {measure["spread"]}; '
  if measure['num_resamples']:
    caption += 'holds: share of resamples above the next; '
  rows = table.Table(
    title=_title(ranking, measure['name']), caption=caption + 'larger is better'
  )
  for column in ('rank', 'score', '±', 'holds', 'D', 'seconds'):
    rows.add_column(column, justify='right')
  rows.columns.insert(1, table.Column('checkpoint', overflow='fold'))
  for entry in ranking['ranking']:
    seconds = sum(entry['seconds'].values())
    holds = entry.get('above_next')
    rows.add_row(
      str(entry['rank']),
      entry['checkpoint'],
      _number(entry['score']),
      _number(entry['score_std']),
      '' if holds is None else f'{holds:.0%}',
      str(entry['feature_dim']),
      f'{seconds:.1f}' + (' (cached)' if entry['cached'] else ''),
    )
  return rows


def _side_by_side(
  rankings: list[dict[str, Any]],
) -> tuple[table.Table, table.Table]:
  """The checkpoints, numbered, and their ranks by each measure."""
  names, places = comparison.ranks(rankings)
  legend = table.Table(
    title=_title(rankings[0], f'{len(rankings)} measures'),
    caption='by the mean of their ranks',
  )
  legend.add_column('no.', justify='right')
  legend.add_column('checkpoint', overflow='fold')
  legend.add_column('mean rank', justify='right')
  rows = table.Table(title='rank by each measure', padding=(0, 0, 0, 1))
  rows.add_column('measure', no_wrap=True)
  for number, (name, row) in enumerate(
    zip(names, places, strict=True), start=1
  ):
    known = [rank for rank in row if rank is not None]
    legend.add_row(str(number), name, f'{sum(known) / len(known):.1f}')
    rows.add_column(str(number), justify='right', no_wrap=True)
  for ranking, row in zip(rankings, zip(*places, strict=True), strict=False):
    rows.add_row(
      ranking['measure']['name'],
      *('' if rank is None else str(rank) for rank in row),
    )
  return legend, rows


# Columns of text that no table needs.
_WIDEST = 10_000

# Checkpoints that a line names before it breaks off.
_MOST_LISTED = 4


def _listed(names: list[str]) -> str:
  if len(names) <= _MOST_LISTED:
    return ', '.join(names)
  others = len(names) - _MOST_LISTED
  return f'{", ".join(names[:_MOST_LISTED])} and {others} more'


def _collect(rankings: list[dict[str, Any]], key: str, what: str) -> list[str]:
  """What is to be told, once for all checkpoints that it is true of."""
  lines = []
  for ranking in rankings:
    told: dict[str, list[str]] = {}
    for entry in ranking[key]:
      texts = entry[what] if isinstance(entry[what], list) else [entry[what]]
      for text in texts:
        told.setdefault(text, []).append(entry['checkpoint'])
    prefix = f'{ranking["measure"]["name"]}: ' if len(rankings) > 1 else ''
    lines += [
      markup.escape(f'{prefix}{_listed(names)}: {text}')
      for text, names in told.items()
    ]
  return lines


def show(rankings: list[dict[str, Any]], folder: pathlib.Path) -> None:
  """Prints rankings as a table, with their warnings and failures.

  Args:
    rankings: one for each measure of a run.
    folder: where they were written.
  """
  console = rich_console.Console(highlight=False)
  alone = len(rankings) == 1
  for part in (_table(rankings[0]),) if alone else _side_by_side(rankings):
    width = console.width
    if not alone:
      # Numbers that are cut off say nothing: better a line that wraps.
      wide = console.options.update(width=_WIDEST)
      width = max(width, console.measure(part, options=wide).maximum)
    rich_console.Console(highlight=False, width=width).print(part)
  for text in _collect(rankings, 'ranking', 'warnings'):
    console.print(f'[yellow]warning[/] {text}', soft_wrap=True)
  for text in _collect(rankings, 'skipped', 'reason'):
    console.print(f'[yellow]skipped[/] {text}', soft_wrap=True)
  for text in _collect(rankings, 'failed', 'error'):
    console.print(f'[red]failed[/] {text}', soft_wrap=True)
  files = (
    'report.html, ranking.json, ranking.csv'
    if alone
    else 'report.html, and for each measure ranking.json, ranking.csv'
  )
  console.print(f'Written to {folder}: {files}', soft_wrap=True)
