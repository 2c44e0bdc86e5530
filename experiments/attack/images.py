# SPDX-License-Identifier: Apache-2.0
"""Routes: folders of images, and `.npz` of images."""

import functools
import os
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from experiments.attack import cases, commands

_CLASSES = ('cats', 'dogs')
_EACH, _SIZE = 6, 24

_Change = Callable[[pathlib.Path, np.random.Generator], Any]


@functools.cache
def _plain() -> tuple[np.ndarray, np.ndarray]:
  rng = np.random.default_rng(0)
  labels = np.repeat(np.arange(len(_CLASSES)), _EACH)
  shape = (len(labels), _SIZE, _SIZE, 3)
  noise = rng.integers(0, 96, shape)
  return (noise + 120 * labels[:, None, None, None]).astype(np.uint8), labels


def _path(folder: pathlib.Path, number: int, suffix: str = '.png'):
  label = _plain()[1][number]
  return folder / _CLASSES[label] / f'{number:02}{suffix}'


def write(folder: pathlib.Path) -> None:
  """Writes a sound folder."""
  for number, image in enumerate(_plain()[0]):
    path = _path(folder, number)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


def _again(folder: pathlib.Path, number: int, suffix: str, **options: Any):
  """The same image in another file."""
  image = Image.open(_path(folder, number))
  image.load()
  _path(folder, number).unlink()
  mode = options.pop('mode', 'RGB')
  path = _path(folder, number, suffix)
  path.parent.mkdir(parents=True, exist_ok=True)
  image.convert(mode).save(path, **options)


def _orientation() -> Any:
  exif = Image.Exif()
  exif[0x0112] = 1
  return exif


def _move_deeper(folder: pathlib.Path) -> None:
  for name in _CLASSES:
    inner = folder / name / 'below' / 'further'
    inner.mkdir(parents=True)
    for file in (folder / name).glob('*.png'):
      file.rename(inner / file.name)


def _leave_behind(folder: pathlib.Path) -> None:
  for name in ('__MACOSX', '@eaDir', 'lost+found', '.git'):
    (folder / name).mkdir()
    (folder / name / '._x.png').write_bytes(b'x')
  (folder / '.DS_Store').write_bytes(b'x')
  (folder / _CLASSES[0] / 'Thumbs.db').write_bytes(b'x')
  (folder / _CLASSES[0] / '._00.png').write_bytes(b'x')


# Pixels, classes and order stay: so does the score.
SAME: dict[str, _Change] = {
  'bmp': lambda f, rng: _again(f, 3, '.bmp'),
  'tiff': lambda f, rng: _again(f, 3, '.tiff'),
  'tif in capitals': lambda f, rng: _again(f, 3, '.TIF'),
  'ppm': lambda f, rng: _again(f, 3, '.ppm'),
  'lossless webp': lambda f, rng: _again(f, 3, '.webp', lossless=True),
  'opaque': lambda f, rng: _again(f, 3, '.png', mode='RGBA'),
  'upright by EXIF': lambda f, rng: _again(f, 3, '.png', exif=_orientation()),
  'deeper': lambda f, rng: _move_deeper(f),
  'left behind': lambda f, rng: _leave_behind(f),
  'notes': lambda f, rng: (f / _CLASSES[0] / 'notes.txt').write_text('x'),
}


def _in_place(make: Callable[[pathlib.Path], Any]) -> _Change:
  """Puts something odd in the place of an image."""

  def change(folder: pathlib.Path, rng: np.random.Generator) -> None:
    path = _path(folder, int(rng.integers(2 * _EACH)))
    path.unlink()
    make(path)

  return change


def _damage(folder: pathlib.Path, rng: np.random.Generator) -> None:
  path = _path(folder, int(rng.integers(2 * _EACH)))
  content = bytearray(path.read_bytes())
  content[rng.integers(len(content))] ^= 1 << rng.integers(8)
  path.write_bytes(content)


def _bomb(path: pathlib.Path) -> None:
  Image.new('1', (16_000, 16_000)).save(path)


# They are no images.
BAD: dict[str, _Change] = {
  'text': _in_place(lambda p: p.write_text('an image')),
  'empty': _in_place(lambda p: p.write_bytes(b'')),
  'html': _in_place(lambda p: p.write_text('<html>404</html>')),
  'head': _in_place(lambda p: p.write_bytes(b'\x89PNG\r\n\x1a\n')),
  'pipe': _in_place(os.mkfifo),
  'device': _in_place(lambda p: p.symlink_to('/dev/zero')),
  'folder': _in_place(pathlib.Path.mkdir),
  'broken link': _in_place(lambda p: p.symlink_to('nowhere')),
  'loop of links': _in_place(lambda p: p.symlink_to(p.name)),
  '256 megapixels': _in_place(_bomb),
}


