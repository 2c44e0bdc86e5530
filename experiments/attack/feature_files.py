# SPDX-License-Identifier: Apache-2.0
"""Route: files of features, one of which is odd, beside sound ones."""

import functools
import io
import os
import pathlib
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np

from experiments.attack import cases, commands

_N, _D = 48, 8
_NAMES = ('a', 'b', 'c')
_SPOILT = 'b'


@functools.cache
def _plain() -> dict[str, dict[str, np.ndarray]]:
  rng = np.random.default_rng(0)
  labels = np.arange(_N) % 3
  files = {}
  for strength, name in enumerate(_NAMES, start=1):
    centres = strength * rng.standard_normal((3, _D))
    x = centres[labels] + rng.standard_normal((_N, _D))
    x = x.astype(np.float16).astype(np.float32)
    files[name] = {'features': x, 'labels': labels}
  return files


def write(folder: pathlib.Path) -> None:
  """Writes sound files."""
  folder.mkdir(parents=True, exist_ok=True)
  for name, arrays in _plain().items():
    np.savez(folder / f'{name}.npz', **arrays)


def _save(file: pathlib.Path, **changes: Any) -> None:
  arrays = {**_plain()[_SPOILT], **changes}
  np.savez(file, **{k: v for k, v in arrays.items() if v is not None})


def _member(file: pathlib.Path, name: str, content: bytes) -> None:
  """Replaces a member of the archive by bytes."""
  with zipfile.ZipFile(file) as packed:
    members = {each: packed.read(each) for each in packed.namelist()}
  with zipfile.ZipFile(file, 'w') as packed:
    for each, old in {**members, name: content}.items():
      packed.writestr(each, content if each == name else old)


def _header(shape: str, descr: str = "'<f4'") -> bytes:
  head = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n"
  length = len(head).to_bytes(2, 'little')
  return b'\x93NUMPY\x01\x00' + length + head.encode()


def _flip(file: pathlib.Path, rng: np.random.Generator) -> None:
  """Flips one bit."""
  content = bytearray(file.read_bytes())
  content[rng.integers(len(content))] ^= 1 << rng.integers(8)
  file.write_bytes(content)


def _cut(file: pathlib.Path, rng: np.random.Generator) -> None:
  content = file.read_bytes()
  file.write_bytes(content[: rng.integers(len(content))])


def _replace(file: pathlib.Path, make: Callable[[], None]) -> None:
  file.unlink()
  make()


# The same in another form: it scores as the plain file does.
_FORMS = {
  'float64': lambda x: x.astype(np.float64),
  'float16': lambda x: x.astype(np.float16),
  'big-endian': lambda x: x.astype('>f8'),
  'Fortran order': np.asfortranarray,
}
_LABEL_FORMS = ('i1', 'u1', 'i2', 'u2', 'i4', 'u4', 'i8', 'u8', '>i2', '>u8')

# None of them can be scored.
_BAD = {
  'NaN': lambda f, rng: _save(f, features=np.full((_N, _D), np.nan)),
  'no features': lambda f, rng: _save(f, features=None),
  'no labels': lambda f, rng: _save(f, labels=None),
  'other labels': lambda f, rng: _save(f, labels=np.arange(_N) % 4),
  'short': lambda f, rng: _save(f, labels=np.arange(_N - 1) % 3),
  'maps': lambda f, rng: _save(f, features=np.ones((_N, 2, 2, _D))),
  'words': lambda f, rng: _save(f, features=np.full((_N, _D), 'x')),
  'beyond f32': lambda f, rng: _save(f, features=np.full((_N, _D), 1e300)),
  'text': lambda f, rng: f.write_text('features'),
  'empty': lambda f, rng: f.write_bytes(b''),
  'npy': lambda f, rng: f.write_bytes(_header('(2,)') + b'\0' * 8),
  'cut': _cut,
  'raw member': lambda f, rng: _member(f, 'features.npy', b'raw'),
  '10**12 rows': lambda f, rng: _member(
    f, 'features.npy', _header(f'({10**12}, 8)')
  ),
  '10**23 rows': lambda f, rng: _member(
    f, 'features.npy', _header(f'({10**23}, 8)')
  ),
  'negative rows': lambda f, rng: _member(
    f, 'features.npy', _header('(-1, 8)') + b'\0' * 32
  ),
  'no dtype': lambda f, rng: _member(
    f, 'features.npy', _header('(1, 8)', "'<q9'") + b'\0' * 32
  ),
  'code': lambda f, rng: _member(
    f, 'features.npy', _header('__import__("os").getcwd()')
  ),
  'pipe': lambda f, rng: _replace(f, lambda: os.mkfifo(f)),
  'device': lambda f, rng: _replace(f, lambda: f.symlink_to('/dev/zero')),
  'folder': lambda f, rng: _replace(f, f.mkdir),
  'broken link': lambda f, rng: _replace(f, lambda: f.symlink_to('nowhere')),
  'loop of links': lambda f, rng: _replace(f, lambda: f.symlink_to(f.name)),
}

