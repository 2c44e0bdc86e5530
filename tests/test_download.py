# SPDX-License-Identifier: Apache-2.0
"""Downloads from a server on this machine, which can fail as servers do."""

import http.server
import io
import json
import os
import pathlib
import re
import tarfile
import threading
import zipfile

import pytest

from neucrab_jax import download
from tests import in_process

NAMES = [
  f'rank_ckpt/imagenet_inception_v1/model.ckpt-300000.{suffix}'
  for suffix in ('index', 'data-00000-of-00001')
]
ZIP = '/rank_ckpt.zip'
MODULE = '/vtab/rotation/1.tar.gz'


def make_zip(members):
  file = io.BytesIO()
  with zipfile.ZipFile(file, 'w') as packed:
    for name, content in members.items():
      packed.writestr(zipfile.ZipInfo(name), content)
  return file.getvalue()


def make_tar(members):
  file = io.BytesIO()
  with tarfile.open(fileobj=file, mode='w:gz') as packed:
    for name, content in members.items():
      member = tarfile.TarInfo(name)
      member.size = len(content)
      packed.addfile(member, io.BytesIO(content))
  return file.getvalue()


class Handler(http.server.BaseHTTPRequestHandler):
  def do_GET(self):
    server = self.server
    server.requested.append((self.path, self.headers.get('Range')))
    content = server.files.get(self.path)
    if content is None:
      self.send_error(404)
      return
    first = 0
    if match := re.match(r'bytes=(\d+)-', self.headers.get('Range', '')):
      first = int(match[1])
      if first >= len(content):
        self.send_error(416)
        return
    self.send_response(206 if first else 200)
    if first:
      sent = server.send_instead if server.send_instead else first
      size = len(content)
      self.send_header('Content-Range', f'bytes {sent}-{size - 1}/{size}')
      first = sent
    self.send_header('Content-Length', str(len(content) - first))
    self.end_headers()
    cut = server.cuts.pop(0) if server.cuts else len(content)
    self.wfile.write(content[first:][:cut])

  def log_message(self, *unused):
    pass


@pytest.fixture
def server(monkeypatch):
  """A server of `files`; each of `cuts` ends one answer after so many bytes."""
  server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
  server.files = {
    ZIP: make_zip({name: name.encode() * 10_000 for name in NAMES}),
    MODULE: make_tar({'./variables/variables.index': b'index'}),
  }
  server.cuts, server.requested, server.send_instead = [], [], None
  thread = threading.Thread(target=server.serve_forever, args=(0.01,))
  thread.start()
  url = f'http://127.0.0.1:{server.server_port}'
  monkeypatch.setattr(download, 'RANK_CKPT_URL', url + ZIP)
  monkeypatch.setattr(download, 'VTAB_URL', f'{url}/vtab')
  yield server
  server.shutdown()
  thread.join()
  server.server_close()


def unpacked(folder):
  return [folder / name.removeprefix('rank_ckpt/') for name in NAMES]


def test_unpacks_where_the_ranking_looks(server, tmp_path):
  assert download.download('neucrab_3', tmp_path / 'new') == []
  for file, name in zip(unpacked(tmp_path / 'new'), NAMES, strict=True):
    assert file.read_bytes() == name.encode() * 10_000


def test_keeps_modules_packed_where_the_ranking_looks(server, tmp_path):
  assert download.download('rotation', tmp_path) == []
  file = tmp_path / 'vtab' / 'rotation' / '1.tar.gz'
  assert file.read_bytes() == server.files[MODULE]


def test_what_is_there_is_verified_and_not_downloaded_again(server, tmp_path):
  download.download('imagenet_inception_v1,rotation', tmp_path)
  (tmp_path / 'rank_ckpt.zip').unlink()
  server.requested.clear()
  assert download.download('imagenet_inception_v1,rotation', tmp_path) == []
  assert server.requested == []


def test_goes_on_where_the_connection_broke(server, tmp_path):
  server.cuts = [100_000, 200_000]
  assert download.download('neucrab_3', tmp_path) == []
  starts = [ranges for _, ranges in server.requested]
  assert starts[0] is None
  assert len(set(starts)) == 3
  assert all(file.exists() for file in unpacked(tmp_path))


def test_goes_on_where_it_was_interrupted(server, tmp_path):
  server.cuts = [100_000, 0]
  (failure,) = download.download('neucrab_3', tmp_path)
  assert 'Run this again to go on' in failure
  had = (tmp_path / 'rank_ckpt.zip.part').stat().st_size
  assert 0 < had <= 100_000
  server.requested.clear()
  assert download.download('neucrab_3', tmp_path) == []
  assert server.requested == [(ZIP, f'bytes={had}-')]


