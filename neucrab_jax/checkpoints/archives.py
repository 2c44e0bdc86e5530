# SPDX-License-Identifier: Apache-2.0
"""Archives of weights: downloaded, verified and unpacked, each step once.

What was downloaded or unpacked is written to `checksums.json` beside it, with
its size and SHA-256; whoever asks for it again gets it verified, not downloaded
again.
"""

import contextlib
import hashlib
import lzma
import os
import pathlib
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Collection, Iterator

import msgspec
import requests

from neucrab_jax import storage, untrusted
from neucrab_jax.checkpoints import transfer

_MANIFEST = 'checksums.json'

Report = transfer.Report


class Held(
  msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True
):
  """A file that is there.

  Attributes:
    size: bytes.
    sha256: of them.
    url: where it is from; None for one that was unpacked.
    archive: what it was unpacked from; None for one that was downloaded.
  """

  size: int
  sha256: str
  url: str | None = None
  archive: str | None = None


class Fetched(msgspec.Struct, frozen=True):
  """A file that was asked for.

  Attributes:
    sha256: of what is there.
    url: where it is from.
    known: whether it is what it was the first time; if not, this is the first,
      and nothing says what it should be.
    downloaded: whether it came by the network, or somebody has put it there.
  """

  sha256: str
  url: str
  known: bool
  downloaded: bool


class RefusedArchiveError(ValueError):
  """An archive is whole, and is not unpacked."""


class Folder:
  """A folder of weights, and what is known of the files in it."""

  def __init__(self, path: str | os.PathLike):
    self.path = pathlib.Path(path).expanduser()
    self._manifest = self.path / _MANIFEST
    self._known: dict[str, Held] = {}
    if self._manifest.exists():
      try:
        self._known = storage.read_json(self._manifest, dict[str, Held])
      except storage.DamagedFileError as error:
        raise storage.DamagedFileError(
          f'{error} Delete it, for files to be recorded as they are.'
        ) from error

  def members(self, archive: str) -> list[str]:
    """The files that were unpacked from an archive."""
    return [
      name for name, entry in self._known.items() if entry.archive == archive
    ]

  def holds(self, name: str, report: Report) -> bool:
    """Whether a file is there and as it was recorded."""
    entry, path = self._known.get(name), self.path / name
    if entry is None or not path.is_file():
      return False
    if path.stat().st_size != entry.size:
      return False
    return _sha256(path, report) == entry.sha256

  def record(self, name: str, sha256: str, **origin: str) -> None:
    """Remembers a file as it is now."""
    size = (self.path / name).stat().st_size
    self._known[name] = Held(size=size, sha256=sha256, **origin)
    storage.write_json(self._manifest, self._known)

  def fetch(self, name: str, url: str, report: Report) -> Fetched:
    """Gets a file that is missing or damaged, from where its download ended.

    A file that somebody has put there is taken as it is. An address of plain
    http is tried with https first.

    Returns:
      What is there, for `record`, once what is in it has been checked.

    Raises:
      ConnectionError: if it cannot be downloaded.
      storage.DamagedFileError: if it is not what it was the first time.
    """
    path = self.path / name
    entry = self._known.get(name)
    missing = not path.exists() or (entry and path.stat().st_size != entry.size)
    if missing:
      path.unlink(missing_ok=True)
      try:
        url = transfer.download(url, path, report)
      except (requests.RequestException, OSError) as error:
        # Of the many that urllib3 wraps, the one that says why.
        reason = getattr(error.args[0] if error.args else None, 'reason', error)
        raise ConnectionError(
          f'Could not download {url}: {reason}. Run this again to go on; or, '
          f'without a network, put that file at {str(path)!r} first.'
        ) from error
    try:
      untrusted.check_regular(path)
    except ValueError as error:
      raise storage.DamagedFileError(
        f'{str(path)!r} cannot be read: {error}. Remove it.'
      ) from error
    sha256 = _sha256(path, report)
    if entry and sha256 != entry.sha256:
      raise storage.DamagedFileError(
        f'{str(path)!r} has SHA-256 {sha256}, but had {entry.sha256} when '
        'it was first downloaded: it is damaged, or another file now. '
        'Delete it to download it again, and its entry in '
        f'{str(self._manifest)!r} to accept what comes.'
      )
    return Fetched(sha256, url, known=bool(entry), downloaded=bool(missing))

  def unpack(self, name: str, report: Report) -> list[str]:
    """Unpacks a `.zip`, without the one folder that it may have around all.

    Returns:
      The names of the files.

    Raises:
      storage.DamagedFileError: if it is damaged.
      RefusedArchiveError: if a member would be written outside the folder, has
        no name of its own, or cannot be read without a password or with what
        Python knows of compression. Then nothing is written.
    """
    archive = self.path / name
    with _told(archive), zipfile.ZipFile(archive) as packed:
      members = _members(packed, archive, taken=(name, _MANIFEST))
      total = sum(info.file_size for info in members.values())
      transfer.check_space(self.path, total)
      done = 0
      for target, info in members.items():
        sha = hashlib.sha256()
        with (
          storage.atomic_path(self.path / target) as temporary,
          packed.open(info) as source,
          temporary.open('wb') as sink,
        ):
          for chunk in iter(lambda s=source: s.read(transfer.CHUNK), b''):
            sink.write(chunk)
            sha.update(chunk)
            done += len(chunk)
            report(done, total)
        self.record(target, sha.hexdigest(), archive=name)
    return list(members)

  def check_tar(self, name: str) -> None:
    """Reads a `.tar.gz`, which stays packed, from end to end.

    Raises:
      storage.DamagedFileError: if it is damaged.
      RefusedArchiveError: if a member would be written outside its folder.
    """
    archive = self.path / name
    with _told(archive), tarfile.open(archive) as packed:
      for member in packed:
        if not member.isdir():
          _inside(member.name, not member.isfile(), archive)


