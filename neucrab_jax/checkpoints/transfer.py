# SPDX-License-Identifier: Apache-2.0
"""Downloads of large files, which go on from where they broke off."""

import errno
import os
import pathlib
import re
import shutil
from collections.abc import Callable

import requests

CHUNK = 1 << 16  # What a broken connection may cost.
# Seconds, to connect and between two pieces of a file.
_TIMEOUT = (10, 60)

# Called with the bytes that are there and those that there will be, if known.
Report = Callable[[int, int | None], None]


def check_space(folder: pathlib.Path, wanted: int) -> None:
  """Refuses what the disk has no room for.

  Raises:
    OSError: if it has not.
  """
  free = shutil.disk_usage(folder).free
  if wanted > free:
    raise OSError(
      errno.ENOSPC,
      f'{str(folder)!r} has room for {free / 1e9:.1f} GB, and '
      f'{wanted / 1e9:.1f} GB are needed',
    )


def download(url: str, path: pathlib.Path, report: Report) -> str:
  """Downloads a file, by https if the server has it.

  Args:
    url: of plain http, too. An answer of a server that cannot prove who it is
      is not asked for again without the proof.
    path: where to; what is there of it is in a `.part` beside.
    report: called as bytes arrive.

  Returns:
    The address that it came from.

  Raises:
    requests.RequestException, OSError: if it cannot be had.
  """
  path.parent.mkdir(parents=True, exist_ok=True)
  if url.startswith('http://'):
    secure = url.replace('http://', 'https://', 1)
    try:
      _download_all(secure, path, report)
      return secure
    except requests.HTTPError:
      raise
    except (requests.ConnectionError, requests.Timeout) as error:
      if 'CERTIFICATE_VERIFY_FAILED' in str(error):
        raise
  _download_all(url, path, report)
  return url


def _download_all(url: str, path: pathlib.Path, report: Report) -> None:
  """Goes on as long as each attempt brings some more of the file."""
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


def _is_rest(response: requests.Response, before: int) -> bool:
  """Whether a part that a server sent is all that follows what is there."""
  given = response.headers.get('Content-Range', '')
  found = re.fullmatch(r'bytes (\d+)-(\d+)/(\d+|\*)', given.strip())
  if not found:
    return False
  first, last, size = found.groups()
  return int(first) == before and size in ('*', str(int(last) + 1))


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
    is_part = response.status_code == requests.codes.partial_content
    if not is_part or _is_rest(response, before):
      before = before if is_part else 0
      _save(response, part, before, report)
      return
  if not before:
    raise requests.ConnectionError('the server sent a part of the file only')
  # Appended to what is there, it would make another file.
  _download_rest(url, part, 0, report)


def _save(
  response: requests.Response,
  part: pathlib.Path,
  before: int,
  report: Report,
) -> None:
  length = response.headers.get('Content-Length')
  total = before + int(length) if length else None
  check_space(part.parent, int(length or 0))
  with part.open('ab' if before else 'wb') as file:
    for chunk in response.iter_content(CHUNK):
      file.write(chunk)
      report(file.tell(), total)
  if total is not None and part.stat().st_size < total:
    raise requests.ConnectionError(f'it ended before its {total} bytes')
