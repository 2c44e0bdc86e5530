# SPDX-License-Identifier: Apache-2.0
"""Archives of weights: downloaded, verified and unpacked, each step once.

What was downloaded or unpacked is written to `checksums.json` beside it, with
its size and SHA-256; whoever asks for it again gets it verified, not downloaded
again.
"""

import hashlib
import os
import pathlib
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator

import msgspec
import requests

from neucrab_jax import storage

_MANIFEST = 'checksums.json'
_CHUNK = 1 << 16  # What a broken connection may cost.
# Seconds, to connect and between two pieces of a file.
_TIMEOUT = (10, 60)

# Called with the bytes that are there and those that there will be, if known.
Report = Callable[[int, int | None], None]


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
    if entry is None or not path.exists():
      return False
    if path.stat().st_size != entry.size:
      return False
    return _sha256(path, report) == entry.sha256

  def record(self, name: str, sha256: str, **origin: str) -> None:
    """Remembers a file as it is now."""
    size = (self.path / name).stat().st_size
    self._known[name] = Held(size=size, sha256=sha256, **origin)
    storage.write_json(self._manifest, self._known)

  def fetch(self, name: str, url: str, report: Report) -> str:
    """Gets a file that is missing or damaged, from where its download ended.

    A file that somebody has put there is taken as it is.

    Returns:
      Its SHA-256, for `record`, once what is in it has been checked.

    Raises:
      ConnectionError: if it cannot be downloaded.
      storage.DamagedFileError: if it is not what it was the first time.
    """
    path = self.path / name
    entry = self._known.get(name)
    if not path.exists() or (entry and path.stat().st_size != entry.size):
      path.unlink(missing_ok=True)
      try:
        _download(url, path, report)
      except (requests.RequestException, OSError) as error:
        # Of the many that urllib3 wraps, the one that says why.
        reason = getattr(error.args[0] if error.args else None, 'reason', error)
        raise ConnectionError(
          f'Could not download {url}: {reason}. Run this again to go on; or, '
          f'without a network, put that file at {str(path)!r} first.'
        ) from error
    sha256 = _sha256(path, report)
    if entry and sha256 != entry.sha256:
      raise storage.DamagedFileError(
        f'{str(path)!r} has SHA-256 {sha256}, but had {entry.sha256} when '
        'it was first downloaded: it is damaged, or another file now. '
        'Delete it to download it again, and its entry in '
        f'{str(self._manifest)!r} to accept what comes.'
      )
    return sha256

  def unpack(self, name: str, report: Report) -> list[str]:
    """Unpacks a `.zip`, without the one folder that it may have around all.

    Returns:
      The names of the files.

    Raises:
      storage.DamagedFileError: if it is damaged.
      ValueError: if a member would be written outside the folder. Then nothing
        is written.
    """
    archive = self.path / name
    try:
      with zipfile.ZipFile(archive) as packed:
        members = {
          _inside(info.filename, _is_link(info), archive): info
          for info in packed.infolist()
          if not info.is_dir()
        }
        tops = {path.parts[0] for path in members}
        around = len(tops) == 1 and all(len(p.parts) > 1 for p in members)
        total = sum(info.file_size for info in members.values())
        _check_space(self.path, total)
        done, names = 0, []
        for path, info in members.items():
          target = str(pathlib.PurePosixPath(*path.parts[around:]))
          sha = hashlib.sha256()
          with (
            storage.atomic_path(self.path / target) as temporary,
            packed.open(info) as source,
            temporary.open('wb') as sink,
          ):
            for chunk in iter(lambda s=source: s.read(_CHUNK), b''):
              sink.write(chunk)
              sha.update(chunk)
              done += len(chunk)
              report(done, total)
          self.record(target, sha.hexdigest(), archive=name)
          names.append(target)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
      raise storage.DamagedFileError(
        f'{str(archive)!r} is damaged: {error}. Delete it and run this again.'
      ) from error
    return names

  def check_tar(self, name: str) -> None:
    """Reads a `.tar.gz`, which stays packed, from end to end.

    Raises:
      storage.DamagedFileError: if it is damaged.
      ValueError: if a member would be written outside its folder.
    """
    archive = self.path / name
    try:
      with tarfile.open(archive) as packed:
        for member in packed:
          if not member.isdir():
            _inside(member.name, not member.isfile(), archive)
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
      raise storage.DamagedFileError(
        f'{str(archive)!r} is damaged: {error}. Delete it and run this again.'
      ) from error


def _chunks(path: pathlib.Path) -> Iterator[bytes]:
  with path.open('rb') as file:
    yield from iter(lambda: file.read(_CHUNK), b'')


def _sha256(path: pathlib.Path, report: Report) -> str:
  sha, done, total = hashlib.sha256(), 0, path.stat().st_size
  for chunk in _chunks(path):
    sha.update(chunk)
    done += len(chunk)
    report(done, total)
  return sha.hexdigest()


def _check_space(folder: pathlib.Path, wanted: int) -> None:
  free = shutil.disk_usage(folder).free
  if wanted > free:
    raise OSError(
      f'{str(folder)!r} has room for {free / 1e9:.1f} GB, and '
      f'{wanted / 1e9:.1f} GB are needed'
    )


def _download(url: str, path: pathlib.Path, report: Report) -> None:
  """Downloads a file, as long as each attempt brings some more of it."""
  path.parent.mkdir(parents=True, exist_ok=True)
  part = path.with_name(f'{path.name}.part')
  while True:
    before = part.stat().st_size if part.exists() else 0
    try:
      _download_rest(url, part, before, report)
      break
    except requests.RequestException:
      if not part.exists() or part.stat().st_size <= before:
        raise
  os.replace(part, path)


def _download_rest(
  url: str, part: pathlib.Path, before: int, report: Report
) -> None:
  # Not compressed on the way, for sizes are those of the file.
  headers = {'Accept-Encoding': 'identity'}
  if before:
    headers['Range'] = f'bytes={before}-'
  with requests.get(
    url, headers=headers, stream=True, timeout=_TIMEOUT
  ) as response:
    if response.status_code == requests.codes.requested_range_not_satisfiable:
      # All of it is there; or another file's end, which its checks will tell.
      return
    response.raise_for_status()
    if response.status_code != requests.codes.partial_content:
      before = 0
    length = response.headers.get('Content-Length')
    total = before + int(length) if length else None
    _check_space(part.parent, int(length or 0))
    with part.open('ab' if before else 'wb') as file:
      for chunk in response.iter_content(_CHUNK):
        file.write(chunk)
        report(file.tell(), total)
  if total is not None and part.stat().st_size < total:
    raise requests.ConnectionError(f'it ended before its {total} bytes')


def _is_link(info: zipfile.ZipInfo) -> bool:
  return stat.S_ISLNK(info.external_attr >> 16)


def _inside(
  name: str, is_link: bool, archive: pathlib.Path
) -> pathlib.PurePosixPath:
  """The path of a member, if it stays within the folder.

  Raises:
    ValueError: if it does not, or is a link.
  """
  path = pathlib.PurePosixPath(name.replace('\\', '/'))
  if is_link or path.is_absolute() or '..' in path.parts or ':' in name:
    raise ValueError(
      f'{str(archive)!r} has a member {name!r}, which is a link or would be '
      'written outside the folder. Nothing was unpacked; get the archive from '
      'where you trust it.'
    )
  return path
