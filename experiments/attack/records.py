# SPDX-License-Identifier: Apache-2.0
"""Routes: CSVs and records that a user hands to `evaluate`."""

import copy
import functools
import json
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from experiments.attack import cases, commands, feature_files

_ACCURACIES = {'a': 0.3, 'b': 0.55, 'c': 0.8}


def _csv(rows: dict[str, float], *, header: str = 'checkpoint,accuracy') -> str:
  return '\n'.join([header, *(f'{k},{v}' for k, v in rows.items())]) + '\n'


_PLAIN = _csv(_ACCURACIES)

# The same table.
_SAME: dict[str, bytes] = {
  'CRLF': _PLAIN.replace('\n', '\r\n').encode(),
  'byte order mark': _PLAIN.encode('utf-8-sig'),
  'reordered': _csv(dict(reversed(_ACCURACIES.items()))).encode(),
  'quoted': _PLAIN.replace('a,', '"a",').encode(),
  'no last line end': _PLAIN.rstrip().encode(),
  'task': _csv(
    {f'{name},flowers': value for name, value in _ACCURACIES.items()},
    header='checkpoint,task,accuracy',
  ).encode(),
}

_BAD: dict[str, bytes] = {
  'empty': b'',
  'header alone': b'checkpoint,accuracy\n',
  'no header': _PLAIN.partition('\n')[2].encode(),
  'semicolons': _PLAIN.replace(',', ';').encode(),
  'UTF-16': _PLAIN.encode('utf-16'),
  'Latin-1': _PLAIN.replace('a,', 'é,').encode('latin-1'),
  'percent': _PLAIN.replace('0.3', '30%').encode(),
  'above one': _PLAIN.replace('0.3', '30').encode(),
  'negative': _PLAIN.replace('0.3', '-0.3').encode(),
  'Inf': _PLAIN.replace('0.3', 'inf').encode(),
  'long row': _PLAIN.replace('0.3', '0.3,1,2').encode(),
  'contradiction': (_PLAIN + 'a,0.9\n').encode(),
  'long cell': (_PLAIN + 'd,' + '1' * 140_000 + '\n').encode(),
  'open quote': (_PLAIN + '"d,0.1\n').encode(),
  'words': _PLAIN.replace('0.3', 'good').encode(),
}

_ODD: dict[str, bytes] = {
  # Unknown is what is not given.
  'NaN': _PLAIN.replace('0.3', 'nan').encode(),
  'missing': _PLAIN.replace('0.3', '').encode(),
  'short row': _PLAIN.replace(',0.3', '').encode(),
  'blank lines': _PLAIN.replace('\n', '\n\n').encode(),
  'blanks': _PLAIN.replace(',', ', ').encode(),
  'unknown names': _PLAIN.replace('a,', 'z,').encode(),
  'same twice': (_PLAIN + 'a,0.3\n').encode(),
  'zero byte': _PLAIN.replace('a,', 'a\0,').encode(),
  'equal': _csv(dict.fromkeys(_ACCURACIES, 0.5)).encode(),
  'one row': b'checkpoint,accuracy\na,0.3\n',
  'exponents': _PLAIN.replace('0.3', '3e-1').encode(),
  'long exponent': _PLAIN.replace('0.3', '1e-9999').encode(),
  'formulas': _PLAIN.replace('a,', '=a,').encode(),
  'noise': bytes(range(256)) * 3,
}


@functools.cache
def _ranking(folder: pathlib.Path) -> dict[str, Any]:
  files = folder / 'flowers'
  feature_files.write(files)
  commands.rank_files(files, folder / 'ranked')
  return json.loads((folder / 'ranked' / 'ranking.json').read_text())


def _prepare(folder: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path]:
  """A ranking and a table of accuracies that are sound."""
  ranking, table = folder / 'ranking.json', folder / 'flowers.csv'
  ranking.write_text(json.dumps(_ranking(folder.parent)))
  table.write_text(_PLAIN)
  return ranking, table


def make_csv(rng: np.random.Generator, folder: pathlib.Path) -> cases.Case:
  """Makes an odd table of accuracies."""
  ranking, table = _prepare(folder)
  kind, contents = (('same', _SAME), ('bad', _BAD), ('odd', _ODD))[
    rng.integers(3)
  ]
  right = {'bad': cases.REFUSAL, 'odd': cases.ANYTHING}.get(kind)
  if kind == 'same':
    right = commands.evaluated(ranking, table, folder / 'plain')
  about = list(contents)[rng.integers(len(contents))]
  table.write_bytes(contents[about])
  return cases.Case(
    about,
    lambda: commands.evaluated(ranking, table, folder / 'run'),
    right,
    may_refuse=kind != 'same',
  )


def _places(value: Any, above: tuple = ()) -> Iterator[tuple]:
  """The paths of all that is in a record."""
  yield above
  if isinstance(value, dict | list):
    keys = value if isinstance(value, dict) else range(len(value))
    for key in keys:
      yield from _places(value[key], (*above, key))


# What is put in the place of something.
_VALUES: tuple[Any, ...] = (
  None, True, '', 'x', '\ud7ff', 0, -1, 0.5, 1e308, 2**63, 2**70, [], [None],
  {}, {'x': 1}, [[[[]]]], float('nan'), float('inf'), 'nan', '1',
)  # fmt: skip


def mutate(rng: np.random.Generator, record: Any) -> tuple[str, Any]:
  """Replaces, drops or adds something in a copy of a record."""
  record = copy.deepcopy(record)
  places = [place for place in _places(record) if place]
  place = places[rng.integers(len(places))]
  inner = record
  for key in place[:-1]:
    inner = inner[key]
  if rng.integers(4) == 0:
    del inner[place[-1]]
    return f'without {place}', record
  if isinstance(inner, dict) and rng.integers(4) == 0:
    inner['unheard'] = 1
    return f'more at {place[:-1]}', record
  value = _VALUES[rng.integers(len(_VALUES))]
  inner[place[-1]] = value
  return f'{place} is {value!r}', record


def _spoil_text(rng: np.random.Generator, file: pathlib.Path) -> str:
  content = bytearray(file.read_bytes())
  kind = rng.choice(['flip', 'cut', 'encoding', 'nested'])
  if kind == 'flip':
    content[rng.integers(len(content))] ^= 1 << rng.integers(8)
  elif kind == 'cut':
    del content[rng.integers(len(content)) :]
  elif kind == 'encoding':
    content = bytearray(content.decode().encode('utf-16'))
  else:
    content = bytearray(b'[' * 100_000)
  file.write_bytes(content)
  return str(kind)


def _replace_by_special(file: pathlib.Path, kind: int) -> str:
  """Puts something in the place of a file that is none."""
  file.unlink()
  if kind == 0:
    os.mkfifo(file)
  elif kind == 1:
    file.symlink_to('/dev/zero')
  else:
    file.mkdir()
  return ('pipe', 'device', 'folder')[kind]


def make_ranking(rng: np.random.Generator, folder: pathlib.Path) -> cases.Case:
  """Makes an odd `ranking.json`."""
  ranking, table = _prepare(folder)
  special = rng.integers(12)
  if special < 3:
    about = _replace_by_special(ranking, int(special))
  elif special < 10:
    about, record = mutate(rng, _ranking(folder.parent))
    ranking.write_text(json.dumps(record))
  else:
    about = _spoil_text(rng, ranking)
  return cases.Case(
    about, lambda: commands.evaluated(ranking, table, folder / 'run')
  )
