# SPDX-License-Identifier: Apache-2.0
"""How records reach the disk: hashed, written atomically, read without pickle.

Every record of this project is an `.npz` of plain arrays, or a JSON object that
fits a type of its own, a frozen `msgspec.Struct` or dataclass.
"""

import contextlib
import csv
import hashlib
import io
import json
import os
import pathlib
import secrets
import tempfile
import tokenize
import zipfile
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import filelock
import ml_collections
import msgspec
import numpy as np
from absl import logging

from neucrab_jax import spelling, stores, untrusted

# Bytes of a name that the usual file systems take, less an ending.
_LONGEST_NAME = 240


def file_name(name: str) -> str:
  """A name that a file can have: itself, or its beginning and a digest."""
  encoded = name.encode()
  if len(encoded) <= _LONGEST_NAME:
    return name
  kept = encoded[: _LONGEST_NAME - 17].decode(errors='ignore')
  return f'{kept}-{digest(name)[:16]}'


# What NumPy and zipfile raise on damaged or foreign files.
_DAMAGE = (
  OSError,
  EOFError,
  SyntaxError,  # Of a header, as is the next.
  tokenize.TokenError,
  KeyError,
  ValueError,
  RuntimeError,  # A flipped bit can say that the file is encrypted.
  zipfile.BadZipFile,
  zlib.error,
)

_Record = TypeVar('_Record')


class DamagedFileError(ValueError):
  """A file is there, but what it holds cannot be trusted."""


def digest(*parts: Any) -> str:
  """SHA-256 of a sequence of arrays, bytes and JSON values, as hex.

  Dtype and shape are part of an array's digest, and each part is framed by its
  length, so that no two different sequences share their bytes.
  """
  sha = hashlib.sha256()
  for part in parts:
    if isinstance(part, np.ndarray):
      header = f'{part.dtype.str}{part.shape}'.encode()
      body = np.ascontiguousarray(part).reshape(-1).view(np.uint8).data
    elif isinstance(part, bytes | memoryview):
      header, body = b'bytes', part
    else:
      header, body = b'json', json.dumps(part, sort_keys=True).encode()
    sha.update(f'{len(header)}:{len(body)}:'.encode() + header)
    sha.update(body)
  return sha.hexdigest()


def digest_sources(*packages: Any) -> str:
  """SHA-256 of the Python source of packages: what a cached result was made by.

  Args:
    *packages: imported packages or modules of this project.
  """
  files = []
  for package in packages:
    file = pathlib.Path(package.__file__)
    files += file.parent.rglob('*.py') if file.stem == '__init__' else [file]
  return digest(*(file.read_bytes() for file in sorted(files)))


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[pathlib.Path]:
  """Gives a temporary path beside `path` that becomes `path` on success.

  A reader sees the old file or the new one; of two writers the last one wins.
  What is of an object store is sent there.
  """
  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  # Not by mkstemp, whose files are private: results are as readable as any
  # other file, and no thread can ask for the umask without changing it.
  # A name of its own length might be too long with anything added.
  temporary = path.with_name(f'.{secrets.token_hex(8)}')
  temporary.touch(exist_ok=False)
  try:
    yield temporary
    os.replace(temporary, path)
    stores.push(path)
  finally:
    temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def claim(path: str | os.PathLike, *, wait: bool = False) -> Iterator[bool]:
  """Claims a record to be written for as long as the block lasts.

  The system takes the claim back from a process that ends, however it ends, so
  that no killed one keeps it.

  Args:
    path: of the record; an empty file beside it carries the claim, and stays.
    wait: until another process has let go of it.

  Returns:
    Whether the claim is this process's.
  """
  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  lock = filelock.FileLock(path.with_name(f'.{path.name}.lock'))
  try:
    lock.acquire(blocking=wait)
  except filelock.Timeout:
    yield False
    return
  except (OSError, NotImplementedError) as error:
    # Some network file systems have no locks.
    logging.warning(
      'No lock for %s (%s): start one run at a time.', path, error
    )
  try:
    yield True
  finally:
    lock.release()


def check_writable(folder: str | os.PathLike) -> None:
  """Makes a folder if need be, and checks that files can be written there.

  Raises:
    ValueError: if they can't.
  """
  untrusted.check_local(folder)
  try:
    pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
      pass
  except OSError as error:
    raise ValueError(
      f'Cannot write to {str(folder)!r}: {error.strerror}. Choose another '
      'folder.'
    ) from error


def open_workdir(workdir: str) -> pathlib.Path:
  """The folder for a run's results, which can be written to.

  Of an address in an object store, its place in the mirror, with what is there
  but for states of training, which are fetched by themselves.

  Raises:
    ValueError: if it can't.
  """
  if stores.is_address(workdir):
    folder = stores.fetch(workdir, without='states')
  else:
    untrusted.check_local(workdir)
    folder = pathlib.Path(workdir).expanduser()
  check_writable(folder)
  return folder


def write_text(path: str | os.PathLike, text: str) -> None:
  with atomic_path(path) as temporary:
    temporary.write_text(text, encoding='utf-8')


