# SPDX-License-Identifier: Apache-2.0
"""The Hugging Face hub by its own client, which is imported nowhere else.

The user's cache, token, endpoint and offline mode are the client's. It is
imported when a reference asks for it: runs without one don't wait for it. What
it gets is compared with the digest that the hub tells of it, and what goes
wrong is one line.
"""

import contextlib
import hashlib
import io
import os
import pathlib
import re
from collections.abc import Iterator
from typing import Any

from neucrab_jax import interruption, progress, storage

# What the client calls a file that it keeps: the digest that the hub tells.
_SHA256 = re.compile(r'[0-9a-f]{64}')
_SHA1 = re.compile(r'[0-9a-f]{40}')

# Bytes of a file that is there before a bar of it could be read.
_SMALL = 1 << 20

_TOKEN = 'by `hf auth login` or as HF_TOKEN'


# How often a download is begun: those that are cut go on where they were, which
# not all versions of the client do by themselves.
_TRIES = 3


# What it then raises, of the library that it has for HTTP, which changes.
_CUT = ('ReadError', 'ReadTimeout', 'RemoteProtocolError')


class MissingFileError(FileNotFoundError):
  """A repository is there, and a file of it is not."""


class _CutError(ConnectionError):
  """A file came in part."""


def _chain(error: BaseException | None) -> Iterator[BaseException]:
  """An error, what it came of, and so on."""
  while error is not None:
    yield error
    error = error.__cause__ or error.__context__


def _status(error: BaseException) -> int | None:
  """What the server answered; None if it did not."""
  for each in _chain(error):
    response = getattr(each, 'response', None)
    if response is not None:
      return response.status_code
  return None


def _reason(error: BaseException) -> str:
  """The first error of a chain that says more than what it led to."""
  from huggingface_hub import errors

  told = [
    each
    for each in _chain(error)
    # Some versions ask again by a client that they have closed.
    if not isinstance(each, (errors.LocalEntryNotFoundError, RuntimeError))
  ]
  return ' '.join(str((told or [error])[0]).split()) or type(error).__name__


def _explained(
  error: Exception, repository: str, *, revision: str, wanted: str
) -> Exception:
  """What went wrong in one line, and what to do about it.

  Args:
    error: of the client, or of what it uses.
    repository: that was asked for.
    revision: of it.
    wanted: what of it, in words.
  """
  from huggingface_hub import constants, errors

  what, status = repr(f'hf:{repository}'), _status(error)
  page = f'{constants.ENDPOINT}/{repository}'
  offline = constants.HF_HUB_OFFLINE
  if isinstance(error, errors.HFValidationError):
    return ValueError(
      f'{what} is no repository of the hub. Write hf:OWNER/NAME, as '
      'hf:timm/resnet50.a1_in1k.'
    )
  if isinstance(error, errors.RevisionNotFoundError):
    return FileNotFoundError(
      f'{what} has no revision {revision!r}. Give a branch, a tag or a whole '
      'commit hash behind the @.'
    )
  if isinstance(error, errors.RemoteEntryNotFoundError):
    return MissingFileError(f'{what} has no {wanted}.')
  if isinstance(error, errors.GatedRepoError) or status == 403:
    return PermissionError(
      f'{what} is gated. Ask for access at {page}, and give a token that has '
      f'it, {_TOKEN}.'
    )
  if status == 401:
    return PermissionError(
      f'{what} is private, or not there: the hub does not tell strangers '
      f'which. Check its name; or give a token that may read it, {_TOKEN}.'
    )
  if isinstance(error, errors.RepositoryNotFoundError):
    return FileNotFoundError(f'There is no {what}. Check its name: {page}')
  if status == 404:
    return MissingFileError(
      f'There is no {what}, or no {wanted} in it. Check its name: {page}'
    )
  if status is not None:
    return ConnectionError(
      f'{what} cannot be had now: {constants.ENDPOINT} answered {status}. Try '
      'again later.'
    )
  if offline:
    return FileNotFoundError(
      f'{what}: {wanted} is not in the cache {constants.HF_HUB_CACHE!r}, and '
      'HF_HUB_OFFLINE is set. Unset it for one run, which downloads it.'
    )
  if getattr(error, 'errno', None):
    return OSError(
      f'{what}: {wanted} cannot be kept in {constants.HF_HUB_CACHE!r}: '
      f'{_reason(error)}. HF_HOME names another folder.'
    )
  if type(error).__name__ in _CUT or 'Consistency check' in str(error):
    return _CutError(
      f'{what}: {wanted} did not come whole from {constants.ENDPOINT}: '
      f'{_reason(error)}. Check the network, and run this again.'
    )
  return ConnectionError(
    f'{what}: {wanted} is not in the cache {constants.HF_HUB_CACHE!r}, and '
    f'{constants.ENDPOINT} cannot be reached: {_reason(error)}. Check the '
    'network, its proxy and HF_ENDPOINT.'
  )


def _bars_of(title: str) -> type:
  """What the client calls as it does tqdm, and is shown as our bars are."""
  # With the client, late.
  from tqdm import std

  class Bar(std.tqdm):
    monitor_interval = 0  # No thread that wakes up bars.

    def __init__(self, *args: Any, **options: Any):
      self._stack = contextlib.ExitStack()
      options = {
        k: v for k, v in options.items() if k not in ('name', 'disable', 'file')
      }
      super().__init__(*args, file=io.StringIO(), **options)
      self._report = lambda done, total: interruption.check()
      if not self.total or self.total > _SMALL:
        self._report = self._stack.enter_context(progress.download(title))

    def update(self, n: float | None = 1) -> bool | None:
      shown = super().update(n)
      self._report(int(self.n), int(self.total) if self.total else None)
      return shown

    def close(self) -> None:
      super().close()
      self._stack.close()

  return Bar