def test_a_whole_part_needs_no_more(server, tmp_path):
  (tmp_path / 'rank_ckpt.zip.part').write_bytes(server.files[ZIP])
  assert download.download('neucrab_3', tmp_path) == []
  assert all(file.exists() for file in unpacked(tmp_path))


def test_without_a_network_a_file_put_there_will_do(server, tmp_path):
  (tmp_path / 'rank_ckpt.zip').write_bytes(server.files.pop(ZIP))
  assert download.download('neucrab_3', tmp_path) == []
  assert server.requested == []
  assert all(file.exists() for file in unpacked(tmp_path))


def test_a_file_that_cannot_be_had_does_not_take_the_others_down(
  server, tmp_path
):
  del server.files[ZIP]
  (failure,) = download.download('neucrab_3,rotation', tmp_path)
  assert re.search(r'404.*put that file at .*rank_ckpt\.zip', failure)
  assert (tmp_path / 'vtab' / 'rotation' / '1.tar.gz').exists()


def test_a_damaged_file_is_unpacked_again(server, tmp_path):
  download.download('neucrab_3', tmp_path)
  damaged, _ = unpacked(tmp_path)
  whole = damaged.read_bytes()
  damaged.write_bytes(b'?' + whole[1:])
  assert download.download('neucrab_3', tmp_path) == []
  assert damaged.read_bytes() == whole


def test_another_file_than_the_first_time_is_refused(server, tmp_path):
  download.download('rotation', tmp_path)
  file = tmp_path / 'vtab' / 'rotation' / '1.tar.gz'
  file.write_bytes(b'?' + file.read_bytes()[1:])
  (failure,) = download.download('rotation', tmp_path)
  assert re.search(r'has SHA-256 \w{64}, but had \w{64}.*Delete it', failure)


@pytest.mark.parametrize('selection', ['neucrab_3', 'rotation'])
def test_a_truncated_archive_is_not_recorded(server, tmp_path, selection):
  for path, content in server.files.items():
    server.files[path] = content[:-60]
  (failure,) = download.download(selection, tmp_path)
  assert re.search('is damaged.*Delete it and run this again', failure)
  assert not (tmp_path / 'checksums.json').exists()


@pytest.mark.parametrize('name', ['../escaped', '/tmp/escaped', 'a\\..\\..\\b'])
@pytest.mark.parametrize('selection', ['neucrab_3', 'rotation'])
def test_a_member_that_leaves_the_folder_is_refused(
  server, tmp_path, selection, name
):
  members = {'rank_ckpt/fine': b'fine', name: b'escaped'}
  server.files = {ZIP: make_zip(members), MODULE: make_tar(members)}
  (failure,) = download.download(selection, tmp_path / 'folder')
  assert 'would be written outside' in failure
  files = [f.name for f in pathlib.Path(tmp_path).rglob('*') if f.is_file()]
  assert files == ['rank_ckpt.zip' if selection == 'neucrab_3' else '1.tar.gz']


def _patched(members, change):
  """A zip archive, with a change to the central directory's first entry."""
  content = bytearray(make_zip(members))
  change(content, content.index(b'PK\x01\x02'))
  return bytes(content)


def _set_flag(content, entry):
  content[entry + 8] |= 1


def _set_method(content, entry):
  content[entry + 10] = 97


FINE = {'rank_ckpt/fine': b'fine'}
ODD_ZIPS = {
  'no name': ({'': b'x', **FINE}, 'no name of its own'),
  'dot': ({'.': b'x', **FINE}, 'no name of its own'),
  'dot with a top': ({'./.': b'x', **FINE}, 'no name of its own'),
  'archive': ({'rank_ckpt.zip': b'x', **FINE}, 'has already'),
  'archive in a top': ({'top/rank_ckpt.zip': b'x'}, 'has already'),
  'archive in capitals': ({'RANK_CKPT.ZIP': b'x', **FINE}, 'has already'),
  'below the archive': ({'rank_ckpt.zip/a': b'x', **FINE}, 'has already'),
  'checksums': ({'checksums.json': b'{}', **FINE}, 'has already'),
  'file and folder': ({'t/a': b'x', 't/a/b': b'y'}, 'has already'),
  'same twice': ({'t/a': b'x', 't/./a': b'y'}, 'no name of its own'),
  'nothing': ({}, 'no files'),
  'folders alone': ({'a/': b'', 'a/b/': b''}, 'no files'),
  'encrypted': (_patched(FINE, _set_flag), 'encrypted'),
  'compression': (_patched(FINE, _set_method), 'compressed by method 97'),
  'text': (b'no archive', 'is damaged'),
  'empty': (b'', 'is damaged'),
}


