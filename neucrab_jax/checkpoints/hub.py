# SPDX-License-Identifier: Apache-2.0
"""Checkpoints that are repositories of the Hugging Face hub: `hf:OWNER/NAME`.

A reference is resolved to a commit when it is chosen, and its weights are
downloaded when it is restored. Nothing else of a repository is taken than its
configs and its safetensors: never a pickle, never code.
"""

import contextlib
import dataclasses
import fnmatch
import pathlib
import re
from collections.abc import Iterator
from concurrent import futures

from neucrab_jax import environment
from neucrab_jax.checkpoints import (
  backbone,
  hub_client,
  readers,
  safetensors_files,
  spec,
)

_REVISION = '@'
_MAIN = 'main'

_CONFIG = 'config.json'
_PREPROCESSOR = 'preprocessor_config.json'

_WILDCARDS = re.compile(r'\[[^]]*\]|[*?]')

# Repositories that are asked for at once: each is a matter of waiting.
_AT_ONCE = 8

# Of a commit, what a name has: as Git's short ones.
_SHORT = 8


@dataclasses.dataclass(frozen=True)
class Repository:
  """A repository that was chosen.

  Attributes:
    repository: 'OWNER/NAME'.
    revision: a commit; or what was asked for, if that was not to be had.
  """

  repository: str
  revision: str

  @property
  def path(self) -> str:
    """The reference that means it for good."""
    return f'{readers.HUB}{self.repository}{_REVISION}{self.revision}'

  def name(self, depth: int) -> str:
    """What it is called: its name, then with its owner, then its commit."""
    owner, _, name = self.repository.rpartition('/')
    if depth and owner:
      name = f'{owner}-{name}'
    return f'{name}{_REVISION}{self.revision[:_SHORT]}' if depth > 1 else name

  def to_spec(self, name: str) -> spec.Checkpoint:
    return spec.Checkpoint(name, architecture='safetensors', path=self.path)


def split(reference: str) -> tuple[str, str]:
  """The repository and the revision of a reference.

  >>> split('hf:timm/resnet50.a1_in1k@v1')
  ('timm/resnet50.a1_in1k', 'v1')
  >>> split('hf:timm/resnet*')
  ('timm/resnet*', 'main')

  Raises:
    ValueError: if it names none.
  """
  text = reference.removeprefix(readers.HUB)
  repository, between, revision = map(str.strip, text.partition(_REVISION))
  if not repository or (between and not revision):
    raise ValueError(
      f'{reference!r} is no repository of the hub. Write hf:OWNER/NAME or '
      'hf:OWNER/NAME@REVISION.'
    )
  return repository, revision or _MAIN


def _resolve(repository: str, revision: str) -> Repository:
  """A repository at the commit that a revision is now."""
  config, _ = hub_client.fetch(repository, _CONFIG, revision=revision)
  return Repository(repository, config.parent.name)


def _try_to_resolve(repository: str, revision: str) -> Repository:
  """The same; what is wrong with it shows when it is restored."""
  try:
    return _resolve(repository, revision)
  except (OSError, ValueError):
    return Repository(repository, revision)


def find(reference: str) -> list[Repository]:
  """The repositories that a reference means, at the commits they are at now.

  Args:
    reference: 'hf:OWNER/NAME', with or without '@REVISION'; of a pattern of
      names, all that match, be it that some of them cannot be had.

  Raises:
    OSError: if it cannot be had, or nothing matches.
    ValueError: if it is no such reference.
  """
  repository, revision = split(reference)
  if not _WILDCARDS.search(repository):
    return [_resolve(repository, revision)]
  owner, between, pattern = repository.partition('/')
  if not between or _WILDCARDS.search(owner):
    raise ValueError(
      f'{reference!r} could be of any owner. Patterns are of the names of one, '
      'as hf:timm/resnet*.'
    )
  # The hub searches for text, of which the longest part says most.
  search = max(_WILDCARDS.split(pattern), key=len)
  listed = hub_client.list_repositories(owner, search=search)
  names = sorted(n for n in listed if fnmatch.fnmatchcase(n, repository))
  if not names:
    raise FileNotFoundError(
      f'No repository matches {reference!r}. In offline mode those in the '
      'cache alone are looked at.'
    )
  with futures.ThreadPoolExecutor(_AT_ONCE) as executor:
    return list(
      executor.map(lambda name: _try_to_resolve(name, revision), names)
    )


