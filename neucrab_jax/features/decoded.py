# SPDX-License-Identifier: Apache-2.0
"""A task's images on disk, decoded and resized once for all checkpoints.

Checkpoints that prepare images alike share a store: a file with a row for each
image of the split, which holds nothing until an image is written, and a file of
checksums. What was not wholly written, by whoever died over it, does not match
its checksum and is decoded again. Nothing else depends on a store.

Axes: N images of the split, S side in pixels.
"""

import os
import pathlib
import shutil
import threading
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from absl import logging

from neucrab_jax import storage, tasks

# Decodes one image, in any thread.
Decode = Callable[[], np.ndarray]

_ROWS, _SUMS = 'rows', 'checksums'
# Of the disk's free space, what a store may take.
_MOST_OF_FREE = 0.5
_CHECKSUM = np.dtype('<u8')
# No checksum of 32 bits is zero with it: zero is where no image is.
_WRITTEN = 1 << 32
_NOT_KEPT = 'Images are decoded again for each checkpoint: %s'


def _checksum(row: Any) -> int:
  return _WRITTEN | zlib.crc32(row)


def _size(folder: pathlib.Path) -> int:
  """Bytes that a store takes of the disk; most rows may hold nothing."""
  files = [file.stat() for file in folder.iterdir()]
  # Where the system does not say, all of them.
  return sum(
    512 * f.st_blocks if hasattr(f, 'st_blocks') else f.st_size for f in files
  )


def _make_room(
  root: pathlib.Path, own: pathlib.Path, *, needed: int, limit: int
) -> bool:
  """Removes the stores that were not used for longest; whether it helped."""
  total = needed + _size(own)
  if total > limit or needed > _MOST_OF_FREE * shutil.disk_usage(root).free:
    return False
  others = [path for path in root.iterdir() if path != own and path.is_dir()]
  by_use = sorted(others, key=lambda path: path.stat().st_mtime, reverse=True)
  for other in by_use:
    total += _size(other)
    if total > limit:
      # Whoever has it open keeps what it has.
      shutil.rmtree(other, ignore_errors=True)
  return True


class Store:
  """Images of a split as some checkpoints want them; a context manager.

  Safe to use from any thread, and from any number of processes at once.
  """

  def __init__(self, folder: pathlib.Path, *, shape: tuple, dtype: np.dtype):
    """Opens or makes the store.

    Args:
      folder: of it.
      shape: [N, S, S, 3].
      dtype: of the rows.
    """
    self.dtype = dtype
    self._shape = shape
    self._bytes = int(np.prod(shape[1:])) * dtype.itemsize
    self._files = []
    flags = os.O_RDWR | os.O_CREAT | getattr(os, 'O_BINARY', 0)
    for name, size in ((_ROWS, self._bytes), (_SUMS, _CHECKSUM.itemsize)):
      file = os.open(folder / name, flags, 0o666)
      self._files.append(file)
      os.ftruncate(file, size * shape[0])
    self._rows = np.asarray(np.memmap(folder / _ROWS, dtype, 'r', shape=shape))
    self._sums = np.memmap(folder / _SUMS, _CHECKSUM, 'r', shape=shape[:1])
    # Whether rows can be written: neither is the disk full, nor is it closed,
    # when a file of another could have the number of its own.
    self._can_write = True
    self._lock = threading.Lock()

  def __enter__(self) -> 'Store':
    return self

  def __exit__(self, *error) -> None:
    with self._lock:
      self._can_write = False
      for file in self._files:
        os.close(file)

  def _find(self, index: int) -> np.ndarray | None:
    expected = int(self._sums[index])
    if not expected:
      return None
    # Not copied: a batch is put together of many.
    row = self._rows[index]
    return row if _checksum(row.data) == expected else None

  def _keep(self, index: int, row: np.ndarray) -> None:
    rows, sums = self._files
    content = np.ascontiguousarray(row).tobytes()
    told = _CHECKSUM.type(_checksum(content)).tobytes()
    with self._lock:
      if not self._can_write:
        return
      try:
        # Not through the map: with a full disk that would end the process.
        os.pwrite(rows, content, index * self._bytes)
        os.pwrite(sums, told, index * _CHECKSUM.itemsize)
      except OSError as error:
        self._can_write = False
        logging.warning(_NOT_KEPT, error)

  def get(self, index: int, decode: Decode) -> np.ndarray:
    """An image, from the store or decoded into it.

    Args:
      index: of the image in its split.
      decode: gives it resized, [S, S, 3].
    """
    found = self._find(index)
    if found is None:
      found = decode().astype(self.dtype, copy=False)
      self._keep(index, found)
    return found


def open_store(
  examples: tasks.Examples,
  *,
  num_images: int,
  size: int,
  method: str,
  cache_dir: str,
  gigabytes: float,
) -> Store | None:
  """Opens the store of a split's images, or makes it.

  Args:
    examples: of the split.
    num_images: how many of them will be asked for.
    size: S.
    method: of resizing.
    cache_dir: folder of the cache; the stores are in `images/` of it.
    gigabytes: that all stores may take; the least recently used ones go.

  Returns:
    The store; None if it would not have room, or nothing is to be decoded.
  """
  if examples.in_memory or gigabytes <= 0 or not hasattr(os, 'pwrite'):
    return None
  # Exactly what resizing gives, so that a store changes no feature.
  dtype = np.dtype('u1' if tasks.gives_uint8(method) else '<f4')
  key = storage.digest(
    examples.fingerprint, size, method, storage.digest_sources(tasks)
  )
  root = pathlib.Path(cache_dir) / 'images'
  folder = root / key[:32]
  shape = (len(examples), size, size, 3)
  try:
    folder.mkdir(parents=True, exist_ok=True)
    os.utime(folder)
    needed = num_images * int(np.prod(shape[1:])) * dtype.itemsize
    needed = max(needed - _size(folder), 0)
    if _make_room(root, folder, needed=needed, limit=int(gigabytes * 1e9)):
      return Store(folder, shape=shape, dtype=dtype)
  except OSError as error:
    logging.warning(_NOT_KEPT, error)
  return None


def stack(images: list[np.ndarray]) -> np.ndarray:
  """As `np.stack`; those that follow one another in a store are not copied."""
  first = images[0]
  start = first.ctypes.data
  if first.base is None or any(
    image.base is not first.base
    or (image.shape, image.strides) != (first.shape, first.strides)
    or image.ctypes.data != start + place * first.nbytes
    for place, image in enumerate(images)
  ):
    return np.stack(images)
  return np.lib.stride_tricks.as_strided(
    first,
    (len(images), *first.shape),
    (first.nbytes, *first.strides),
    writeable=False,
  )


def resizing(
  decoders: Iterator[Decode],
  indices: np.ndarray,
  *,
  size: int,
  method: str,
  store: Store | None,
) -> Iterator[Decode]:
  """What decodes and resizes each image, unless the store has it.

  Args:
    decoders: of the images.
    indices: [n], of them.
    size: S.
    method: of resizing.
    store: of such images; None for none.
  """
  for index, decode in zip(indices.tolist(), decoders, strict=True):

    def resized(decode: Decode = decode) -> np.ndarray:
      return tasks.resize(decode(), size=size, method=method)

    if store is None:
      yield resized
    else:
      yield lambda index=index, resized=resized: store.get(index, resized)