def _to_plain(value: Any) -> Any:
  """NumPy's numbers as Python's, of which alone msgspec knows."""
  if isinstance(value, np.generic):
    return value.item()
  raise TypeError(f'A record cannot hold {type(value).__name__}.')


_ENCODER = msgspec.json.Encoder(enc_hook=_to_plain)


# What a spreadsheet takes for the beginning of a formula.
_FORMULA = ('=', '+', '-', '@', '\t')


def _cell(value: Any) -> Any:
  """A cell that is read as the text that it is; numbers stay numbers."""
  if not isinstance(value, str):
    return value
  text = spelling.visible(value)
  return f"'{text}" if text.startswith(_FORMULA) else text


def to_csv(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
  """A table as CSV; what is None is empty."""
  text = io.StringIO()
  writer = csv.writer(text, lineterminator='\n')
  writer.writerow(header)
  writer.writerows([_cell(value) for value in row] for row in rows)
  return text.getvalue()


def to_json(record: Any) -> str:
  """A record as JSON; what is NaN or infinite, which JSON has not, is null."""
  return msgspec.json.format(_ENCODER.encode(record), indent=2).decode()


def to_builtins(record: Any) -> Any:
  """A record as the dicts, lists, numbers and strings that JSON is made of."""
  return json.loads(_ENCODER.encode(record))


def settings(config: ml_collections.ConfigDict) -> dict[str, Any]:
  """A config as JSON has it, for `config.json` and reports."""
  return json.loads(config.to_json_best_effort())


def write_json(path: str | os.PathLike, record: Any) -> None:
  """Writes a record as JSON, to be read by people too."""
  write_text(path, to_json(record) + '\n')


_SEAL = 'sha256'


def write_sealed(path: str | os.PathLike, record: Any) -> None:
  """Writes a record as JSON with a digest of itself, for our own reading."""
  content = to_builtins(record)
  write_json(path, {**content, _SEAL: digest(content)})


def _decode(path: pathlib.Path, kind: type[_Record], *, name: str) -> _Record:
  try:
    untrusted.check_regular(path)
    return msgspec.json.decode(path.read_bytes(), type=kind)
  except (msgspec.MsgspecError, ValueError, RecursionError) as error:
    raise DamagedFileError(
      f'{str(path)!r} is no {name} record: {error}.'
    ) from error


def read_sealed(
  path: str | os.PathLike, kind: type[_Record], *, needs_seal: bool = True
) -> _Record:
  """Reads a record that `write_sealed` wrote.

  Args:
    path: of the file.
    kind: as in `read_json`.
    needs_seal: refuse a record without a digest, as other programs write them.

  Raises:
    FileNotFoundError: if there is no such file.
    DamagedFileError: if it is not such a record, or was changed since.
  """
  path = pathlib.Path(path)
  content = _decode(path, dict, name=kind.__name__)
  seal = content.pop(_SEAL, None)
  if seal != digest(content) and (needs_seal or seal is not None):
    raise DamagedFileError(
      f'{str(path)!r} does not match its own digest: it was changed or damaged '
      'after it was written.'
    )
  try:
    return msgspec.convert(content, kind)
  except msgspec.ValidationError as error:
    raise DamagedFileError(
      f'{str(path)!r} is no {kind.__name__} record: {error}.'
    ) from error


def read_json(path: str | os.PathLike, kind: type[_Record]) -> _Record:
  """Reads a record that `write_json` wrote.

  Args:
    path: of the file.
    kind: the record's type. Every field is checked; one too many, one too few
      or one of another type is an error.

  Raises:
    FileNotFoundError: if there is no such file.
    DamagedFileError: if it is not such a record; the message names the file and
      the place in it.
  """
  return _decode(pathlib.Path(path), kind, name=kind.__name__)


def write_npz(
  path: str | os.PathLike,
  arrays: Mapping[str, np.ndarray],
  *,
  compress: bool = False,
) -> None:
  """Writes an `.npz` of plain arrays; floats hardly compress, and slowly."""
  for name, array in arrays.items():
    if array.dtype.hasobject:
      raise ValueError(f'Array {name!r} holds Python objects, not numbers.')
  save: Any = np.savez_compressed if compress else np.savez
  with atomic_path(path) as temporary, temporary.open('wb') as file:
    save(file, **arrays)


def read_npz(
  path: str | os.PathLike, names: Collection[str] = ()
) -> dict[str, np.ndarray]:
  """Reads arrays of an `.npz`, all or those of `names`, never unpickling.

  Raises:
    FileNotFoundError: if there is no such file.
    DamagedFileError: if it is no `.npz`, damaged, or holds more than arrays.
  """
  path = pathlib.Path(path)
  if not path.exists():
    raise FileNotFoundError(f'There is no file {str(path)!r}.')
  try:
    return untrusted.read_npz(path, names)
  except _DAMAGE as error:
    if 'allow_pickle' in str(error):
      raise DamagedFileError(
        f'{str(path)!r} holds pickled Python objects, which could run any '
        'code on loading. Save plain numeric arrays instead.'
      ) from error
    raise DamagedFileError(
      f'{str(path)!r} is not a readable .npz: {error}. Was it written whole?'
    ) from error
