# SPDX-License-Identifier: Apache-2.0
"""Lines that all reports print in a terminal alike."""

import pathlib
from collections.abc import Iterable

from rich import console as rich_console
from rich import markup

_COLOURS = {
  'warning': 'yellow',
  'note': 'yellow',
  'skipped': 'yellow',
  'failed': 'red',
}

# Checkpoints that a line names before it breaks off.
_MOST_LISTED = 4


def number(value: float | None) -> str:
  """With three digits; what is not defined is a dash."""
  return '–' if value is None else f'{value:.3f}'


def make_console(**options) -> rich_console.Console:
  return rich_console.Console(highlight=False, **options)


def _listed(names: list[str]) -> str:
  if len(names) <= _MOST_LISTED:
    return ', '.join(names)
  others = len(names) - _MOST_LISTED
  return f'{", ".join(names[:_MOST_LISTED])} and {others} more'


def tell(console: rich_console.Console, kind: str, text: str) -> None:
  """Prints a line that begins with what kind it is of, such as 'warning'."""
  console.print(
    f'[{_COLOURS[kind]}]{kind}[/] {markup.escape(text)}', soft_wrap=True
  )


def tell_of(
  console: rich_console.Console,
  kind: str,
  told: Iterable[tuple[str, str]],
  *,
  prefix: str = '',
) -> None:
  """Prints what is to be told, once for all checkpoints that it is true of.

  Args:
    console: where to.
    kind: what each line begins with.
    told: names of checkpoints, and a text for each.
    prefix: of each line, after its kind.
  """
  names: dict[str, list[str]] = {}
  for name, text in told:
    names.setdefault(text, []).append(name)
  for text, alike in names.items():
    tell(console, kind, f'{prefix}{_listed(alike)}: {text}')


def tell_files(
  console: rich_console.Console, folder: pathlib.Path, files: str
) -> None:
  """Prints where the results are."""
  console.print(markup.escape(f'Written to {folder}: {files}'), soft_wrap=True)
