# SPDX-License-Identifier: Apache-2.0
"""What a run ranks, and how to get the features of each.

Candidates are checkpoints, whose features are extracted or found in the cache;
`feature_files` makes them of what other frameworks wrote.
"""

import dataclasses
import functools
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from neucrab_jax import (
  checkpoints,
  compiling,
  features,
  measures,
  storage,
  tasks,
)
from neucrab_jax.ops import stratified
from neucrab_jax.ranking import ahead, record, rounds
from neucrab_jax.typing import Config

# Called with how many examples are done since the last call.
Advance = Callable[[int], None]


class Compute(Protocol):
  """Gets the features of a candidate, of all examples or the part given."""

  def __call__(
    self, advance: Advance, part: features.Prefix | None = None, /
  ) -> 'Computed': ...


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
    source: where the checkpoint was downloaded from, if it was.
    network: what made the features, if this program did.
  """

  features: features.Features
  seconds: Mapping[str, float]
  cached: bool
  about: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  warnings: tuple[str, ...] = ()
  source: checkpoints.Source | None = None
  network: checkpoints.Network | None = None

  def inputs(self) -> dict[str, Any]:
    """All that a measure can be given."""
    return {
      'features': self.features.features,
      'labels': self.features.labels,
      'source_probs': self.features.source_probs,
      **self.about,
    }


def of_part(computed: Computed, part: features.Prefix | None) -> Computed:
  """The same with the features of a part of the examples alone."""
  if part is None:
    return computed
  return dataclasses.replace(
    computed, features=computed.features.take(part.rows)
  )


@dataclasses.dataclass(frozen=True)
class Candidate:
  """One row of the ranking to be.

  Attributes:
    name: of the checkpoint.
    size: how many times its `compute` will advance the progress.
    compute: gets the features.
    prepare: begins what it will need, while another one is computed.
    part: of the examples, that its `compute` is of; None for all.
  """

  name: str
  size: int
  compute: Compute
  prepare: Callable[[], None] = lambda: None
  part: features.Prefix | None = None


@dataclasses.dataclass(frozen=True)
class Candidates:
  """All that a run ranks, on the same examples.

  Attributes:
    task: its description, as `ranking.json` has it.
    candidates: in the order given.
    labels: [N], of the examples.
  """

  task: record.Task
  candidates: tuple[Candidate, ...]
  labels: np.ndarray

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


def _check_classes(labels: np.ndarray, *, task: tasks.Task, split: str) -> None:
  """Refuses a part that lacks what every measure will ask for."""
  there = np.unique(labels)
  if len(there) < 2 or there[0]:
    raise ValueError(
      f'{split!r} of {task.name!r} has examples of {len(there)} of '
      f'{task.num_classes} classes, '
      f'{"and not of the first" if there[0] else "and of no other"}. Take a '
      'larger part.'
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
  part: features.Prefix | None = None,
  *,
  checkpoint: checkpoints.Checkpoint,
  restorer: ahead.Restorer,
  task: str,
  examples: tasks.Examples,
  indices: np.ndarray,
  batch_size: int,
  cache_dir: str,
  decoded_gigabytes: float,
  order_seed: int,
) -> Computed:
  """Restores a checkpoint and gets its features."""
  start = time.perf_counter()
  backbone = restorer.take(checkpoint)
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
      decoded_gigabytes=decoded_gigabytes,
      part=part or features.whole(examples.labels[indices], seed=order_seed),
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
    source=backbone.source,
    network=backbone.describe(computed.features.provenance.get('flops')),
  )


def from_checkpoints(
  config: Config, restorer: ahead.Restorer | None = None
) -> Candidates:
  """Checkpoints by name, on a task.

  Args:
    config: with `task`, `checkpoints`, `checkpoint_dir`, `preprocessing`,
      `dtype`, `batch_size`, `cache_dir`, `decoded_gigabytes` and `race`.
    restorer: of the same checkpoints on other tasks.

  Raises:
    ValueError: if a name is unknown, or the task is not one.
  """
  chosen = checkpoints.select(
    config.checkpoints,
    config.checkpoint_dir,
    config.preprocessing,
    config.get('weights', 'raw'),
    config.get('dtype', 'float32'),
  )
  features.round_batch_size(config.batch_size)
  task = tasks.load(
    config.task.name,
    data_dir=config.task.data_dir or None,
    **tasks.folder_options(config.task),
  )
  examples = task.read(config.task.split)
  indices = _choose(examples, config.task)
  _check_classes(examples.labels[indices], task=task, split=config.task.split)
  cache_dir = features.cache_dir(config.cache_dir)
  storage.check_writable(cache_dir)
  race = config.get('race')
  batch_size = config.batch_size
  if race and race.top:
    batch_size = rounds.batch_size(batch_size, num_classes=task.num_classes)
  restorer = restorer or ahead.Restorer()
  compute = functools.partial(
    _compute,
    restorer=restorer,
    task=task.name,
    examples=examples,
    indices=indices,
    batch_size=batch_size,
    cache_dir=cache_dir,
    decoded_gigabytes=config.get('decoded_gigabytes', 0.0),
    order_seed=race.seed if race else 0,
  )
  return Candidates(
    task=record.Task(
      name=task.name,
      split=config.task.split,
      num_examples=len(indices),
      num_classes=task.num_classes,
      fingerprint=examples.fingerprint_of(indices),
      num_damaged=examples.num_damaged,
      split_fingerprint=examples.split_fingerprint,
    ),
    candidates=tuple(
      Candidate(
        checkpoint.name,
        size=len(indices),
        compute=functools.partial(compute, checkpoint=checkpoint),
        prepare=functools.partial(restorer.start, checkpoint),
      )
      for checkpoint in chosen
    ),
    labels=examples.labels[indices],
  )