def has_cached(repository: str, name: str, *, revision: str) -> bool | None:
  """Whether a file of a commit is in the cache; None if nothing is known.

  False if the hub said once that the commit has no such file.
  """
  import huggingface_hub

  found = huggingface_hub.try_to_load_from_cache(
    repository, name, revision=revision
  )
  return None if found is None else isinstance(found, str)


def _get(
  repository: str, name: str, revision: str, *, again: bool = False
) -> pathlib.Path:
  """A file as it is in the cache, where the client puts it if need be."""
  import huggingface_hub

  # A branch may have got the file since.
  if _SHA1.fullmatch(revision) and (
    has_cached(repository, name, revision=revision) is False
  ):
    raise MissingFileError(f"'hf:{repository}' has no {name}.")
  for left in reversed(range(_TRIES)):
    try:
      path = huggingface_hub.hf_hub_download(
        repository,
        name,
        revision=revision,
        force_download=again,
        tqdm_class=_bars_of(f'{repository}: {name}'),
      )
      return pathlib.Path(path)
    except Exception as error:
      told = _explained(error, repository, revision=revision, wanted=name)
      if not left or not isinstance(told, _CutError):
        raise told from error
  raise AssertionError


def _told(path: pathlib.Path) -> str:
  """The digest that the hub told of a file; '' if the cache has no links."""
  # One link on: further links are of a store that repositories share.
  return os.path.basename(os.readlink(path)) if path.is_symlink() else ''


def _digest(path: pathlib.Path, kind: str) -> str:
  with path.open('rb') as file:
    return hashlib.file_digest(file, kind).hexdigest()


def _is_as_told(path: pathlib.Path, sha256: str) -> bool:
  """Whether a file has the digest that the hub told; any if it told none."""
  told = _told(path)
  if _SHA256.fullmatch(told):
    return told == sha256
  if _SHA1.fullmatch(told):
    # As Git has it, of a file that is small.
    raw = path.read_bytes()
    blob = b'blob %d\0' % len(raw) + raw
    return told in (hashlib.sha1(blob).hexdigest(), _digest(path, 'sha1'))
  return True


def fetch(
  repository: str, name: str, *, revision: str
) -> tuple[pathlib.Path, str]:
  """A file of a repository, in the client's cache, and its SHA-256.

  One that is damaged there is downloaded once more.

  Args:
    repository: 'OWNER/NAME'.
    name: of the file.
    revision: a branch, a tag or a commit.

  Returns:
    Its path, in a folder that is called as the commit, and its digest.

  Raises:
    MissingFileError: if the repository has no such file.
    FileNotFoundError: if there is no such repository or revision, or in offline
      mode the file is not in the cache.
    PermissionError: if it is private or gated.
    ConnectionError: if it is not in the cache, and the hub does not answer.
    storage.DamagedFileError: if it has not the digest that the hub tells.
    ValueError: if it is no name of a repository.
  """
  from huggingface_hub import constants

  path = _get(repository, name, revision)
  sha256 = _digest(path, 'sha256')
  if _is_as_told(path, sha256):
    return path, sha256
  if not constants.HF_HUB_OFFLINE:
    path = _get(repository, name, path.parent.name, again=True)
    sha256 = _digest(path, 'sha256')
    if _is_as_told(path, sha256):
      return path, sha256
    # Nobody else should take it for what it is not.
    told = _told(path)
    path.resolve().unlink()
    path.unlink()
    raise storage.DamagedFileError(
      f'hf:{repository}: {name} is not what the hub says that it is: its '
      f'digest is {sha256}, not {told}. It was damaged or changed on its way. '
      'Run this again, by another network if it stays so.'
    )
  raise storage.DamagedFileError(
    f'hf:{repository}: {str(path)!r} is damaged: its digest is {sha256}, not '
    f'{_told(path)}. Unset HF_HUB_OFFLINE for one run, which gets it again.'
  )


def list_files(repository: str, *, revision: str) -> list[str]:
  """The names of a repository's files; none if the hub does not tell."""
  import huggingface_hub

  try:
    info = huggingface_hub.HfApi().model_info(repository, revision=revision)
    return [sibling.rfilename for sibling in info.siblings or ()]
  except Exception:
    # They are for a message alone.
    return []


def list_repositories(owner: str, *, search: str) -> list[str]:
  """The names of an owner's models; in offline mode those in the cache.

  Args:
    owner: a user or an organisation.
    search: what is in the names; it may be empty.

  Raises:
    OSError: if the hub does not answer.
  """
  import huggingface_hub
  from huggingface_hub import constants, errors

  if constants.HF_HUB_OFFLINE:
    try:
      found = huggingface_hub.scan_cache_dir().repos
    except errors.CacheNotFound:
      return []
    return [
      repo.repo_id
      for repo in found
      if repo.repo_type == 'model' and repo.repo_id.startswith(f'{owner}/')
    ]
  try:
    models = huggingface_hub.HfApi().list_models(
      author=owner, search=search or None
    )
    return [model.id for model in models]
  except Exception as error:
    status = _status(error)
    answered = f'answered {status}' if status else 'cannot be reached'
    raise ConnectionError(
      f'The models of {owner!r} cannot be listed: {constants.ENDPOINT} '
      f'{answered}: {_reason(error)}. Name them one by one; or set '
      'HF_HUB_OFFLINE=1, by which a pattern means those in the cache.'
    ) from error
