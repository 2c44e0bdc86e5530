# SPDX-License-Identifier: Apache-2.0
"""Features of a task's examples: from the cache, or extracted into it."""

import dataclasses
import warnings
from collections.abc import Callable

import msgspec
import numpy as np

from neucrab_jax import checkpoints, tasks
from neucrab_jax.features import cache, extraction, record


@dataclasses.dataclass(frozen=True)
class Computed:
  """Features, and how they came about.

  Attributes:
    features: of one checkpoint.
    cached: whether they were found in the cache.
    warnings: what a reader of the result should know.
  """

  features: record.Features
  cached: bool
  warnings: tuple[str, ...]


def compute(
  backbone: checkpoints.Backbone,
  examples: tasks.Examples,
  *,
  indices: np.ndarray,
  task: str,
  batch_size: int,
  cache_dir: str,
  advance: Callable[[int], None] = lambda count: None,
) -> Computed:
  """Finds the features of a restored network in the cache, or extracts them.

  Args:
    backbone: the network.
    examples: of a task's split.
    indices: [N], which examples, ascending.
    task: its name, for people to find the file by.
    batch_size: over all local devices.
    cache_dir: folder of the cache.
    advance: called with the number of examples done since the last call.

  Raises:
    ValueError: as `extraction.extract` does.
  """
  checkpoint = backbone.checkpoint.name
  key = cache.key(backbone, examples, indices=indices)
  file = cache.path(cache_dir, checkpoint=checkpoint, task=task, key=key)
  with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter('always', cache.CacheWarning)
    found = cache.load(file, key=key)
  unkept: tuple[str, ...] = ()
  cached = found is not None
  if cached:
    advance(len(indices))
  else:
    extracted = extraction.extract(
      backbone,
      examples,
      indices=indices,
      batch_size=batch_size,
      advance=advance,
    )
    origin = record.Origin(
      key=key,
      checkpoint=checkpoint,
      weights=backbone.fingerprint,
      task=task,
      data=examples.fingerprint,
      examples=examples.fingerprint_of(indices),
      split=examples.split_fingerprint,
    )
    found = dataclasses.replace(
      extracted, provenance=msgspec.to_builtins(origin)
    )
    try:
      cache.save(file, found)
    except OSError as error:
      # A full disk costs the next run time, not this one its features.
      unkept = (f'The features could not be cached: {error}.',)
  told = tuple(str(warning.message) for warning in caught)
  return Computed(found, cached, (*told, *unkept))
