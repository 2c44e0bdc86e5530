# SPDX-License-Identifier: Apache-2.0
"""Features of a task's examples: from the cache, or extracted into it."""

import contextlib
import dataclasses
import os
import pathlib
import warnings
from collections.abc import Callable

import msgspec
import numpy as np

from neucrab_jax import checkpoints, parallel, stores, tasks
from neucrab_jax.features import cache, decoded, extraction, prefix, record

# The folder within the cache for features of some of a task's examples.
PREFIXES = 'prefixes'


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


def _load(
  file: pathlib.Path, *, key: str
) -> tuple[record.Features | None, tuple[str, ...]]:
  """A file of the cache, and what a reader of the result should know of it."""
  with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter('always', cache.CacheWarning)
    found = cache.load(file, key=key)
  # Other threads warn, too.
  own = [w for w in caught if issubclass(w.category, cache.CacheWarning)]
  return found, tuple(str(warning.message) for warning in own)


def _save(file: pathlib.Path, found: record.Features) -> tuple[str, ...]:
  """Keeps features; a full disk costs the next run time, not this one them."""
  try:
    cache.save(file, found)
  except OSError as error:
    return (f'The features could not be cached: {error}.',)
  return ()


def _join(
  first: record.Features | None, second: record.Features
) -> record.Features:
  """The rows of both."""
  if first is None:
    return second
  probs = None
  if first.source_probs is not None and second.source_probs is not None:
    probs = np.concatenate([first.source_probs, second.source_probs])
  return record.Features(
    np.concatenate([first.features, second.features]),
    np.concatenate([first.labels, second.labels]),
    probs,
  )


def compute(
  backbone: checkpoints.Backbone,
  examples: tasks.Examples,
  *,
  indices: np.ndarray,
  task: str,
  batch_size: int,
  cache_dir: str,
  advance: Callable[[int], None] = lambda count: None,
  part: prefix.Prefix | None = None,
  decoded_gigabytes: float = 0.0,
) -> Computed:
  """Finds the features of a restored network in the cache, or extracts them.

  What was extracted for a smaller part of the same order is there already.

  Args:
    backbone: the network.
    examples: of a task's split.
    indices: [N], which examples, ascending.
    task: its name, for people to find the file by.
    batch_size: over all local devices.
    cache_dir: folder of the cache.
    advance: called with the number of examples done since the last call.
    part: of the N examples, those that are asked for; all by default.
    decoded_gigabytes: that the cache may take for decoded images, which all
      checkpoints share that prepare them alike.

  Raises:
    ValueError: as `extraction.extract` does.
  """
  part = part or prefix.whole(examples.labels[indices])
  named = {'checkpoint': backbone.checkpoint.name, 'task': task}
  key = cache.key(backbone, examples, indices=indices)
  file = cache.path(cache_dir, key=key, **named)
  found, told = _load(file, key=key)
  if found is not None:
    advance(part.size)
    if not part.is_whole:
      found = found.take(part.rows)
    return Computed(found, True, told)
  # In the order, so that it grows at its end.
  begun_key = cache.key(backbone, examples, indices=indices[part.order])
  begun_file = cache.path(
    os.path.join(cache_dir, PREFIXES), key=begun_key, **named
  )
  begun = None
  if parallel.all_agree(stores.pull(begun_file)):
    begun, more = _load(begun_file, key=begun_key)
    told += more
  done = 0 if begun is None else min(len(begun.labels), part.size)
  advance(done)
  if begun is None or done < part.size:
    rows = np.sort(part.order[done : part.size])
    store = decoded.open_store(
      examples,
      num_images=len(indices),
      size=backbone.checkpoint.image_size,
      method=backbone.checkpoint.resize_method,
      cache_dir=cache_dir,
      gigabytes=decoded_gigabytes,
    )
    with store or contextlib.nullcontext():
      extracted = extraction.extract(
        backbone,
        examples,
        indices=indices[rows],
        batch_size=batch_size,
        advance=advance,
        store=store,
      )
    places = np.searchsorted(rows, part.order[done : part.size])
    begun = _join(begun, extracted.take(places))
  ascending = np.argsort(part.order[: part.size])
  found = begun.take(ascending)

  def with_origin(features: record.Features, key: str, rows: np.ndarray):
    origin = record.Origin(
      key=key,
      weights=backbone.fingerprint,
      data=examples.fingerprint,
      examples=examples.fingerprint_of(indices[rows]),
      split=examples.split_fingerprint,
      flops=backbone.flops,
      **named,
    )
    return dataclasses.replace(features, provenance=msgspec.to_builtins(origin))

  found = with_origin(found, key, part.rows)
  if part.is_whole:
    told += _save(file, found)
    if parallel.is_primary():
      # All that it has is in the other.
      stores.remove(begun_file)
  elif done < part.size:
    rows = part.order[: part.size]
    told += _save(begun_file, with_origin(begun, begun_key, rows))
  return Computed(found, done == part.size, told)
