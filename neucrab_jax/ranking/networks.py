# SPDX-License-Identifier: Apache-2.0
"""Checkpoints on a task, as candidates: restored, and run where not cached."""

import functools
import time
from typing import Any

import numpy as np

from neucrab_jax import (
  checkpoints,
  compiling,
  features,
  measures,
  storage,
  tasks,
)
from neucrab_jax.features import cache, compute, extraction
from neucrab_jax.ops import stratified
from neucrab_jax.ranking import ahead, candidates, record, rounds
from neucrab_jax.typing import Config


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
  advance: candidates.Advance,
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
) -> candidates.Computed:
  """Restores a checkpoint and gets its features."""
  start = time.perf_counter()
  backbone = restorer.take(checkpoint)
  restored = time.perf_counter()
  with compiling.watched() as watch:
    computed = compute.compute(
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
  return candidates.Computed(
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


def find(
  config: Config, restorer: ahead.Restorer | None = None
) -> candidates.Candidates:
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
  extraction.round_batch_size(config.batch_size)
  task = tasks.load(
    config.task.name,
    data_dir=config.task.data_dir or None,
    **tasks.folder_options(config.task),
  )
  examples = task.read(config.task.split)
  indices = _choose(examples, config.task)
  _check_classes(examples.labels[indices], task=task, split=config.task.split)
  cache_dir = cache.cache_dir(config.cache_dir)
  storage.check_writable(cache_dir)
  race = config.get('race')
  batch_size = config.batch_size
  if race and race.top:
    batch_size = rounds.batch_size(batch_size, num_classes=task.num_classes)
  restorer = restorer or ahead.Restorer()
  get = functools.partial(
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
  return candidates.Candidates(
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
      candidates.Candidate(
        checkpoint.name,
        size=len(indices),
        compute=functools.partial(get, checkpoint=checkpoint),
        prepare=functools.partial(restorer.start, checkpoint),
      )
      for checkpoint in chosen
    ),
    labels=examples.labels[indices],
  )
