# SPDX-License-Identifier: Apache-2.0
"""Image files: which are read, whether they can be, and their pixels as RGB.

Axes: H height, W width.
"""

import functools
import pathlib
import warnings
from collections.abc import Iterable

import numpy as np
from PIL import Image

from neucrab_jax import storage, untrusted

# What Pillow registers but does not decode by itself: frames of data that need
# a further program or library, and containers of films, texts and tables.
_NOT_DECODED = {'BUFR', 'EPS', 'GRIB', 'HDF5', 'IPTC', 'MPEG', 'WMF'}

# What Pillow tries first. Some of the others have no mark to know them by.
_USUAL = ('BMP', 'GIF', 'JPEG', 'PPM', 'PNG')

# What Pillow raises on damaged, foreign or absurdly large files.
_DAMAGE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)

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

# Bad files that an error names; more would hide what is said about them.
_MOST_NAMED = 20


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
  return frozenset(suffix for suffix, kind in known.items() if kind in kinds)


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


def decode(path: pathlib.Path) -> np.ndarray:
  """Decodes an image file as people see it, the first frame of an animation.

  Returns:
    [H, W, 3] uint8

  Raises:
    ValueError: if it is not a whole image.
  """
  try:
    untrusted.check_regular(path)
    with Image.open(path, formats=formats()) as image:
      return np.asarray(to_rgb(_turn_upright(image)))
  except _DAMAGE as error:
    raise ValueError(
      f'The image {str(path)!r} cannot be decoded: {error}. Replace or '
      'remove it.'
    ) from error


def _find_fault(path: pathlib.Path) -> str | None:
  """What is wrong with the header of an image file, if anything."""
  try:
    untrusted.check_regular(path)
    # Pillow looks at the header, and refuses a size beyond its limit.
    with Image.open(path, formats=formats()):
      return None
  except _DAMAGE as error:
    return str(error)


def _bad_files(faults: dict[pathlib.Path, str]) -> ValueError:
  """The error that names the bad files, each with its fault."""
  if len(faults) == 1:
    [(path, fault)] = faults.items()
    return ValueError(
      f'The image {str(path)!r} cannot be decoded: {fault}. Replace or remove '
      'it.'
    )
  named = [
    f'\n  {str(path)!r} cannot be decoded: {fault}'
    for path, fault in list(faults.items())[:_MOST_NAMED]
  ]
  rest = len(faults) - len(named)
  return ValueError(
    f'There are {len(faults)} bad images. Replace or remove them:'
    f'{"".join(named)}' + (f'\n  and {rest} more' if rest else '')
  )


def digest_all(files: Iterable[pathlib.Path]) -> list[str]:
  """Digests image files whose headers say that they can be decoded.

  All headers are looked at, so that all bad files are known at once; from the
  first bad one on, nothing else is read.

  Raises:
    ValueError: if there are bad files; it names the first of them.
  """
  digests, faults = [], {}
  for file in files:
    fault = _find_fault(file)
    if fault is not None:
      faults[file] = fault
    elif not faults:
      digests.append(storage.digest(file.read_bytes()))
  if faults:
    raise _bad_files(faults)
  return digests
