# SPDX-License-Identifier: Apache-2.0
"""Files and paths from elsewhere: what they are is found out before any use."""

import math
import os
import re
import stat
import zipfile
from collections.abc import Collection

import numpy as np

# What is left of zeros by deflate, the zip format's usual compression, at best.
_MOST_DEFLATED = 1032


def check_regular(path: str | os.PathLike) -> None:
  """Refuses a folder, a pipe, a socket and a device, links to them included.

  A pipe would be waited for, and a device read without end.

  Raises:
    OSError: if it is not there, or its links lead nowhere or in a circle.
    ValueError: if it is no file.
  """
  mode = os.stat(path).st_mode
  if not stat.S_ISREG(mode):
    kind = 'a folder' if stat.S_ISDIR(mode) else 'a pipe, a socket or a device'
    raise ValueError(f'it is {kind}, not a file')


def check_local(path: str | os.PathLike) -> None:
  """Refuses the address of an object store, which would become a folder here.

  Raises:
    ValueError: if it is one.
  """
  # Also `gs:/bucket`, which is what pathlib makes of it. `C:/` is a drive.
  match = re.match(r'([a-z][a-z0-9+.-]+):/', os.fspath(path), re.IGNORECASE)
  if match:
    scheme = match[1]
    raise ValueError(
      f'{os.fspath(path)!r} is on {scheme}://, and here only folders and files '
      'of this machine can be read and written. Copy it here, or mount it.'
    )


def _check_array(
  archive: zipfile.ZipFile, member: zipfile.ZipInfo, *, packed_size: int
) -> None:
  """Compares the header of an array with the bytes that are there."""
  is_packed = member.compress_type == zipfile.ZIP_DEFLATED
  most = packed_size * (_MOST_DEFLATED if is_packed else 1)
  is_bounded = is_packed or member.compress_type == zipfile.ZIP_STORED
  if is_bounded and member.file_size > most:
    raise ValueError(f'{member.filename!r} cannot be as large as it says')
  with archive.open(member) as file:
    if np.lib.format.read_magic(file) == (1, 0):
      shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    else:
      # The third version differs in the names of fields only.
      shape, _, dtype = np.lib.format.read_array_header_2_0(file)
    there = member.file_size - file.tell()
  # The size of pickled objects is no matter of the shape.
  if not dtype.hasobject and math.prod(shape) * dtype.itemsize != there:
    raise ValueError(
      f'{member.filename!r} says that it is {dtype}{list(shape)}, but has '
      f'{there} bytes'
    )


def _check_npz(path: str | os.PathLike) -> None:
  """Checks that an archive holds arrays of the sizes that their headers say.

  NumPy takes the memory that a header asks for before it reads what follows,
  and gives what is no array as plain bytes.
  """
  check_regular(path)
  if not zipfile.is_zipfile(path):
    raise ValueError('it is no zip archive')
  size = os.path.getsize(path)
  with zipfile.ZipFile(path) as archive:
    names = archive.namelist()
    if len(set(names)) < len(names):
      raise ValueError('it has two arrays of one name')
    for member in archive.infolist():
      packed_size = min(member.compress_size, size)
      _check_array(archive, member, packed_size=packed_size)


def read_npz(
  path: str | os.PathLike, names: Collection[str] = ()
) -> dict[str, np.ndarray]:
  """Reads arrays of an archive, all or those of `names`, never unpickling.

  Raises:
    OSError, RuntimeError, zipfile.BadZipFile, zlib.error: if it is damaged.
    ValueError: if it is no zip archive, or one of other things than arrays.
  """
  try:
    _check_npz(path)
    # NumPy leaves a damaged file open that it opened itself.
    with open(path, 'rb') as file, np.load(file, allow_pickle=False) as archive:
      found = names or archive.files
      return {name: archive[name] for name in archive.files if name in found}
  except SystemError:
    # Python 3.11 fails by chance where two threads parse at a time, as NumPy
    # does with each header (python/cpython#106905). It is over when it is said.
    return read_npz(path, names)