# What zipfile and tarfile raise on files that are damaged or no archives.
_DAMAGE = (
  tarfile.TarError,
  zipfile.BadZipFile,
  zlib.error,
  lzma.LZMAError,
  EOFError,
  ValueError,
  RuntimeError,
  LookupError,
  OverflowError,
  struct.error,
)


@contextlib.contextmanager
def _told(archive: pathlib.Path) -> Iterator[None]:
  """Says of damage which file has it, and what to do.

  Raises:
    storage.DamagedFileError: for what damaged archives provoke.
  """
  try:
    yield
  except RefusedArchiveError:
    raise
  except (*_DAMAGE, OSError) as error:
    # Decompressors raise an OSError without a number; the system's has one.
    if isinstance(error, OSError) and error.errno:
      raise
    raise storage.DamagedFileError(
      f'{str(archive)!r} is damaged: {error}. Delete it and run this again.'
    ) from error


def _chunks(path: pathlib.Path) -> Iterator[bytes]:
  with path.open('rb') as file:
    yield from iter(lambda: file.read(transfer.CHUNK), b'')


def _sha256(path: pathlib.Path, report: Report) -> str:
  sha, done, total = hashlib.sha256(), 0, path.stat().st_size
  for chunk in _chunks(path):
    sha.update(chunk)
    done += len(chunk)
    report(done, total)
  return sha.hexdigest()


def _is_link(info: zipfile.ZipInfo) -> bool:
  return stat.S_ISLNK(info.external_attr >> 16)


# The methods of compression that `zipfile` reads, and the flags of what it does
# not: encryption by either method, and patches.
_METHODS = {
  zipfile.ZIP_STORED,
  zipfile.ZIP_DEFLATED,
  zipfile.ZIP_BZIP2,
  zipfile.ZIP_LZMA,
}
_ENCRYPTED, _PATCH = 0x1 | 0x40, 0x20


def _check_readable(info: zipfile.ZipInfo, archive: pathlib.Path) -> None:
  """Refuses what could not be unpacked, before anything is.

  Raises:
    RefusedArchiveError: if a member is encrypted, or compressed by an unknown
      method.
  """
  if info.flag_bits & _ENCRYPTED:
    raise RefusedArchiveError(
      f'{str(archive)!r} has a member {info.filename!r} that is encrypted. '
      'Nothing was unpacked; unpack it yourself, with its password.'
    )
  if info.flag_bits & _PATCH or info.compress_type not in _METHODS:
    raise RefusedArchiveError(
      f'{str(archive)!r} has a member {info.filename!r} compressed by method '
      f'{info.compress_type}, which cannot be read here. Nothing was unpacked; '
      'unpack it yourself.'
    )


def _members(
  packed: zipfile.ZipFile, archive: pathlib.Path, *, taken: Collection[str]
) -> dict[str, zipfile.ZipInfo]:
  """The files of an archive by where they go, if all can be unpacked.

  Args:
    packed: the archive.
    archive: its path.
    taken: names in the folder that no member may have.

  Raises:
    RefusedArchiveError: if some can't be. Then nothing is written.
  """
  members: dict[pathlib.PurePosixPath, zipfile.ZipInfo] = {}
  for info in packed.infolist():
    path = _inside(info.filename, _is_link(info), archive)
    if info.filename.endswith('/'):  # Of '', is_dir asks for the last letter.
      continue
    _check_readable(info, archive)
    if not path.parts or path in members:
      raise RefusedArchiveError(
        f'{str(archive)!r} has a member {info.filename!r}, which is no name of '
        'its own for a file. Nothing was unpacked; get the archive from where '
        'you trust it.'
      )
    members[path] = info
  if not members:
    raise RefusedArchiveError(f'{str(archive)!r} has no files in it.')
  tops = {path.parts[0] for path in members}
  around = len(tops) == 1 and all(len(path.parts) > 1 for path in members)
  targets = {
    str(pathlib.PurePosixPath(*path.parts[around:])): info
    for path, info in members.items()
  }
  folders = {str(p) for t in targets for p in pathlib.PurePosixPath(t).parents}
  for target, info in targets.items():
    # One in place of the archive would replace what is being read.
    first = pathlib.PurePosixPath(target).parts[0].casefold()
    if target in folders or first in {name.casefold() for name in taken}:
      raise RefusedArchiveError(
        f'{str(archive)!r} has a member {info.filename!r}, whose name another '
        'file or folder has already. Nothing was unpacked; get the archive '
        'from where you trust it.'
      )
  return targets


def _inside(
  name: str, is_link: bool, archive: pathlib.Path
) -> pathlib.PurePosixPath:
  """The path of a member, if it stays within the folder.

  Raises:
    RefusedArchiveError: if it does not, or is a link.
  """
  path = pathlib.PurePosixPath(name.replace('\\', '/'))
  if is_link or path.is_absolute() or '..' in path.parts or ':' in name:
    raise RefusedArchiveError(
      f'{str(archive)!r} has a member {name!r}, which is a link or would be '
      'written outside the folder. Nothing was unpacked; get the archive from '
      'where you trust it.'
    )
  return path
