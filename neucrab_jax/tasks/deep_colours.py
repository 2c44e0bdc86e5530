# SPDX-License-Identifier: Apache-2.0
"""Colours of 16 bits, of which Pillow reads the upper byte alone.

What a sensor of 12 bits wrote has little in it: the lower byte is read, too, as
if the bytes were in the other order.

Axes: H height, W width.
"""

import sys
from typing import Any

import numpy as np
from PIL import Image

# Upper bytes below this leave bits unused: so many has what uses 14 of 16.
_DIM = 2**6

_OTHER_ORDER = {'B': 'L', 'L': 'B'}


def _swap(tile: Any) -> Any:
  """A tile of Pillow's, read in the other order of bytes."""
  several = isinstance(tile.args, tuple)
  first, *others = tile.args if several else (tile.args,)
  mode, _, order = str(first).partition(';16')
  if order == 'N':
    order = sys.byteorder[0].upper()
  if order not in _OTHER_ORDER:
    return None
  if mode == 'LA':  # Which Pillow reads in one order alone.
    return tile
  first = f'{mode};16{_OTHER_ORDER[order]}'
  return tile._replace(args=(first, *others) if several else first)


def swapped(image: Image.Image) -> list[Any] | None:
  """The tiles of an image that is not loaded yet, for its lower bytes.

  Returns:
    None if it has no colours, or none of 16 bits.
  """
  tiles = [_swap(tile) for tile in getattr(image, 'tile', ())]
  is_deep = image.mode in ('RGB', 'RGBA', 'LA') and tiles and all(tiles)
  return tiles if is_deep else None


def is_dim(image: Image.Image) -> bool:
  """Whether the upper bytes of its colours leave bits unused."""
  colours = image.convert(image.mode.removesuffix('A'))
  return int(np.asarray(colours).max(initial=0)) < _DIM


def combine(upper: Image.Image, lower: Image.Image) -> np.ndarray:
  """Both bytes of the colours: [H, W, 3], up to 2^16 − 1."""
  high, low = (np.asarray(x.convert('RGB')) for x in (upper, lower))
  return (high.astype(np.int64) << 8) + low
