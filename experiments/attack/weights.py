# SPDX-License-Identifier: Apache-2.0
"""Route: files of weights, and archives of them."""

import functools
import io
import pathlib
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np

from experiments.attack import cases
from neucrab_jax import checkpoints, storage
from neucrab_jax.checkpoints import archives

_NAME = 'mini_random'


@functools.cache
def _plain() -> dict[str, np.ndarray]:
  return storage.read_npz(checkpoints.get(_NAME).path)


def _features(path: pathlib.Path | str | None = None) -> dict[str, float]:
  images = np.linspace(-1, 1, 2 * 32 * 32 * 3, dtype=np.float32)
  backbone = checkpoints.restore(_NAME, path)
  features = np.asarray(backbone(images.reshape(2, 32, 32, 3)).features)
  return {str(i): float(x) for i, x in enumerate(features.ravel()[::7])}


_features_of_plain = functools.cache(_features)

_Change = Callable[[str, dict[str, np.ndarray]], Any]


def _drop(name: str, arrays: dict[str, np.ndarray]) -> None:
  del arrays[name]


def _set(change: Callable[[np.ndarray], np.ndarray]) -> _Change:
  def apply(name: str, arrays: dict[str, np.ndarray]) -> None:
    arrays[name] = change(arrays[name])

  return apply


_BAD: dict[str, _Change] = {
  'missing': _drop,
  'renamed': lambda n, a: a.update({n + '_': a.pop(n)}),
  'one too many': lambda n, a: a.update({'params/more/kernel': a[n]}),
  'another shape': _set(lambda x: x.ravel()[:1]),
  'another rank': _set(lambda x: x[None]),
  'NaN': _set(lambda x: np.full_like(x, np.nan)),
  'Inf in f32': _set(lambda x: np.full(x.shape, 1e300)),
  'integers': _set(lambda x: np.ones(x.shape, np.int64)),
  'complex': _set(lambda x: x.astype(complex)),
  'words': _set(lambda x: np.full(x.shape, 'x')),
  'nothing at all': lambda n, a: a.clear(),
}
_SAME: dict[str, _Change] = {
  'float64': _set(lambda x: x.astype(np.float64)),
  'big-endian': _set(lambda x: x.astype('>f4')),
  'Fortran order': _set(np.asfortranarray),
  'reordered': lambda n, a: a.update({n: a.pop(n)}),
}


def make(rng: np.random.Generator, folder: pathlib.Path) -> cases.Case:
  """Makes an odd file of weights."""
  path = folder / 'weights.npz'
  kind = rng.choice(['bad', 'same', 'flip', 'cut'])
  right: Any = cases.REFUSAL if kind == 'bad' else _features_of_plain()
  about = str(kind)
  arrays = dict(_plain())
  if kind in ('bad', 'same'):
    table = _BAD if kind == 'bad' else _SAME
    change = list(table)[rng.integers(len(table))]
    name = list(arrays)[rng.integers(len(arrays))]
    table[change](name, arrays)
    about = f'{change}, {name}'
  np.savez(path, **arrays)
  if kind in ('flip', 'cut'):
    content = bytearray(path.read_bytes())
    place = rng.integers(len(content))
    if kind == 'flip':
      content[place] ^= 1 << rng.integers(8)
    else:
      del content[place:]
    path.write_bytes(content)
  return cases.Case(
    about, lambda: _features(path), right, may_refuse=kind != 'same'
  )


_ODD_MEMBERS = (
  '', '.', '..', '/', '//x', './x', '../x', 'a/../../x', 'C:\\x', '\\x', 'a\\b',
  'packed.zip', 'PACKED.ZIP', 'top/packed.zip', 'checksums.json', 'top',
  'x' * 300, 'top/', 'é', '\x01', 'CON', ' ', 'top/a', 'top/a/b', 'a\0b', '~',
  '-rf',
)  # fmt: skip


def make_archive(rng: np.random.Generator, folder: pathlib.Path) -> cases.Case:
  """Makes an odd zip archive."""
  members = {'top/fine': b'fine' * 100, 'top/also': b'also' * 100}
  odd = _ODD_MEMBERS[rng.integers(len(_ODD_MEMBERS))]
  file = io.BytesIO()
  with zipfile.ZipFile(file, 'w', zipfile.ZIP_DEFLATED) as packed:
    for name, content in {**members, odd: b'odd'}.items():
      packed.writestr(zipfile.ZipInfo(name), content)
  content = bytearray(file.getvalue())
  about = f'member {odd[:30]!r}'
  if rng.integers(2):
    content[rng.integers(len(content))] ^= 1 << rng.integers(8)
    about += ', a flipped bit'
  target = folder / 'inside' / 'target'
  target.mkdir(parents=True)
  (target / 'packed.zip').write_bytes(content)

  def act() -> bool:
    try:
      archives.Folder(target).unpack('packed.zip', lambda done, total: None)
    finally:
      if [each.name for each in (folder / 'inside').iterdir()] != ['target']:
        raise cases.FaultError('It wrote outside the folder.')
      if (target / 'packed.zip').read_bytes() != content:
        raise cases.FaultError('It wrote over the archive.')
    for name in members:
      for path in (target / name, target / pathlib.PurePath(name).name):
        if path.is_file() and path.read_bytes() != members[name]:
          return False
    return True

  return cases.Case(about, act, right=True)