_PROVENANCES = (
  '[' * 5000 + ']' * 5000, '[1]', 'null', '{"sha256": 1}', '{"sha256": ""}',
  '{"key": {}}', '{"\ud7ff": 1e999}', '', '{"a": NaN}',
)  # fmt: skip

_ODD_NAMES = (
  '[red]', 'vit[augreg]', '=cmd', '@x', '-1', '+1', '$\\frac{1}$', '%s',
  '{0}', '\x1b[31m', 'a\rb', 'a\nb', 'τ', '名', 'x' * 240, '<b>', '&amp;', "'",
  '"', ' ', '.hidden', 'a,b', '*', '?', '#', 'CON', '\u202e', 'None', '0',
)  # fmt: skip


def _npz(arrays: dict[str, np.ndarray]) -> bytes:
  file = io.BytesIO()
  np.savez(file, **arrays)
  return file.getvalue()


def _spoil(
  rng: np.random.Generator, file: pathlib.Path
) -> tuple[str, str | None]:
  """Makes the file odd: what it is, and whether it is 'same' or 'bad'."""
  kind = rng.choice(['form', 'labels', 'bad', 'bad', 'flip', 'provenance'])
  if kind == 'form':
    form = list(_FORMS)[rng.integers(len(_FORMS))]
    _save(file, features=_FORMS[form](_plain()[_SPOILT]['features']))
    return form, 'same'
  if kind == 'labels':
    form = _LABEL_FORMS[rng.integers(len(_LABEL_FORMS))]
    _save(file, labels=(np.arange(_N) % 3).astype(form))
    return f'labels, {form}', 'same'
  if kind == 'bad':
    about = list(_BAD)[rng.integers(len(_BAD))]
    _BAD[about](file, rng)
    return about, 'bad'
  if kind == 'flip':
    # Its archive has a checksum of each array: what changed is noticed.
    _flip(file, rng)
    return 'a flipped bit', None
  text = _PROVENANCES[rng.integers(len(_PROVENANCES))]
  _save(file, provenance=np.array(text))
  return f'provenance {text[:20]!r}', None


def make(rng: np.random.Generator, folder: pathlib.Path) -> cases.Case:
  """Makes a folder of three files, one of them odd or oddly called."""
  files = folder / 'flowers'
  write(files)
  plain = commands.rank_files(files, folder / 'plain')
  others = {name: plain[name] for name in _NAMES if name != _SPOILT}
  file = files / f'{_SPOILT}.npz'
  if rng.integers(5) == 0:
    name = _ODD_NAMES[rng.integers(len(_ODD_NAMES))]
    file.rename(files / f'{name}.npz')
    right = {**others, name: plain[_SPOILT]}
    return cases.Case(
      f'called {name!r}',
      lambda: commands.rank_files(files, folder / 'run'),
      right,
      may_refuse=False,
    )
  about, effect = _spoil(rng, file)

  def act() -> Any:
    found = commands.rank_files(files, folder / 'run')
    if effect is None and _SPOILT not in found:
      return {**found, _SPOILT: plain[_SPOILT]}
    return found

  right = others if effect == 'bad' else plain
  return cases.Case(about, act, right, may_refuse=False)
