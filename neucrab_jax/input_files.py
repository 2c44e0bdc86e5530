# SPDX-License-Identifier: Apache-2.0
"""Files that a user names: found by pattern, and the cells of CSVs checked."""

import csv
import glob
import math
import os
import pathlib
from collections.abc import Iterator, Sequence

from neucrab_jax import stores, untrusted


def _glob(pattern: str) -> list[pathlib.Path]:
  """What matches, be it that a folder's name has brackets of its own."""
  expanded = os.path.expanduser(pattern)
  folder, name = os.path.split(expanded)
  matches = (
    [expanded] * os.path.exists(expanded)
    or glob.glob(expanded)
    or glob.glob(os.path.join(glob.escape(folder), name))
  )
  return [pathlib.Path(match) for match in matches]


def _below(folder: pathlib.Path, inside: Sequence[str]) -> list[pathlib.Path]:
  found = (sorted(folder.glob(pattern)) for pattern in inside)
  return next(filter(None, found), [])


def _files(match: pathlib.Path, inside: Sequence[str]) -> list[pathlib.Path]:
  """What a match stands for: itself, or of a folder those below it."""
  if not match.is_dir():
    return [match]
  # A folder that is called like a file is one to be refused by name.
  is_called_so = match.suffix and any(
    match.match(f'*{pathlib.PurePath(pattern).suffix}') for pattern in inside
  )
  return _below(match, inside) or [match] * bool(is_called_so)


def find(
  patterns: str | Sequence[str],
  *,
  setting: str,
  inside: Sequence[str] = ('**/ranking.json',),
) -> list[pathlib.Path]:
  """The files that are meant.

  Args:
    patterns: globs and folders, as a list or separated by commas.
    setting: what to call them in an error.
    inside: of a folder, which of the files below it; of several globs,
      those of the first that matches.

  Raises:
    ValueError: if a pattern matches nothing.
  """
  if isinstance(patterns, str):
    patterns = patterns.split(',')
  found: dict[pathlib.Path, None] = {}
  for pattern in filter(None, (part.strip() for part in patterns)):
    if stores.is_address(pattern):
      matches = stores.fetch_matches(pattern)
    else:
      untrusted.check_local(pattern)
      matches = _glob(pattern)
    files = sorted(file for match in matches for file in _files(match, inside))
    if not files:
      raise ValueError(
        f'No file matches {pattern!r} of {setting}. Give files, folders or '
        'patterns in quotes, separated by commas.'
      )
    found.update(dict.fromkeys(files))
  return list(found)


def rows(file: pathlib.Path) -> Iterator[tuple[str, dict[str, str]]]:
  """The rows of a CSV, each with where it is.

  Raises:
    ValueError: if it is no CSV in UTF-8, no column says which checkpoint, or
      there is no row.
  """
  try:
    yield from _rows(file)
  except UnicodeDecodeError as error:
    raise ValueError(
      f'{str(file)!r} is no text in UTF-8: {error.reason} at byte '
      f'{error.start}. Save it as "CSV UTF-8".'
    ) from error
  except csv.Error as error:
    raise ValueError(f'{str(file)!r} is no CSV: {error}.') from error


def _check_columns(file: pathlib.Path, columns: Sequence[str]) -> None:
  """Refuses a header without checkpoints, or with a column twice."""
  if 'checkpoint' not in columns:
    separators = [
      name
      for mark, name in ((';', 'semicolons'), ('\t', 'tabs'))
      if any(mark in column for column in columns)
    ]
    remedy = (
      f'Its cells must be separated by commas, not {separators[0]}.'
      if separators
      else 'Its first line must name the columns, one of them so.'
    )
    raise ValueError(
      f"{str(file)!r} has no column 'checkpoint'; its columns are "
      f'{", ".join(columns) or "none"}. {remedy}'
    )
  twice = [column for column in columns if columns.count(column) > 1]
  if twice:
    raise ValueError(f'{str(file)!r} has two columns {twice[0]!r}. Remove one.')


def _rows(file: pathlib.Path) -> Iterator[tuple[str, dict[str, str]]]:
  cells = None
  try:
    untrusted.check_regular(file)
  except ValueError as error:
    raise ValueError(f'{str(file)!r} is no CSV: {error}.') from error
  with file.open(newline='', encoding='utf-8-sig') as lines:
    reader = csv.DictReader(lines, strict=True)
    columns = [column.strip() for column in reader.fieldnames or []]
    reader.fieldnames = columns
    _check_columns(file, columns)
    for cells in reader:
      where = f'{str(file)!r}, line {reader.line_num}'
      if None in cells or None in cells.values():
        more = 'more' if None in cells else 'fewer'
        raise ValueError(
          f'{where}: there are {more} cells than the {len(columns)} columns.'
        )
      row = {column: cell.strip() for column, cell in cells.items()}
      if not row['checkpoint']:
        raise ValueError(f'{where}: there is no name of a checkpoint.')
      yield where, row
  if cells is None:
    raise ValueError(f'{str(file)!r} has a header and no rows.')


def number(where: str, column: str, text: str | None) -> float | None:
  """A cell's number; none where it is empty or NaN.

  Raises:
    ValueError: if it is something else, or infinite.
  """
  if text is None or not text.strip():
    return None
  try:
    value = float(text)
  except ValueError:
    raise ValueError(
      f'{where}: {column} is {text!r}, which is no number.'
    ) from None
  if math.isinf(value):
    raise ValueError(
      f'{where}: {column} is infinite. Leave empty what is not known.'
    )
  return None if math.isnan(value) else value
