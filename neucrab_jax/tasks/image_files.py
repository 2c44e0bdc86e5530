# SPDX-License-Identifier: Apache-2.0
"""Image files: which are read, whether they can be, and their pixels as RGB.

Axes: H height, W width.
"""

import functools
import io
import pathlib
import struct
import threading
import warnings
import zlib
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from neucrab_jax import untrusted
from neucrab_jax.tasks import deep_colours

# What Pillow registers but does not decode by itself: frames of data that need
# a further program or library, and containers of films, texts and tables.
_NOT_DECODED = {'BUFR', 'EPS', 'GRIB', 'HDF5', 'IPTC', 'MPEG', 'WMF'}

# What Pillow tries first. Some of the others have no mark to know them by.
_USUAL = ('BMP', 'GIF', 'JPEG', 'PPM', 'PNG')

# What Pillow raises on damaged and foreign files, some of it from the depths of
# a format's reader.
DAMAGE = (
  OSError,
  SyntaxError,
  ValueError,
  EOFError,
  IndexError,
  KeyError,
  OverflowError,
  TypeError,
  MemoryError,
  struct.error,
  zlib.error,
)

# Beyond, a file is rather made to fill the memory than a photograph.
MAX_MEGAPIXELS = 200

_PILLOWS_LIMIT = threading.Lock()

# EXIF's number of the field that says which way was up, and what undoes it.
_ORIENTATION = 0x0112
_UPRIGHT = {
  2: Image.Transpose.FLIP_LEFT_RIGHT,
  3: Image.Transpose.ROTATE_180,
  4: Image.Transpose.FLIP_TOP_BOTTOM,
  5: Image.Transpose.TRANSPOSE,
  6: Image.Transpose.ROTATE_270,
  7: Image.Transpose.TRANSVERSE,
  8: Image.Transpose.ROTATE_90,
}

# Depths of sensors and scanners, whose values are stored in 16 bits each.
_DEPTHS = (8, 10, 12, 14, 16)


class DepthWarning(UserWarning):
  """Images of 16 bits do not use them all, and were scaled to what they use."""


@functools.cache
def formats() -> tuple[str, ...]:
  """Pillow's names of the formats that are read, in the order of trying."""
  Image.init()
  others = [name for name in Image.OPEN if name not in _USUAL]
  return tuple(
    name for name in (*_USUAL, *sorted(others)) if name not in _NOT_DECODED
  )


@functools.cache
def suffixes() -> frozenset[str]:
  """The suffixes of image files, in small letters, such as '.png'."""
  known, kinds = Image.registered_extensions(), formats()
  # An .mpo is a JPEG with further ones behind it, and opened as one.
  return frozenset(
    suffix for suffix, kind in known.items() if kind in (*kinds, 'MPO')
  )


def is_image(path: pathlib.Path) -> bool:
  """Whether a file is called like an image."""
  return path.suffix.lower() in suffixes()


def _flatten_on_white(image: Image.Image) -> Image.Image:
  """Removes transparency the way a viewer shows it.

  Dropping it would show whatever colour is stored under transparent pixels.
  """
  rgba = image.convert('RGBA')
  white = Image.new('RGBA', rgba.size, 'white')
  return Image.alpha_composite(white, rgba).convert('RGB')


def _to_8_bits(values: np.ndarray) -> np.ndarray:
  """Grey of 16 bits as uint8; Pillow itself would cut it off at 255.

  Many cameras and scanners store 8, 10, 12 or 14 bits in 16, of which no file
  says a word. The image is taken to have the smallest of these depths that
  holds its brightest pixel: else it would be black. Each image is judged alone,
  so that an image so dark that a smaller depth holds it becomes brighter.
  """
  values = np.clip(values, 0, 2**16 - 1)
  largest = int(values.max())
  depth = next(depth for depth in _DEPTHS if largest < 2**depth)
  if depth < max(_DEPTHS):
    # The same text for all files, of which Python shows it once.
    warnings.warn(
      f'Some images of 16 bits a pixel have no value of over {depth} bits, and '
      'were scaled by these. If they are only dark, save them with 8 bits.',
      DepthWarning,
      stacklevel=2,
    )
  return (values >> (depth - 8)).astype(np.uint8)