def _one_class(folder: pathlib.Path, rng: np.random.Generator) -> None:
  for file in (folder / _CLASSES[1]).iterdir():
    file.unlink()


ODD: dict[str, _Change] = {
  'a flipped bit': _damage,
  'an empty class': _one_class,
  'gray': lambda f, rng: _again(f, 3, '.png', mode='L'),
  'palette': lambda f, rng: _again(f, 3, '.gif', mode='P'),
  'bits': lambda f, rng: _again(f, 3, '.png', mode='1'),
  '32 bit': lambda f, rng: _again(f, 3, '.tif', mode='I'),
  'floats': lambda f, rng: _again(f, 3, '.tif', mode='F'),
  'CMYK': lambda f, rng: _again(f, 3, '.jpg', mode='CMYK'),
  'thin': _in_place(lambda p: Image.new('RGB', (1, 3_000)).save(p)),
  'one pixel': _in_place(lambda p: Image.new('RGB', (1, 1)).save(p)),
  'turned': lambda f, rng: _again(f, 3, '.png', exif=bytes(6) + b'II*\0odd'),
  'beside': lambda f, rng: Image.new('RGB', (9, 9)).save(f / 'beside.png'),
}


def make_folder(rng: np.random.Generator, folder: pathlib.Path) -> cases.Case:
  """Makes a folder of images that is odd."""
  root, cache = folder / 'pets', folder / 'cache'
  write(root)
  kind, table = (('same', SAME), ('bad', BAD), ('odd', ODD))[rng.integers(3)]
  about = list(table)[rng.integers(len(table))]
  right = {'bad': cases.REFUSAL, 'odd': cases.ANYTHING}.get(kind)
  if kind == 'same':
    right = commands.rank_task(root, folder / 'plain', cache)
  table[about](root, rng)

  def act() -> Any:
    found = commands.rank_task(root, folder / 'run', cache)
    if kind == 'bad' and not found:
      raise cases.RefusedError('The checkpoint failed.')
    return found

  return cases.Case(about, act, right, may_refuse=kind != 'same')


# Names of the arrays that other collections use.
_NAMES = (('images', 'labels'), ('train_images', 'train_labels'))
_SAME_LABELS = ('i1', 'u1', 'i2', 'u2', 'i4', 'u4', 'i8', 'u8', '>i4', '>u8')

_BAD_IMAGES = {
  'floats': lambda x: x / 255.0,
  'signed': lambda x: x.astype(np.int64),
  'two channels': lambda x: x[..., :2],
  'flat': lambda x: x.reshape(len(x), -1),
  'short': lambda x: x[1:],
  'none': lambda x: x[:0],
  'words': lambda x: x.astype(str),
  'no pixels': lambda x: x[:, :0],
  'one image': lambda x: x[0],
}
_BAD_LABELS = {
  'NaN': lambda y: np.where(y, np.nan, y),
  'fractions': lambda y: y + 0.5,
  'negative': lambda y: y - 1,
  'too large': lambda y: y.astype(np.uint64) * 2**63,
  'several': lambda y: np.ones((len(y), 3), int),
  'words': lambda y: y.astype(str),
  'one class': lambda y: y * 0,
}


def make_arrays(rng: np.random.Generator, folder: pathlib.Path) -> cases.Case:
  """Makes an `.npz` of images that is odd."""
  images, labels = _plain()
  file, cache = folder / 'pets.npz', folder / 'cache'
  np.savez(file, images=images, labels=labels)
  kind = rng.choice(['same', 'images', 'labels', 'bytes'])
  right: Any = cases.REFUSAL
  if kind in ('same', 'bytes'):
    right = commands.rank_task(file, folder / 'plain', cache)
  if kind == 'same':
    names = _NAMES[rng.integers(len(_NAMES))]
    dtype = _SAME_LABELS[rng.integers(len(_SAME_LABELS))]
    column = bool(rng.integers(2))
    about = f'{names[0]}, {dtype}, {"a column" if column else "a row"}'
    given = labels.astype(dtype)
    given = given[:, None] if column else given
    np.savez_compressed(file, **dict(zip(names, (images, given), strict=True)))
  elif kind == 'bytes':
    about = 'a flipped bit'
    content = bytearray(file.read_bytes())
    content[rng.integers(len(content))] ^= 1 << rng.integers(8)
    file.write_bytes(content)
  else:
    table = _BAD_IMAGES if kind == 'images' else _BAD_LABELS
    about = list(table)[rng.integers(len(table))]
    arrays = {'images': images, 'labels': labels}
    np.savez(file, **{**arrays, kind: table[about](arrays[kind])})
    about = f'{kind}, {about}'

  def act() -> Any:
    found = commands.rank_task(file, folder / 'run', cache)
    if not found and kind != 'same':
      raise cases.RefusedError('The checkpoint failed.')
    return found

  return cases.Case(about, act, right, may_refuse=kind != 'same')
