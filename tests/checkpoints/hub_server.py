# SPDX-License-Identifier: Apache-2.0
"""A hub on this machine: as much of its protocol as the real client speaks."""

import contextlib
import dataclasses
import hashlib
import http.server
import json
import pathlib
import re
import threading
import urllib.parse
from collections.abc import Iterator

# Of the repository that tests have.
NAME = 'timm/resnet50.a1_in1k'

_FILE = re.compile(r'/(?P<name>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(.+)')


@dataclasses.dataclass
class Repository:
  """What the hub has of a model.

  Attributes:
    files: contents by name.
    revisions: commits by name; all have the same files.
    digests: what is told of files in place of their own.
    token: without which nobody may read it.
    status: of every answer about it.
  """

  files: dict[str, bytes]
  revisions: dict[str, str]
  digests: dict[str, str] = dataclasses.field(default_factory=dict)
  token: str = ''
  status: int = 200

  def digest(self, name: str) -> str:
    content = self.files[name]
    if name.endswith('.json'):
      blob = b'blob %d\0' % len(content) + content
      own = hashlib.sha1(blob).hexdigest()
    else:
      own = hashlib.sha256(content).hexdigest()
    return self.digests.get(name, own)


def commit(name: str) -> str:
  return hashlib.sha1(name.encode()).hexdigest()


class Hub(http.server.ThreadingHTTPServer):
  """The server.

  Attributes:
    repositories: by name.
    requested: (method, path, the range asked for) of all requests.
    cuts: after so many bytes each next answer with weights ends.
  """

  daemon_threads = True

  def __init__(self):
    super().__init__(('127.0.0.1', 0), _Handler)
    self.repositories: dict[str, Repository] = {}
    self.requested: list[tuple[str, str, str | None]] = []
    self.cuts: list[int] = []

  @property
  def url(self) -> str:
    return f'http://127.0.0.1:{self.server_port}'

  def add(self, name: str, folder: pathlib.Path, **options) -> Repository:
    """Has a repository with the files of a folder."""
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    revisions = {'main': commit(name), commit(name): commit(name)}
    repository = Repository(files, revisions, **options)
    self.repositories[name] = repository
    return repository

  def paths(self, method: str = 'GET') -> list[str]:
    return [path for kind, path, _ in self.requested if kind == method]


class _Handler(http.server.BaseHTTPRequestHandler):
  server: Hub

  def _refuse(self, status: int, code: str = '', message: str = '') -> None:
    self.send_response(status)
    if code:
      self.send_header('X-Error-Code', code)
      self.send_header('X-Error-Message', message or code)
    self.send_header('Content-Length', '0')
    self.end_headers()

  def _find(self, name: str) -> Repository | None:
    """A repository that may be read; if there is none, that is said."""
    found = self.server.repositories.get(name)
    if found is None:
      self._refuse(404, 'RepoNotFound', 'Repository not found')
    elif found.status != 200:
      code = 'GatedRepo' if found.status == 403 else ''
      self._refuse(found.status, code)
    elif found.token and (
      self.headers.get('Authorization') != f'Bearer {found.token}'
    ):
      self._refuse(401, 'RepoNotFound', 'Invalid username or password.')
    else:
      return found
    return None

  def _send_json(self, content) -> None:
    raw = json.dumps(content).encode()
    self.send_response(200)
    self.send_header('Content-Type', 'application/json')
    self.send_header('Content-Length', str(len(raw)))
    self.end_headers()
    self.wfile.write(raw)

  def _send_models(self, query: dict[str, list[str]]) -> None:
    (author,), (search,) = query['author'], query.get('search', [''])
    self._send_json(
      [
        {'id': name, 'modelId': name, 'tags': []}
        for name in self.server.repositories
        if name.startswith(f'{author}/') and search in name
      ]
    )

  def _send_info(self, name: str, revision: str) -> None:
    found = self._find(name)
    if found is None:
      return
    if revision not in found.revisions:
      self._refuse(404, 'RevisionNotFound', 'Invalid rev id')
      return
    siblings = [{'rfilename': file} for file in found.files]
    sha = found.revisions[revision]
    self._send_json({'id': name, 'sha': sha, 'siblings': siblings, 'tags': []})

  def _send_file(self, name: str, revision: str, file: str) -> None:
    found = self._find(name)
    if found is None:
      return
    if revision not in found.revisions:
      self._refuse(404, 'RevisionNotFound', 'Invalid rev id')
      return
    if file not in found.files:
      self.send_response(404)
      self.send_header('X-Error-Code', 'EntryNotFound')
      self.send_header('X-Repo-Commit', found.revisions[revision])
      self.send_header('Content-Length', '0')
      self.end_headers()
      return
    content = found.files[file]
    size, first = len(content), 0
    if match := re.match(r'bytes=(\d+)-', self.headers.get('Range') or ''):
      first = int(match[1])
    self.send_response(206 if first else 200)
    if first:
      self.send_header('Content-Range', f'bytes {first}-{size - 1}/{size}')
    self.send_header('X-Repo-Commit', found.revisions[revision])
    self.send_header('ETag', f'"{found.digest(file)}"')
    self.send_header('X-Linked-ETag', f'"{found.digest(file)}"')
    self.send_header('X-Linked-Size', str(size))
    self.send_header('Content-Length', str(size - first))
    self.end_headers()
    if self.command == 'HEAD':
      return
    is_cut = self.server.cuts and file.endswith('.safetensors')
    cut = self.server.cuts.pop(0) if is_cut else size
    self.wfile.write(content[first:][:cut])

  def do_GET(self) -> None:
    asked = self.headers.get('Range')
    self.server.requested.append((self.command, self.path, asked))
    parts = urllib.parse.urlsplit(urllib.parse.unquote(self.path))
    info = re.fullmatch(
      r'/api/models/([^/]+/[^/]+)(?:/revision/(.+))?', parts.path
    )
    if match := _FILE.fullmatch(parts.path):
      self._send_file(*match.groups())
    elif parts.path == '/api/models':
      self._send_models(urllib.parse.parse_qs(parts.query))
    elif info:
      self._send_info(info[1], info[2] or 'main')
    else:
      self._refuse(404)

  do_HEAD = do_GET

  def log_message(self, *unused) -> None:
    pass


@contextlib.contextmanager
def serving() -> Iterator[Hub]:
  with Hub() as hub:
    thread = threading.Thread(target=hub.serve_forever, args=(0.01,))
    thread.start()
    try:
      yield hub
    finally:
      hub.shutdown()
      thread.join()