@pytest.mark.parametrize('odd', ODD_ZIPS)
def test_an_odd_archive_is_refused_before_anything_is_written(
  server, tmp_path, odd
):
  members, message = ODD_ZIPS[odd]
  content = members if isinstance(members, bytes) else make_zip(members)
  (tmp_path / 'rank_ckpt.zip').write_bytes(content)
  (failure,) = download.download('neucrab_3', tmp_path)
  assert message in failure
  assert 'rank_ckpt.zip' in failure
  assert [file.name for file in tmp_path.iterdir()] == ['rank_ckpt.zip']


@pytest.mark.parametrize('first', [1, 50_000, 199_999])
def test_another_part_than_was_asked_for_is_not_appended(
  server, tmp_path, first
):
  (tmp_path / 'rank_ckpt.zip.part').write_bytes(server.files[ZIP][:100_000])
  server.send_instead = first
  assert download.download('neucrab_3', tmp_path) == []
  assert [ranges for _, ranges in server.requested] == ['bytes=100000-', None]
  assert (tmp_path / 'rank_ckpt.zip').read_bytes() == server.files[ZIP]


def test_what_nothing_pins_is_told_once(server, tmp_path):
  told = []
  download.download('neucrab_3,rotation', tmp_path, told.append)
  assert len(told) == 2
  for message in told:
    assert re.search(r'nothing pins.*plain http.*SHA-256 is \w{64}', message)
  (tmp_path / 'rank_ckpt.zip').unlink()
  unpacked(tmp_path)[0].unlink()
  download.download('neucrab_3,rotation', tmp_path, told.append)
  assert len(told) == 2


@pytest.mark.parametrize(
  'content',
  ['{', '[]', 'null', '7', '{"a": 1}', '{"a": {"size": "1"}}', '[' * 9999],
)
def test_damaged_checksums_say_so(server, tmp_path, content):
  (tmp_path / 'checksums.json').write_text(content)
  with pytest.raises(ValueError, match=r'checksums\.json.*Delete it'):
    download.download('rotation', tmp_path)


@pytest.mark.parametrize('name', ['rank_ckpt.zip', 'checksums.json'])
def test_a_pipe_is_not_waited_for(server, tmp_path, name):
  os.mkfifo(tmp_path / name)
  tell = re.escape(str(tmp_path / name)) + '.*it is a pipe'
  if name == 'checksums.json':
    with pytest.raises(ValueError, match=tell):
      download.download('neucrab_3', tmp_path)
  else:
    (failure,) = download.download('neucrab_3', tmp_path)
    assert re.search(tell, failure)


def test_checksums_say_where_files_came_from(server, tmp_path):
  download.download('neucrab_3,rotation', tmp_path)
  known = json.loads((tmp_path / 'checksums.json').read_text())
  assert known['vtab/rotation/1.tar.gz']['url'].endswith(MODULE)
  assert known['rank_ckpt.zip']['size'] == len(server.files[ZIP])
  assert len(known) == 2 + len(NAMES)


def test_bundled_checkpoints_need_nothing(server, tmp_path):
  assert download.download('mini_1', tmp_path) == []
  assert server.requested == []


def test_an_unknown_group(tmp_path):
  with pytest.raises(ValueError, match=r"'neucrab_4'.*mean 'neucrab_\d'"):
    download.download('neucrab_4', tmp_path / 'new')
  assert not (tmp_path / 'new').exists()


@pytest.mark.parametrize(
  ('selection', 'status', 'message'),
  [
    ('rotation', 0, 'All there. To rank them: --config.checkpoints=rotation'),
    ('neucrab_4', 2, "download: Unknown checkpoint 'neucrab_4'"),
    ('', 2, 'download: No checkpoint is chosen'),
  ],
)
def test_the_command_says_how_it_went(
  server, tmp_path, selection, status, message
):
  flags = f'--group={selection}', f'--dir={tmp_path}'
  found, out, errors = in_process.run('download', download.start, *flags)
  assert found == status, errors
  assert message in out + errors


def test_the_command_tells_of_failures(server, tmp_path):
  server.files.clear()
  flags = '--group=rotation', f'--dir={tmp_path}'
  found, out, errors = in_process.run('download', download.start, *flags)
  assert (found, out) == (1, '')
  assert re.search(r'^download: .*put that file at', errors, re.MULTILINE)
