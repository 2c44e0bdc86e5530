# SPDX-License-Identifier: Apache-2.0
"""The content-addressed cache of `Features` files.

A file's key hashes everything its features depend on: weights, architecture,
preprocessing, data, split, choice of examples, dtype and the code itself. So a
changed setting can't meet a stale file, and nothing ever needs to be cleared.
"""

import functools
import os
import pathlib
import re
import warnings

import numpy as np
import platformdirs

from neucrab_jax import (
  checkpoints,
  models,
  parallel,
  storage,
  stores,
  tasks,
)
from neucrab_jax.features import decoded, extraction, record


class CacheWarning(UserWarning):
  """A cached file could not be used; nothing is lost but time."""


def cache_dir(given: str = '') -> str:
  """The folder that is asked for, or the user's own where none is."""
  if stores.is_address(given):
    return str(stores.checked_place(given))
  own = platformdirs.user_cache_path('neucrab_jax') / 'features'
  return os.path.expanduser(given) or str(own)


@functools.cache
def _sources() -> str:
  """A digest of the code that makes features, once for all checkpoints."""
  return storage.digest_sources(models, decoded, extraction, record, tasks)


def key(
  backbone: checkpoints.Backbone,
  examples: tasks.Examples,
  *,
  indices: np.ndarray,
) -> str:
  """SHA-256 of everything the features depend on, as hex."""
  checkpoint = backbone.checkpoint
  return storage.digest(
    backbone.fingerprint,
    checkpoint.architecture,
    checkpoint.image_size,
    list(checkpoint.value_range),
    checkpoint.resize_method,
    examples.fingerprint,
    np.asarray(indices, np.int64),
    checkpoint.dtype,
    _sources(),
  )


def path(
  cache_dir: str, *, checkpoint: str, task: str, key: str
) -> pathlib.Path:
  """Where the features of a key are: names to read by, the key to find by."""
  readable = re.sub(r'[^\w.-]+', '_', f'{checkpoint}-{pathlib.Path(task).name}')
  # The key needs room, too.
  name = f'{readable[:150]}-{key[: record.KEY_LETTERS]}.npz'
  return pathlib.Path(cache_dir) / name


def load(file: pathlib.Path, *, key: str) -> record.Features | None:
  """Reads a cached file, or None if there is none that can be trusted.

  A damaged file gives a warning, and None. With several processes, all of them
  must have the file, or none uses it.
  """
  features = None
  if stores.pull(file):
    try:
      features = record.read(file)
      if features.provenance.get('key') != key:
        raise storage.DamagedFileError(f'{str(file)!r} has another key.')
    except (OSError, ValueError) as error:
      warnings.warn(f'{error} It is made again.', CacheWarning, stacklevel=2)
      features = None
  return features if parallel.all_agree(features is not None) else None


def save(file: pathlib.Path, features: record.Features) -> None:
  """Writes a cached file, atomically; of several processes the first does."""
  if parallel.is_primary():
    record.write(file, features)
