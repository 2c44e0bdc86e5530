# SPDX-License-Identifier: Apache-2.0
"""Downloads: by which way, and when they end. `test_download` has the rest."""

import errno

import pytest
import requests

from neucrab_jax.checkpoints import transfer

URL = 'http://example.org/x'


class Answer:
  """What a server sent."""

  def __init__(self, content=b'', *, status=200, headers=None):
    self.content, self.status_code = content, status
    self.headers = headers or {}

  def __enter__(self):
    return self

  def __exit__(self, *unused):
    pass

  def raise_for_status(self):
    if self.status_code >= 400:
      raise requests.HTTPError(self.status_code)

  def iter_content(self, size):
    yield self.content


@pytest.fixture
def download(monkeypatch, tmp_path):
  """Downloads by https and http, as functions say; and what was asked for."""

  def run(**ways):
    asked = []

    def get(url, **options):
      asked.append(url.partition(':')[0])
      answer = ways[asked[-1]]
      if isinstance(answer, Exception):
        raise answer
      return answer

    monkeypatch.setattr(requests, 'get', get)
    path = tmp_path / 'folder' / 'x'
    sizes = []
    url = transfer.download(URL, path, lambda *both: sizes.append(both))
    return path.read_bytes(), url.partition(':')[0], asked, sizes

  return run


def test_https_comes_first(download):
  found = download(https=Answer(b'abc', headers={'Content-Length': '3'}))
  assert found == (b'abc', 'https', ['https'], [(3, 3)])


@pytest.mark.parametrize(
  'failure', [requests.ConnectionError('refused'), requests.Timeout('late')]
)
def test_without_https_it_is_had_by_http(failure, download):
  content, scheme, asked, sizes = download(https=failure, http=Answer(b'abc'))
  assert (content, scheme, asked) == (b'abc', 'http', ['https', 'http'])
  assert sizes == [(3, None)]


@pytest.mark.parametrize(
  ('answer', 'kind'),
  [
    (Answer(status=404), requests.HTTPError),
    (
      requests.ConnectionError('CERTIFICATE_VERIFY_FAILED'),
      requests.ConnectionError,
    ),
  ],
)
def test_a_server_that_says_no_is_not_asked_by_http(answer, kind, download):
  # There is no such answer: to ask for it would be another error.
  with pytest.raises(kind):
    download(https=answer)


def test_a_part_that_nobody_asked_for_is_refused(download):
  part = Answer(b'bc', status=206, headers={'Content-Range': 'bytes 1-2/3'})
  with pytest.raises(requests.ConnectionError, match='a part of the file only'):
    download(https=part, http=part)


def test_a_file_that_ends_early_is_not_taken(download):
  short = Answer(b'', headers={'Content-Length': '3'})
  with pytest.raises(requests.ConnectionError, match='before its 3 bytes'):
    download(https=short, http=short)


def test_a_disk_without_room_is_told_before(download):
  huge = Answer(b'', headers={'Content-Length': str(10**18)})
  with pytest.raises(OSError, match='GB are needed') as caught:
    download(https=huge)
  assert caught.value.errno == errno.ENOSPC