def to_rgb(image: Image.Image) -> Image.Image:
  """Any mode of Pillow to 'RGB'.

  Raises:
    ValueError: if the pixels are floats, of which nobody knows the range.
  """
  if image.mode == 'F':
    raise ValueError('its pixels are floats; save it with 8 or 16 bits')
  if image.mode.startswith('I'):
    image = Image.fromarray(_to_8_bits(np.asarray(image)))
  elif image.has_transparency_data:
    return _flatten_on_white(image)
  return image.convert('RGB')


def _turn_upright(image: Image.Image) -> Image.Image:
  """Turns a photo as its camera was held.

  Only the orientation is read: the rest of what cameras store is often damaged,
  and Pillow's own function writes all of it anew.
  """
  image.load()  # Some formats are turned by Pillow as they are loaded.
  try:
    method = _UPRIGHT.get(image.getexif().get(_ORIENTATION, 1))
  # Damage can be of any kind, and the pixels are there.
  except Exception:
    return image
  return image if method is None else image.transpose(method)


def read_bytes(path: pathlib.Path) -> bytes:
  """The content of a regular file.

  Raises:
    OSError, ValueError: if it is not there, or no file.
  """
  untrusted.check_regular(path)
  return path.read_bytes()


def _open(content: bytes, *, max_pixels: int) -> Image.Image:
  """Reads the header of an image, and checks its size by it."""
  try:
    # Pillow has one limit for the whole process. It warns of half of what it
    # refuses, and knows nothing of ours.
    with _PILLOWS_LIMIT:
      theirs, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
      try:
        image = Image.open(io.BytesIO(content), formats=formats())
      finally:
        Image.MAX_IMAGE_PIXELS = theirs
  except UnidentifiedImageError as error:
    raise ValueError('it is no image of a known format') from error
  pixels = image.width * image.height
  if pixels > max_pixels:
    raise ValueError(
      f'it has {pixels / 1e6:g} megapixels, over the limit of '
      f'{max_pixels / 1e6:g}, which --config.task.max_megapixels sets'
    )
  return image


def check(content: bytes, *, max_pixels: int, is_whole: bool) -> None:
  """Checks that an image can be decoded.

  Args:
    content: of its file.
    max_pixels: that it may have.
    is_whole: whether that is known of all but its header.

  Raises:
    OSError, SyntaxError, ValueError: those of `DAMAGE`, if it cannot.
  """
  with _open(content, max_pixels=max_pixels) as image:
    if not is_whole:
      # Of a JPEG all bytes are read, and an eighth of the rows computed.
      image.draft(None, (1, 1))
      to_rgb(_turn_upright(image))


def _scale(
  upper: Image.Image, content: bytes, tiles: list[Any], *, max_pixels: int
) -> Image.Image:
  """Colours of 16 bits by what they use of them, as grey is scaled."""
  # Only images of files have tiles.
  image: Any
  with _open(content, max_pixels=max_pixels) as image:
    image.tile = tiles
    values = deep_colours.combine(upper, _turn_upright(image))
  scaled = Image.fromarray(_to_8_bits(values))
  if upper.mode == 'RGBA':
    scaled.putalpha(upper.getchannel('A'))
  return scaled


def decode(
  path: pathlib.Path, *, max_pixels: int = MAX_MEGAPIXELS * 10**6
) -> np.ndarray:
  """Decodes an image file as people see it, the first frame of an animation.

  Args:
    path: of the file.
    max_pixels: that it may have.

  Returns:
    [H, W, 3] uint8

  Raises:
    ValueError: if it is not a whole image.
  """
  try:
    content = read_bytes(path)
    with _open(content, max_pixels=max_pixels) as image:
      lower = deep_colours.swapped(image)
      upright = _turn_upright(image)
      if lower is not None and deep_colours.is_dim(upright):
        upright = _scale(upright, content, lower, max_pixels=max_pixels)
      return np.asarray(to_rgb(upright))
  except DAMAGE as error:
    raise ValueError(
      f'The image {str(path)!r} cannot be decoded: {error}. Replace or '
      'remove it.'
    ) from error
