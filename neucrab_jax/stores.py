# SPDX-License-Identifier: Apache-2.0
"""Object stores, s3:// and gs:// among them, by fsspec, as files of a mirror.

An address has one place in a mirror, in the user's cache folder. Files are
fetched to it if the store's are others, and what is written there by
`storage.atomic_path` is sent to the store. An object is whole or not there;
what fails for a moment is tried again, and what was made stays here.
"""

import contextlib
import functools
import hashlib
import json
import os
import pathlib
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import platformdirs

_ADDRESS = re.compile(r'([a-z][a-z0-9+.-]+)://(.+)', re.IGNORECASE)
# The packages that know a store, and the extras that install them.
_EXTRAS = {'s3': 's3', 's3a': 's3', 'gs': 'gcs', 'gcs': 'gcs'}
# Of a request that fails, and seconds before the second try, twice as many
# before each further one.
_MOST_TRIES, _FIRST_WAIT = 6, 0.2
# What no further try would change.
_FINAL = (FileNotFoundError, PermissionError, IsADirectoryError)
# What an object is known again by, where the store says.
_VERSION = ('size', 'ETag', 'etag', 'md5Hash', 'mtime', 'created', 'updated')
# Beside a folder in the store, the names of the files that make it.
_FILES = '.files.json'

_Result = TypeVar('_Result')


def is_address(path: str | os.PathLike) -> bool:
  """Whether a path is the address of an object store."""
  return bool(_ADDRESS.fullmatch(os.fspath(path)))


def _root() -> pathlib.Path:
  return platformdirs.user_cache_path('neucrab_jax') / 'stores'


def place(address: str) -> pathlib.Path:
  """Where the mirror has an address."""
  match = _ADDRESS.fullmatch(address)
  assert match is not None
  parts = [part for part in match[2].split('/') if part not in ('', '.', '..')]
  return _root().joinpath(match[1].lower(), *parts)


def address(path: str | os.PathLike) -> str | None:
  """The address that a path of the mirror is of; None of any other path."""
  with contextlib.suppress(ValueError):
    scheme, *parts = pathlib.Path(path).relative_to(_root()).parts
    return f'{scheme}://{"/".join(parts)}'
  return None


def _file_system(where: str) -> tuple[Any, str]:
  """The store of an address, and what the address is called there.

  Raises:
    ValueError: if the store is unknown, or its package is not installed.
  """
  # Imported by who needs it: it takes a while.
  from fsspec import core

  try:
    return core.url_to_fs(where)
  except Exception as error:  # A driver may lack whatever it needs.
    scheme = where.partition(':')[0]
    extra = _EXTRAS.get(scheme.lower())
    remedy = (
      f"pip install 'neucrab_jax[{extra}]'."
      if extra
      else 'Copy it here, or mount it.'
    )
    raise ValueError(
      f'{where!r} is on {scheme}://, which cannot be reached: {error} {remedy}'
    ) from error


def checked_place(where: str) -> pathlib.Path:
  """Where the mirror has an address, whose store can be reached.

  Raises:
    ValueError: if it is unknown, or its package is not installed.
  """
  _file_system(where)
  return place(where)


def _try(function: Callable[[], _Result]) -> _Result:
  """Calls until it does not fail, or too often.

  Raises:
    OSError: what the store says.
  """
  for number in range(_MOST_TRIES):
    try:
      return function()
    except _FINAL:
      raise
    except Exception as error:  # Each store has errors of its own.
      if number + 1 == _MOST_TRIES:
        raise OSError(f'{type(error).__name__}: {error}') from error
      time.sleep(_FIRST_WAIT * 2**number)
  raise AssertionError


def _version(info: Mapping[str, Any]) -> str:
  told = {key: str(info[key]) for key in _VERSION if info.get(key) is not None}
  return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def _note(path: pathlib.Path) -> pathlib.Path:
  """The file that says which version of an object the mirror has."""
  return _root() / '.versions' / path.relative_to(_root())


def _write(path: pathlib.Path, write: Callable[[str], Any]) -> None:
  """Has a file written, and moved to its place when it is whole."""
  path.parent.mkdir(parents=True, exist_ok=True)
  temporary = path.with_name(f'.{os.urandom(8).hex()}')
  try:
    write(str(temporary))
    os.replace(temporary, path)
  finally:
    temporary.unlink(missing_ok=True)


def _keep_version(path: pathlib.Path, info: Mapping[str, Any]) -> None:
  _write(
    _note(path), lambda file: pathlib.Path(file).write_text(_version(info))
  )


def _fetch(store: Any, name: str, info: Mapping[str, Any], path) -> None:
  """One object, unless the mirror has it."""
  note = _note(path)
  if path.exists() and note.exists() and note.read_text() == _version(info):
    return

  def get() -> None:
    def write(file: str) -> None:
      store.get_file(name, file)
      found, expected = os.path.getsize(file), info.get('size')
      if expected is not None and found != expected:
        raise OSError(f'{found} of {expected} bytes of {name!r} came.')

    _write(path, write)

  _try(get)
  _keep_version(path, info)


