# SPDX-License-Identifier: Apache-2.0
"""Rankings as a person sees them in a terminal."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich import table

from neucrab_jax.reports import comparison, terminal

if TYPE_CHECKING:
  from neucrab_jax.ranking import record


def _title(ranking: record.Ranking, measures: str) -> str:
  task = ranking.task
  damaged = (
    f', damaged images left out: {task.num_damaged}' if task.num_damaged else ''
  )
  return (
    f'{measures} on {task.name} ({task.split}: '
    f'{task.num_examples} examples, {task.num_classes} classes{damaged})'
  )


# What is less rounds to none.
_SHOWN_SECONDS = 0.05


def _number(value: float | None) -> str:
  return '' if value is None else f'{value:.4f}'


def _table(ranking: record.Ranking) -> table.Table:
  """One ranking, with how sure it is of each place."""
  measure = ranking.measure
  caption = f'{measure.variant}; ± is one {measure.spread}; '
  if ranking.order is not None:
    caption += 'holds: chance to be truly above the next; '
  if any(e.compile_seconds >= _SHOWN_SECONDS for e in ranking.ranking):
    caption += 'seconds: + those of compiling; '
  rows = table.Table(
    title=_title(ranking, measure.name), caption=caption + 'larger is better'
  )
  for column in ('rank', 'score', '±', 'holds', 'D', 'seconds'):
    rows.add_column(column, justify='right')
  rows.columns.insert(1, table.Column('checkpoint', overflow='fold'))
  if ranking.race:
    rows.add_column('examples', justify='right')
  for entry in ranking.ranking:
    compiling = entry.compile_seconds
    seconds = f'{sum(entry.seconds.values()) - compiling:.1f}'
    if compiling >= _SHOWN_SECONDS:
      seconds += f' + {compiling:.1f}'
    holds = entry.above_next
    rows.add_row(
      str(entry.rank),
      terminal.one_line(entry.checkpoint),
      _number(entry.score),
      _number(entry.score_std),
      '' if holds is None else comparison.percent(holds),
      str(entry.feature_dim),
      seconds + ' (cached)' * entry.cached,
      *([str(comparison.num_examples(entry, ranking))] if ranking.race else []),
    )
  return rows


# Letters of a column of scores, and of the measures beside them.
_SCORE_WIDTH, _MEASURE_WIDTH = 10, 22


def _score_tables(
  rankings: Sequence[record.Ranking], *, width: int
) -> Iterator[table.Table]:
  """The score of each checkpoint by each measure, as many as have room."""
  names, _ = comparison.ranks(rankings)
  together = max((width - _MEASURE_WIDTH) // _SCORE_WIDTH, 1)
  for start in range(0, len(names), together):
    shown = names[start : start + together]
    rows = table.Table(title='score by each measure', padding=(0, 0, 0, 1))
    rows.add_column('measure', no_wrap=True)
    for number in range(start + 1, start + 1 + len(shown)):
      rows.add_column(str(number), justify='right', no_wrap=True)
    for ranking in rankings:
      scores = {entry.checkpoint: entry.score for entry in ranking.ranking}
      rows.add_row(
        ranking.measure.name,
        *(f'{scores[name]:.4g}' if name in scores else '' for name in shown),
      )
    yield rows


def _side_by_side(
  rankings: Sequence[record.Ranking],
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
    legend.add_row(
      str(number), terminal.one_line(name), f'{sum(known) / len(known):.1f}'
    )
    rows.add_column(str(number), justify='right', no_wrap=True)
  for ranking, row in zip(rankings, zip(*places, strict=True), strict=False):
    rows.add_row(
      ranking.measure.name,
      *('' if rank is None else str(rank) for rank in row),
    )
  return legend, rows


# Columns of text that no table needs.
_WIDEST = 10_000


def _warnings(ranking: record.Ranking) -> list[tuple[str, str]]:
  return [
    (entry.checkpoint, text)
    for entry in ranking.ranking
    for text in entry.warnings
  ]


def show(rankings: Sequence[record.Ranking], folder: pathlib.Path) -> None:
  """Prints rankings as a table, with their warnings and failures.

  Args:
    rankings: one for each measure of a run.
    folder: where they were written.
  """
  console = terminal.make_console()
  alone = len(rankings) == 1
  # Who scored nobody is told below.
  scored = [ranking for ranking in rankings if ranking.ranking]
  parts: Sequence[table.Table] = ()
  if scored and alone:
    parts = (_table(scored[0]),)
  elif scored:
    scores = _score_tables(scored, width=console.width)
    parts = (*_side_by_side(scored), *scores)
  for part in parts:
    width = console.width
    if not alone:
      # Numbers that are cut off say nothing: better a line that wraps.
      wide = console.options.update(width=_WIDEST)
      width = max(width, console.measure(part, options=wide).maximum)
    terminal.make_console(width=width).print(part)
  for ranking in rankings if alone else ():
    for text in (comparison.race(ranking), comparison.advice(ranking)):
      if text:
        console.print(text)
  for kind, told_by in (
    ('warning', _warnings),
    ('skipped', lambda r: [(s.checkpoint, s.reason) for s in r.skipped]),
    ('failed', lambda r: [(f.checkpoint, f.error) for f in r.failed]),
  ):
    for ranking in rankings:
      prefix = '' if alone else f'{ranking.measure.name}: '
      terminal.tell_of(console, kind, told_by(ranking), prefix=prefix)
  files = (
    'report.html, ranking.json, ranking.csv'
    if alone
    else 'report.html, and for each measure ranking.json, ranking.csv'
  )
  terminal.tell_files(console, folder, files)
