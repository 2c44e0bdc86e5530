# SPDX-License-Identifier: Apache-2.0
"""Files of features, which any framework wrote, as candidates."""

import collections
import contextlib
import dataclasses
import functools
import pathlib
import time
from collections.abc import Hashable, Mapping, Sequence
from concurrent import futures

import numpy as np

from neucrab_jax import features, input_files, measures, spelling, storage
from neucrab_jax.ranking import candidates, record


@dataclasses.dataclass(frozen=True)
class _Seen:
  """What a file says of itself.

  Attributes:
    labels: [N].
    origin: of features that this program extracted; None of others.
  """

  labels: np.ndarray
  origin: features.Origin | None

  @functools.cached_property
  def digest(self) -> str:
    """SHA-256 of the labels."""
    return storage.digest(self.labels)


# Files that are read at once, and bytes of one up to which it is read ahead:
# larger ones would take the memory that scoring needs.
_AT_ONCE = 2
_FEW_BYTES = 1 << 25


def _read(path: pathlib.Path) -> candidates.Computed:
  start = time.perf_counter()
  found = features.read(path)
  seconds = {'read': time.perf_counter() - start}
  return candidates.Computed(found, seconds=seconds, cached=False)


class _Reader:
  """Reads files, small ones in threads while those before them are scored."""

  def __init__(self):
    self._pool = futures.ThreadPoolExecutor(_AT_ONCE, 'read')
    self._jobs: dict[pathlib.Path, futures.Future[candidates.Computed]] = {}

  def start(self, path: pathlib.Path) -> None:
    """Has a file read that will be taken soon, if it is small."""
    if path in self._jobs:
      return
    with contextlib.suppress(OSError):  # Who takes it is told.
      if path.stat().st_size <= _FEW_BYTES:
        self._jobs[path] = self._pool.submit(_read, path)

  def take(
    self,
    advance: candidates.Advance,
    part: features.Prefix | None = None,
    *,
    path: pathlib.Path,
  ) -> candidates.Computed:
    """Gives what a file holds, which is not kept.

    Raises:
      Exception: what `features.read` does.
    """
    job = self._jobs.pop(path, None)
    computed = _read(path) if job is None else job.result()
    advance(1)
    return candidates.of_part(computed, part)


def _fail(
  advance: candidates.Advance,
  part: features.Prefix | None = None,
  *,
  error: Exception,
) -> candidates.Computed:
  del part
  advance(1)
  raise error


def _inspect(path: pathlib.Path) -> _Seen | Exception:
  """What a file says of itself, or what is wrong with its labels."""
  try:
    head = features.read_head(path)
    classes = measures.check_labels(head.labels).value
  except Exception as error:  # Whatever a foreign file can provoke.
    return error
  if head.labels.dtype.kind in 'iu' and head.labels.ndim == 1:
    classes = head.labels
  return _Seen(classes, features.origin(head))


def _names(
  found: Mapping[pathlib.Path, _Seen | Exception],
) -> dict[pathlib.Path, str]:
  """What each file's checkpoint is called: as the file, or by its origin.

  Files of the cache have names of their own, for which no accuracy is known.

  Raises:
    ValueError: if two are called the same.
  """
  named = {path: spelling.of_file(path.stem) for path in found}
  of_origins = {
    path: seen.origin.checkpoint
    for path, seen in found.items()
    if isinstance(seen, _Seen)
    and seen.origin
    and path.stem.endswith(seen.origin.cache_ending)
  }
  counts = collections.Counter({**named, **of_origins}.values())
  # The cache holds a checkpoint more than once, for several tasks.
  named |= {p: name for p, name in of_origins.items() if counts[name] == 1}
  (name, count), *_ = collections.Counter(named.values()).most_common(1)
  if count > 1:
    same = [str(path) for path in found if named[path] == name]
    raise ValueError(
      f'{" and ".join(same)} would all be called {name!r}. Rename some.'
    )
  return named


def _most(values: Sequence[Hashable]) -> Hashable:
  """The most frequent; None of none."""
  return next(iter(collections.Counter(values).most_common(1)), (None,))[0]


def find(pattern: str) -> candidates.Candidates:
  """Files of features; the stem of a file names its checkpoint.

  The labels of all are read before the first is scored. A file whose examples
  are not those of most others fails alone, as one does that is damaged.

  Args:
    pattern: a glob, such as 'DIR/*.npz'.

  Raises:
    ValueError: if no file matches, or two would be called the same.
  """
  paths = input_files.find(pattern, setting='features', inside=('*.npz',))
  if not paths:
    raise ValueError(
      "No file is chosen. Give --config.features='DIR/*.npz', or several "
      'between commas.'
    )
  found = {path: _inspect(path) for path in paths}
  named = _names(found)
  seen = [each for each in found.values() if isinstance(each, _Seen)]
  usual = _most([each.digest for each in seen])
  seen = [each for each in seen if each.digest == usual]
  origins = [each.origin for each in seen if each.origin]
  examples = _most([origin.examples for origin in origins])

  def problem(each: _Seen | Exception) -> Exception | None:
    if isinstance(each, Exception):
      return each
    if each.digest != usual:
      return ValueError(
        'Its labels are not those of the other files. All files must hold the '
        'same examples in the same order.'
      )
    if each.origin and each.origin.examples != examples:
      return ValueError(
        f'It is of other examples, of the task {each.origin.task!r}, than the '
        'other files. All files must hold the same examples in the same order.'
      )
    return None

  reader = _Reader()

  def candidate(path: pathlib.Path) -> candidates.Candidate:
    error = problem(found[path])
    if error:
      fail = functools.partial(_fail, error=error)
      return candidates.Candidate(named[path], size=1, compute=fail)
    return candidates.Candidate(
      named[path],
      size=1,
      compute=functools.partial(reader.take, path=path),
      prepare=functools.partial(reader.start, path),
    )

  labels = seen[0].labels if seen else np.zeros(0, np.int32)
  origin = next((o for o in origins if o.examples == examples), None)
  folder = spelling.of_file(paths[0].absolute().parent.name)
  return candidates.Candidates(
    task=record.Task(
      name=origin.task if origin else folder,
      split='all',
      num_examples=int(labels.size),
      num_classes=int(labels.max(initial=-1)) + 1,
      fingerprint=origin.examples if origin else str(usual or ''),
      split_fingerprint=origin.split if origin else '',
    ),
    candidates=tuple(map(candidate, paths)),
    labels=labels,
  )
