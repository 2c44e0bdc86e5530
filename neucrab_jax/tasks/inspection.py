# SPDX-License-Identifier: Apache-2.0
"""Image files are looked at before any is used, so that all bad ones are known.

A PNG has checksums; any other file is decoded for that, a JPEG at an eighth of
its size.
"""

import dataclasses
import functools
import os
import pathlib
import struct
import zlib
from collections.abc import Mapping, Sequence
from concurrent import futures

from neucrab_jax import progress, storage
from neucrab_jax.tasks import image_files

# Bad files that a message names; more would hide what is said about them.
_MOST_NAMED = 20

_PNG_START, _PNG_END = b'\x89PNG\r\n\x1a\n', b'IEND'


def _listed(faults: Mapping[pathlib.Path, str]) -> str:
  """The bad files, each with its fault, a line each."""
  named = [
    f'\n  {str(path)!r} cannot be decoded: {fault}'
    for path, fault in list(faults.items())[:_MOST_NAMED]
  ]
  rest = len(faults) - len(named)
  # A refusal is one line.
  return ';'.join(named) + (f';\n  and {rest} more' if rest else '')


class BadImagesError(ValueError):
  """Images of a task cannot be decoded; it names them.

  Attributes:
    faults: of each bad file, what is wrong with it.
    emptied: names of classes that have no other images.
  """

  def __init__(
    self, faults: Mapping[pathlib.Path, str], emptied: Sequence[str] = ()
  ):
    self.faults, self.emptied = dict(faults), tuple(emptied)
    remedy = 'Replace or remove {}, or leave damaged images out by '
    remedy += '--config.task.skip_damaged=True'
    if emptied:
      classes = ', '.join(map(repr, emptied))
      remedy = f'Replace {{}}: no image of {classes} is left'
    if len(faults) == 1:
      [(path, fault)] = faults.items()
      super().__init__(
        f'The image {str(path)!r} cannot be decoded: {fault}. '
        f'{remedy.format("it")}.'
      )
    else:
      super().__init__(
        f'There are {len(faults)} bad images. {remedy.format("them")}:'
        f'{_listed(faults)}'
      )


class DamagedImagesWarning(UserWarning):
  """Damaged images were left out of a task."""

  def __init__(self, source: str, faults: Mapping[pathlib.Path, str]):
    super().__init__(
      f'{source}: damaged images left out: {len(faults)}.{_listed(faults)}'
    )


def _is_whole_png(content: bytes) -> bool:
  """Whether it is a PNG, all parts there and as they were written."""
  if not content.startswith(_PNG_START):
    return False
  place = len(_PNG_START)
  while place + 12 <= len(content):
    (size,) = struct.unpack_from('>I', content, place)
    name, end = content[place + 4 : place + 8], place + 8 + size
    if end + 4 > len(content):
      return False
    (checksum,) = struct.unpack_from('>I', content, end)
    if zlib.crc32(memoryview(content)[place + 4 : end]) != checksum:
      return False
    if name == _PNG_END:
      return True
    place = end + 4
  return False


@dataclasses.dataclass(frozen=True)
class Inspected:
  """What was seen of a file: the digest of its content, or what is wrong."""

  digest: str = ''
  fault: str | None = None


def inspect(path: pathlib.Path, *, max_pixels: int) -> Inspected:
  """Digests an image file, if it can be decoded.

  Args:
    path: of the file.
    max_pixels: that it may have.
  """
  try:
    content = image_files.read_bytes(path)
    image_files.check(
      content, max_pixels=max_pixels, is_whole=_is_whole_png(content)
    )
  except image_files.DAMAGE as error:
    return Inspected(fault=str(error))
  return Inspected(digest=storage.digest(content))


def inspect_all(
  files: Sequence[pathlib.Path], *, max_pixels: int, description: str
) -> list[Inspected]:
  """Inspects files, with a bar where that takes long."""
  look = functools.partial(inspect, max_pixels=max_pixels)
  pool = futures.ThreadPoolExecutor(os.cpu_count(), 'inspect')
  try:
    found = progress.track(
      pool.map(look, files), total=len(files), description=description
    )
    return list(found)
  finally:
    pool.shutdown(wait=False, cancel_futures=True)
