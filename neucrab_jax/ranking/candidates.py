# SPDX-License-Identifier: Apache-2.0
"""What a run ranks, and how to get the features of each.

Candidates are either checkpoints, whose features are extracted or found in the
cache, or files of features that any framework wrote.
"""

import collections
import dataclasses
import functools
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from neucrab_jax import (
  checkpoints,
  compiling,
  features,
  input_files,
  measures,
  spelling,
  storage,
  tasks,
)
from neucrab_jax.ops import stratified
from neucrab_jax.ranking import record
from neucrab_jax.typing import Config

# Called with how many examples are done since the last call.
Advance = Callable[[int], None]


@dataclasses.dataclass(frozen=True)
class Computed:
  """What there is of one candidate, and how it came about.

  Attributes:
    features: of its checkpoint.
    seconds: by step, such as 'restore' and 'extract'.
    cached: whether they were found in the cache.
    about: what is known of the checkpoint as a whole, such as num_parameters,
      and how to train it, for the measures that take it.
    warnings: what a reader of the result should know.
  """

  features: features.Features
  seconds: Mapping[str, float]
  cached: bool
  about: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  warnings: tuple[str, ...] = ()

  def inputs(self) -> dict[str, Any]:
    """All that a measure can be given."""
    return {
      'features': self.features.features,
      'labels': self.features.labels,
      'source_probs': self.features.source_probs,
      **self.about,
    }


@dataclasses.dataclass(frozen=True)
class Candidate:
  """One row of the ranking to be.

  Attributes:
    name: of the checkpoint.
    size: how many times its `compute` will advance the progress.
    compute: gets the features.
  """

  name: str
  size: int
  compute: Callable[[Advance], Computed]


@dataclasses.dataclass(frozen=True)
class Candidates:
  """All that a run ranks, on the same examples.

  Attributes:
    task: its description, as `ranking.json` has it.
    candidates: in the order given.
  """

  task: record.Task
  candidates: tuple[Candidate, ...]

  @property
  def size(self) -> int:
    """How many times all of them advance the progress."""
    return sum(candidate.size for candidate in self.candidates)


def _choose(examples: tasks.Examples, config: Config) -> np.ndarray:
  measures.check_seed(config.sample_seed)
  if not config.num_examples:
    return np.arange(len(examples))
  return stratified.sample(
    examples.labels, num_examples=config.num_examples, seed=config.sample_seed
  )


def _fine_tune(*arguments: Any, **options: Any) -> np.ndarray:
  # Few runs train, and what training needs takes seconds to import.
  from neucrab_jax.finetuning import early_stopping

  return early_stopping.accuracies(*arguments, **options)


def _about(
  backbone: checkpoints.Backbone, examples: tasks.Examples, indices: np.ndarray
) -> dict[str, Any]:
  """What is known of a checkpoint; unknown stays unknown."""
  about = {
    'num_parameters': backbone.num_parameters,
    'fine_tune': functools.partial(_fine_tune, backbone, examples, indices),
  }
  accuracy = backbone.checkpoint.upstream_accuracy
  return about if accuracy is None else {**about, 'upstream_accuracy': accuracy}


def _compute(
  advance: Advance,
  *,
  checkpoint: checkpoints.Checkpoint,
  task: str,
  examples: tasks.Examples,
  indices: np.ndarray,
  batch_size: int,
  cache_dir: str,
) -> Computed:
  """Restores a checkpoint and gets its features."""
  start = time.perf_counter()
  backbone = checkpoints.restore(checkpoint)
  restored = time.perf_counter()
  with compiling.watched() as watch:
    computed = features.compute(
      backbone,
      examples,
      indices=indices,
      task=task,
      batch_size=batch_size,
      cache_dir=cache_dir,
      advance=advance,
    )
  return Computed(
    computed.features,
    seconds={
      'restore': restored - start,
      'extract': watch.running,
      'extract_compiling': watch.compiling,
    },
    cached=computed.cached,
    about=_about(backbone, examples, indices),
    warnings=(*checkpoints.notes(backbone), *computed.warnings),
  )