def _has_weights(repository: str, *, revision: str) -> bool:
  """Whether the cache has the weights, or says in which files they are."""
  return any(
    hub_client.has_cached(repository, name, revision=revision)
    for name in (safetensors_files.WEIGHTS, safetensors_files.INDEX)
  )


def _fetch_optional(
  repository: str, name: str, *, revision: str
) -> tuple[pathlib.Path, str] | None:
  """A file that few repositories have; None if this one has not."""
  try:
    return hub_client.fetch(repository, name, revision=revision)
  except hub_client.MissingFileError:
    return None
  except (FileNotFoundError, ConnectionError):
    # Without the hub, what is in the cache has to do.
    if not _has_weights(repository, revision=revision):
      raise
    return None


def _fetch_weights(repository: str, *, revision: str) -> dict[str, str]:
  """SHA-256 of the files with weights, by name.

  Raises:
    ValueError: if there are none but pickled ones.
  """
  name, index_name = safetensors_files.WEIGHTS, safetensors_files.INDEX
  # What is not in the cache may not exist, which without the hub nobody says.
  if not hub_client.has_cached(repository, index_name, revision=revision):
    with contextlib.suppress(hub_client.MissingFileError):
      _, sha256 = hub_client.fetch(repository, name, revision=revision)
      return {name: sha256}
  try:
    index, sha256 = hub_client.fetch(repository, index_name, revision=revision)
  except hub_client.MissingFileError as error:
    files = hub_client.list_files(repository, revision=revision)
    pickled = [f for f in files if safetensors_files.is_pickle(f)]
    if pickled:
      raise ValueError(
        safetensors_files.pickle_message(f'hf:{repository}/{pickled[0]}')
      ) from error
    raise FileNotFoundError(
      f"'hf:{repository}' has no {safetensors_files.WEIGHTS}. Choose a "
      'repository with safetensors of timm or transformers; or download a file '
      'of another kind, such as ONNX, and give its path.'
    ) from error
  return {index_name: sha256} | {
    name: hub_client.fetch(repository, name, revision=revision)[1]
    for name in safetensors_files.parts(index)
  }


def fetch(reference: str) -> tuple[pathlib.Path, environment.Source]:
  """Downloads what is not in the cache.

  Args:
    reference: of one repository.

  Returns:
    The folder with its files, and what they are.

  Raises:
    OSError: as `hub_client.fetch` does.
    ValueError: if it has no weights that can be read.
  """
  repository, revision = split(reference)
  config, sha256 = hub_client.fetch(repository, _CONFIG, revision=revision)
  commit = config.parent.name
  files = {_CONFIG: sha256}
  prepared = _fetch_optional(repository, _PREPROCESSOR, revision=commit)
  if prepared:
    files[_PREPROCESSOR] = prepared[1]
  files |= _fetch_weights(repository, revision=commit)
  return config.parent, environment.Source(repository, commit, files)


@contextlib.contextmanager
def _said_of(reference: str, folder: pathlib.Path) -> Iterator[None]:
  """Has errors name a reference: the path within the cache is long."""
  try:
    yield
  except (ValueError, OSError) as error:
    message = str(error)
    if str(folder) not in message:
      raise
    kind = FileNotFoundError if isinstance(error, OSError) else ValueError
    raise kind(message.replace(str(folder), reference)) from error


def restore(checkpoint: spec.Checkpoint) -> backbone.Backbone:
  """Reads a network of a repository, downloaded if need be.

  Args:
    checkpoint: whose `path` is a reference.

  Raises:
    OSError: as `fetch` does.
    ValueError: as `fetch` and the reader of folders do.
  """
  folder, source = fetch(checkpoint.path)
  reader = readers.find(str(folder))
  assert reader is not None
  with _said_of(checkpoint.path, folder):
    made = reader.restore(dataclasses.replace(checkpoint, path=str(folder)))
  return dataclasses.replace(
    made,
    checkpoint=dataclasses.replace(made.checkpoint, path=checkpoint.path),
    source=source,
  )
