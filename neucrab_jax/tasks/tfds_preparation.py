# SPDX-License-Identifier: Apache-2.0
"""Downloads and prepares a data set of TFDS, quietly if that fails at once.

Without a network, TFDS writes a screen of bars and retries, and leaves folders.
"""

import contextlib
import io
import logging
import os
import pathlib
import sys
import time
from collections.abc import Iterator
from typing import Any

# Each retry waits twice as long as the one before. TFDS's own 10 need over
# three minutes to find out that there is no network, these some ten seconds.
_MAX_RETRIES = 5

# What is written within so many seconds waits until they are over: by then it
# is known whether there is a network.
_PATIENCE_SECONDS = 15.0


class _Late(io.TextIOBase):
  """A stream whose beginning is held back; what ends before says nothing."""

  def __init__(self, stream: Any):
    self._stream = stream
    self._held: list[str] | None = []
    self._begun = time.monotonic()

  def write(self, text: str) -> int:
    if self._held is not None:
      self._held.append(text)
      if time.monotonic() - self._begun < _PATIENCE_SECONDS:
        return len(text)
      text, self._held = ''.join(self._held), None
    self._stream.write(text)
    return len(text)

  def flush(self) -> None:
    if self._held is None:
      self._stream.flush()

  def isatty(self) -> bool:
    return self._stream.isatty()

  def fileno(self) -> int:
    return self._stream.fileno()

  @property
  def encoding(self) -> str:
    return self._stream.encoding


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
  """Holds back bars, and leaves out what is logged of each retry."""
  logger = logging.getLogger('urllib3.connectionpool')
  level = logger.level
  logger.setLevel(logging.ERROR)
  try:
    # What TFDS prints is of the same kind as its bars.
    late: Any = _Late(sys.stderr)
    with contextlib.redirect_stdout(late), contextlib.redirect_stderr(late):
      yield
  finally:
    logger.setLevel(level)


def _root(builder: Any) -> pathlib.Path:
  """The folder of all data sets."""
  depth = len(builder.info.full_name.split('/'))
  return pathlib.Path(os.fspath(builder.data_dir)).parents[depth - 1]


def _remove_empty(folder: pathlib.Path) -> None:
  """Removes a folder if there is no file in it, and below it likewise."""
  for below, _, _ in os.walk(folder, topdown=False):
    with contextlib.suppress(OSError):  # There is something in it.
      os.rmdir(below)


@contextlib.contextmanager
def _leaving_no_folders(builder: Any) -> Iterator[None]:
  """Removes the empty folders that a failure leaves."""
  root = _root(builder)
  downloads = root / 'downloads'
  above = [p for p in (downloads, root, *root.parents) if not p.exists()]
  try:
    yield
  except BaseException:
    _remove_empty(root / builder.name)
    _remove_empty(downloads / builder.name)
    with contextlib.suppress(OSError):
      (downloads / 'extracted').rmdir()
    for folder in above:
      with contextlib.suppress(OSError):
        folder.rmdir()
    raise


def _reason(error: Exception) -> str:
  """What went wrong, in a line."""
  # Of requests, which is not imported for this.
  url = getattr(getattr(error, 'request', None), 'url', None)
  if isinstance(error, OSError) and isinstance(url, str):
    host = url.partition('://')[2].partition('/')[0]
    return f'{host} does not answer ({type(error).__name__})'
  first = next(iter(str(error).strip().splitlines()), '')
  return f'{type(error).__name__}: {first}'


def _advise(error: Exception, *, builder: Any) -> str:
  """What to do about a data set that could not be prepared."""
  if isinstance(error, ImportError):
    return (
      f'Install {error.name or "what is missing"} (cv2 is in '
      'opencv-python-headless) and try again; downloads are kept.'
    )
  if builder.MANUAL_DOWNLOAD_INSTRUCTIONS:
    return 'It has to be fetched by hand, and put there.'
  return (
    'Without a network, run `tfds build '
    f'{builder.info.full_name.rpartition("/")[0]}` elsewhere and copy the '
    'folder it makes to there.'
  )


def prepare(builder: Any) -> None:
  """Downloads and prepares a data set, unless that is done.

  Raises:
    RuntimeError: if it cannot be done, with what to do instead.
  """
  from tensorflow_datasets.core.download import downloader

  downloader.MAX_RETRIES = _MAX_RETRIES
  try:
    with _quiet(), _leaving_no_folders(builder):
      builder.download_and_prepare()
  # Every data set has code and servers of its own: anything can go wrong.
  except Exception as error:
    raise RuntimeError(
      f'TFDS could not prepare {builder.info.full_name!r} in '
      f'{str(builder.data_dir)!r}: {_reason(error)}. '
      f'{_advise(error, builder=builder)}'
    ) from error
