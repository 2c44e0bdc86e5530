# SPDX-License-Identifier: Apache-2.0
"""The `Features` record: what a checkpoint makes of a task's examples.

Axes: N examples, D features, Z source classes.
"""

import dataclasses
import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from neucrab_jax import storage


@dataclasses.dataclass(frozen=True)
class Features:
  """Features of one checkpoint on one split of a task.

  Attributes:
    features: [N, D] f32, or f64 where a file has them so.
    labels: [N] i32.
    source_probs: [N, Z] f32, the source head's probabilities, or None.
    provenance: where they came from, a JSON object.
  """

  features: np.ndarray
  labels: np.ndarray
  source_probs: np.ndarray | None = None
  provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict)

  def fingerprint(self) -> str:
    """SHA-256 of the arrays."""
    probs = [] if self.source_probs is None else [self.source_probs]
    return storage.digest(self.features, self.labels, *probs)

  def take(self, rows: np.ndarray) -> 'Features':
    """Those of some examples, by number, in the order asked for."""
    return dataclasses.replace(
      self,
      features=self.features[rows],
      labels=self.labels[rows],
      source_probs=(
        None if self.source_probs is None else self.source_probs[rows]
      ),
    )


# Letters of the key in the name of a file of the cache.
KEY_LETTERS = 32


class Origin(msgspec.Struct, frozen=True):
  """Where features came from that this program extracted.

  Attributes:
    key: of the cache.
    checkpoint: its name.
    weights: SHA-256 of them.
    task: its name.
    data: SHA-256 of what the examples were chosen from.
    examples: SHA-256 of the examples, as a ranking of them has it.
    split: SHA-256 of the whole split.
    flops: of the network, for one image, where they are known.
  """

  key: str
  checkpoint: str
  weights: str
  task: str
  data: str
  examples: str
  split: str
  flops: float | None = None

  @property
  def cache_ending(self) -> str:
    """What the stem of its file in the cache ends in."""
    return f'-{self.key[:KEY_LETTERS]}'


def origin(features: Features) -> Origin | None:
  """The origin of features that this program extracted; None of others."""
  try:
    return msgspec.convert(features.provenance, Origin)
  except msgspec.ValidationError:
    return None


def write(path: str | os.PathLike, features: Features) -> None:
  """Writes the record as one `.npz`, with its own checksum."""
  arrays = {'features': features.features, 'labels': features.labels}
  if features.source_probs is not None:
    arrays['source_probs'] = features.source_probs
  about = {**features.provenance, 'sha256': features.fingerprint()}
  arrays['provenance'] = np.array(json.dumps(about))
  storage.write_npz(path, arrays)


def read_head(path: str | os.PathLike) -> Features:
  """What a file says of its examples: their labels and the provenance.

  Raises:
    FileNotFoundError: if there is no such file.
    DamagedFileError: if that cannot be read, or there are no labels.
  """
  arrays = storage.read_npz(path, ('labels', 'provenance'))
  if 'labels' not in arrays:
    raise storage.DamagedFileError(f"{str(path)!r} lacks the array 'labels'.")
  return Features(
    features=np.zeros((len(np.atleast_1d(arrays['labels'])), 0), np.float32),
    labels=_narrow(arrays['labels']),
    provenance=_provenance(arrays, path=path),
  )


def read(path: str | os.PathLike) -> Features:
  """Reads an `.npz` of features that this or any other framework wrote.

  Args:
    path: of a file with the arrays `features` [N, D], `labels` [N] and
      optionally `source_probs` [N, Z], of any float and integer type. A
      checksum is verified where there is one.

  Raises:
    FileNotFoundError: if there is no such file.
    DamagedFileError: if it is not what was written, or lacks an array.
    ValueError: if features or probabilities are no real numbers.
  """
  arrays = storage.read_npz(path)
  missing = sorted({'features', 'labels'} - set(arrays))
  if missing:
    raise storage.DamagedFileError(
      f'{str(path)!r} lacks the array {missing[0]!r}; it has '
      f'{", ".join(sorted(arrays)) or "none"}.'
    )
  for name in ('features', 'source_probs'):
    if name in arrays and arrays[name].dtype.kind not in 'fiu':
      bfloat16 = ' Save bfloat16 as float32: NumPy does not know it again.'
      raise ValueError(
        f'{str(path)!r}: {name} must be real numbers, not {arrays[name].dtype}.'
        + bfloat16 * (arrays[name].dtype.kind == 'V')
      )
  labels = arrays['labels']
  probs = arrays.get('source_probs')
  result = Features(
    features=_widen(arrays['features']),
    labels=_narrow(labels),
    source_probs=None if probs is None else _to_f32(probs),
    provenance=_provenance(arrays, path=path),
  )
  expected = result.provenance.get('sha256')
  if expected is not None and expected != result.fingerprint():
    raise storage.DamagedFileError(
      f'{str(path)!r} does not match its own checksum: it was changed or '
      'damaged after it was written.'
    )
  return result


# Every half in f32: to look one up is a third of what NumPy takes, which does
# them bit by bit; and how many to look up at once, so that the cache has room.
_HALVES = np.arange(1 << 16, dtype='u2').view('f2').astype('f4')
_AT_ONCE = 1 << 15


def _to_f32(values: np.ndarray) -> np.ndarray:
  """f32, without a copy of what is f32."""
  if values.dtype != np.float16:
    return values.astype(np.float32, copy=False)
  bits = np.ascontiguousarray(values).reshape(-1).view(np.uint16)
  wide = np.empty(bits.shape, np.float32)
  for start in range(0, len(bits), _AT_ONCE):
    part = slice(start, start + _AT_ONCE)
    np.take(_HALVES, bits[part], out=wide[part], mode='clip')
  return wide.reshape(values.shape)


def _widen(features: np.ndarray) -> np.ndarray:
  """f32 or f64, whichever loses nothing: an offset is taken off in f64."""
  if np.promote_types(features.dtype, np.float32).itemsize > 4:
    return features.astype(np.float64, copy=False)
  return _to_f32(features)


def _narrow(labels: np.ndarray) -> np.ndarray:
  """int32 where nothing is lost; the rest is for the shared check to refuse."""
  if labels.dtype.kind not in 'iu':
    return labels
  narrow = labels.astype(np.int32)
  return narrow if np.array_equal(narrow, labels) else labels


def _provenance(
  arrays: Mapping[str, np.ndarray], *, path: str | os.PathLike
) -> dict[str, Any]:
  if 'provenance' not in arrays:
    return {'file': pathlib.Path(path).name}
  try:
    provenance = json.loads(str(arrays['provenance']))
    if isinstance(provenance, dict):
      return provenance
  except (ValueError, RecursionError):  # Also of a number without end.
    pass
  raise storage.DamagedFileError(
    f'{str(path)!r}: its provenance is no JSON object.'
  )