def from_checkpoints(config: Config) -> Candidates:
  """Checkpoints by name, on a task.

  Args:
    config: with `task`, `checkpoints`, `checkpoint_dir`, `preprocessing`,
      `batch_size` and `cache_dir`.

  Raises:
    ValueError: if a name is unknown, or the task is not one.
  """
  chosen = checkpoints.select(
    config.checkpoints,
    config.checkpoint_dir,
    config.preprocessing,
    config.get('weights', 'raw'),
  )
  features.round_batch_size(config.batch_size)
  task = tasks.load(
    config.task.name,
    data_dir=config.task.data_dir or None,
    **tasks.folder_options(config.task),
  )
  examples = task.read(config.task.split)
  indices = _choose(examples, config.task)
  cache_dir = features.cache_dir(config.cache_dir)
  storage.check_writable(cache_dir)
  compute = functools.partial(
    _compute,
    task=task.name,
    examples=examples,
    indices=indices,
    batch_size=config.batch_size,
    cache_dir=cache_dir,
  )
  return Candidates(
    task=record.Task(
      name=task.name,
      split=config.task.split,
      num_examples=len(indices),
      num_classes=task.num_classes,
      fingerprint=storage.digest(examples.fingerprint, indices),
      num_damaged=examples.num_damaged,
      split_fingerprint=examples.split_fingerprint,
    ),
    candidates=tuple(
      Candidate(
        checkpoint.name,
        size=len(indices),
        compute=functools.partial(compute, checkpoint=checkpoint),
      )
      for checkpoint in chosen
    ),
  )


def _read(advance: Advance, *, path: pathlib.Path) -> Computed:
  start = time.perf_counter()
  found = features.read(path)
  advance(1)
  seconds = {'read': time.perf_counter() - start}
  return Computed(found, seconds=seconds, cached=False)


def _fail(advance: Advance, *, error: Exception) -> Computed:
  advance(1)
  raise error


def _inspect(
  path: pathlib.Path, chosen: Sequence[str]
) -> np.ndarray | Exception:
  """A file's labels, or what is wrong with it for every measure."""
  try:
    found = features.read(path)
  except Exception as error:  # Whatever a foreign file can provoke.
    return error
  inputs = Computed(found, seconds={}, cached=False).inputs()
  labels, errors = found.labels, []
  for measure in chosen:
    try:
      # What the reader should know is told with the score.
      labels = measures.check_inputs(measure, **inputs).arguments['labels']
    except ValueError as error:
      errors.append(error)
  if len(errors) == len(chosen):
    return errors[0]
  return found.labels if found.labels.dtype.kind in 'iu' else labels


def from_files(pattern: str, *, chosen: Sequence[str]) -> Candidates:
  """Files of features; the stem of a file names its checkpoint.

  All files are looked through before the first is scored. One that no measure
  can take, or whose labels are not those of most others, fails alone.

  Args:
    pattern: a glob, such as 'DIR/*.npz'.
    chosen: the measures that the features are for.

  Raises:
    ValueError: if no file matches, or two have the same stem.
  """
  paths = input_files.find(pattern, setting='features', inside=('*.npz',))
  if not paths:
    raise ValueError(
      "No file is chosen. Give --config.features='DIR/*.npz', or several "
      'between commas.'
    )
  named = {path: spelling.of_file(path.stem) for path in paths}
  stems = collections.Counter(named.values())
  (stem, count), *_ = stems.most_common(1)
  if count > 1:
    same = [str(path) for path in paths if named[path] == stem]
    raise ValueError(
      f'{" and ".join(same)} would all be called {stem!r}. Rename some.'
    )
  labels = {path: _inspect(path, chosen) for path in paths}
  fingerprints = {
    path: storage.digest(found)
    for path, found in labels.items()
    if isinstance(found, np.ndarray)
  }
  (usual, _), *_ = collections.Counter(fingerprints.values()).most_common(
    1
  ) or [('', 0)]

  def candidate(path: pathlib.Path) -> Candidate:
    compute = functools.partial(_read, path=path)
    error = labels[path]
    if path in fingerprints and fingerprints[path] != usual:
      error = ValueError(
        'Its labels are not those of the other files. All files must hold the '
        'same examples in the same order.'
      )
    if isinstance(error, Exception):
      compute = functools.partial(_fail, error=error)
    return Candidate(named[path], size=1, compute=compute)

  examples = next(
    (
      found
      for path, found in labels.items()
      if isinstance(found, np.ndarray) and fingerprints[path] == usual
    ),
    np.zeros(0, np.int32),
  )
  return Candidates(
    task=record.Task(
      name=spelling.of_file(paths[0].absolute().parent.name),
      split='all',
      num_examples=int(examples.size),
      num_classes=int(examples.max(initial=-1)) + 1,
      fingerprint=usual,
    ),
    candidates=tuple(map(candidate, paths)),
  )