def _found(store: Any, name: str) -> dict[str, Mapping[str, Any]]:
  """The objects of a name, or below it."""

  def find() -> dict[str, Mapping[str, Any]]:
    store.invalidate_cache()
    return store.find(name, detail=True)

  try:
    return _try(find)
  except FileNotFoundError:
    return {}


def fetch(where: str, *, without: str = '') -> pathlib.Path:
  """Fetches a file, or all files of a folder.

  Args:
    where: the address.
    without: a folder of it that is left out.

  Returns:
    Its place in the mirror, where nothing is if nothing is there.
  """
  store, name = _file_system(where)
  path = place(where)
  for one, info in _found(store, name).items():
    below = pathlib.PurePosixPath(one.lstrip('/')).relative_to(name.lstrip('/'))
    if not without or below.parts[:1] != (without,):
      _fetch(store, one, info, path / below)
  return path


def fetch_matches(pattern: str) -> list[pathlib.Path]:
  """Fetches what matches a pattern, or begins as it says.

  Returns:
    Places in the mirror, sorted.
  """
  store, name = _file_system(pattern)
  scheme = pattern.partition(':')[0]

  def find() -> list[str]:
    store.invalidate_cache()
    return store.glob(name)

  matches = sorted(_try(find))
  return [fetch(f'{scheme}://{match.lstrip("/")}') for match in matches]


def pull(path: pathlib.Path) -> bool:
  """Whether there is a file, which is fetched if it is one of the mirror."""
  where = address(path)
  if where is not None:
    store, name = _file_system(where)

    def look() -> Mapping[str, Any]:
      store.invalidate_cache()
      return store.info(name)

    with contextlib.suppress(FileNotFoundError):
      _fetch(store, name, _try(look), path)
  return path.exists()


def pull_alike(path: str | os.PathLike) -> None:
  """Fetches all whose names begin as a file's, its ending aside.

  A checkpoint is several files. Nothing is done for what is not of the mirror,
  nor for a folder that is there: it was fetched when it was chosen.
  """
  where = address(path)
  if where is not None and not os.path.isdir(path):
    base = pathlib.PurePosixPath(where).stem or where
    fetch_matches(f'{where.rpartition("/")[0]}/{base}*')


def push(path: pathlib.Path) -> None:
  """Sends the file of a path, if it is one of the mirror.

  Raises:
    OSError: if the store does not take it. The file stays where it is.
  """
  where = address(path)
  if where is None:
    return
  store, name = _file_system(where)
  _try(functools.partial(store.put_file, str(path), name))

  def look() -> Mapping[str, Any]:
    store.invalidate_cache()
    return store.info(name)

  _keep_version(path, _try(look))


def remove(path: pathlib.Path) -> None:
  """Removes a file, if it is there, and its object."""
  path.unlink(missing_ok=True)
  where = address(path)
  if where is not None:
    store, name = _file_system(where)
    with contextlib.suppress(FileNotFoundError):
      _try(functools.partial(store.rm_file, name))


def _below(folder: pathlib.Path) -> Iterator[pathlib.Path]:
  return (file for file in folder.rglob('*') if file.is_file())


def push_folder(folder: pathlib.Path) -> None:
  """Sends all files of a folder of the mirror; they are seen together, or none.

  One object names the files that make the folder, and is sent when they are.
  """
  where = address(folder)
  if where is None:
    return
  files = sorted(_below(folder))
  for file in files:
    push(file)
  listed = folder.with_name(folder.name + _FILES)
  names = [file.relative_to(folder).as_posix() for file in files]
  _write(listed, lambda to: pathlib.Path(to).write_text(json.dumps(names)))
  push(listed)
  store, name = _file_system(where)
  for old in _found(store, name):
    below = pathlib.PurePosixPath(old.lstrip('/')).relative_to(name.lstrip('/'))
    if below.as_posix() not in names:
      with contextlib.suppress(FileNotFoundError):
        _try(functools.partial(store.rm_file, old))


def pull_folder(folder: pathlib.Path) -> None:
  """Fetches the files that make a folder of the mirror, and no others."""
  if address(folder) is None:
    return
  listed = folder.with_name(folder.name + _FILES)
  if not pull(listed):
    return
  names = json.loads(listed.read_text())
  for file in _below(folder):
    if file.relative_to(folder).as_posix() not in names:
      file.unlink()
  for name in names:
    pull(folder / name)


def remove_folder(folder: pathlib.Path) -> None:
  """Removes a folder with all that is in it, here and in the store."""
  shutil.rmtree(folder, ignore_errors=True)
  where = address(folder)
  if where is not None:
    store, name = _file_system(where)
    remove(folder.with_name(folder.name + _FILES))
    for one in _found(store, name):
      with contextlib.suppress(FileNotFoundError):
        _try(functools.partial(store.rm_file, one))
