# SPDX-License-Identifier: Apache-2.0
"""Lines that all reports print in a terminal alike."""

import io
import pathlib
import sys
from collections.abc import Iterable

from rich import console as rich_console
from rich import text as rich_text

from neucrab_jax import spelling, stores

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


# Of what reports say, what has an ASCII spelling.
_ASCII = str.maketrans(
  {'±': '+-', 'τ': 'tau', '×': 'x', '…': '...', '–': '-', '−': '-', '→': '->'}
)


class _Console(rich_console.Console):
  """Prints names as the text that they are, on whatever terminal."""

  def render_str(self, text: str, **options) -> rich_text.Text:
    text = '\n'.join(map(spelling.visible, text.split('\n')))
    if not self.encoding.startswith('utf'):
      text = text.translate(_ASCII)
    return super().render_str(text, **options)


def one_line(name: str) -> str:
  """A name that keeps to its line, whatever is in it."""
  return spelling.visible(name)


def make_console(**options) -> rich_console.Console:
  """A console for which no name is markup, and no letter too much."""
  if isinstance(sys.stdout, io.TextIOWrapper):
    sys.stdout.reconfigure(errors='replace')
  return _Console(highlight=False, markup=False, emoji=False, **options)


def _listed(names: list[str]) -> str:
  if len(names) <= _MOST_LISTED:
    return ', '.join(names)
  others = len(names) - _MOST_LISTED
  return f'{", ".join(names[:_MOST_LISTED])} and {others} more'


def tell(console: rich_console.Console, kind: str, text: str) -> None:
  """Prints a line that begins with what kind it is of, such as 'warning'."""
  line = console.render_str(f'{kind} {one_line(text)}')
  line.stylize(_COLOURS[kind], 0, len(kind))
  console.print(line, soft_wrap=True)


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
  where = stores.address(folder) or folder
  console.print(f'Written to {where}: {files}', soft_wrap=True)
