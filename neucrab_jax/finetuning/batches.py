# SPDX-License-Identifier: Apache-2.0
"""Images decoded once, and the order in which training sees them.

Axes: N examples, B batch, H, W space, D features.
"""

import dataclasses
import functools
import itertools
import os
import tempfile
from collections.abc import Iterator
from concurrent import futures

import numpy as np

from neucrab_jax import tasks
from neucrab_jax.tasks.task import Decode

# Decoded images beyond this lie in a file instead of memory.
_MEMORY_BYTES = 4 << 30
# Images that are in the making at once.
_CHUNK = 1_024


@dataclasses.dataclass(frozen=True)
class Arrays:
  """Inputs and labels that training or a prediction goes through.

  Attributes:
    inputs: [N, H, W, 3] pixels from 0 to 255, or [N, D] features.
    labels: [N] int32.
  """

  inputs: np.ndarray
  labels: np.ndarray

  def __len__(self) -> int:
    return len(self.labels)


def _allocate(
  shape: tuple[int, ...], dtype: np.dtype, *, folder: str | os.PathLike
) -> np.ndarray:
  """An array in memory; or in a file without a name, which no kill leaves."""
  if np.prod(shape, dtype=np.int64) * dtype.itemsize <= _MEMORY_BYTES:
    return np.empty(shape, dtype)
  return np.memmap(
    tempfile.TemporaryFile(dir=folder),
    dtype=dtype,
    mode='w+',
    shape=shape,
  )


def load_images(
  examples: tasks.Examples,
  indices: np.ndarray,
  *,
  size: int,
  method: str,
  folder: str | os.PathLike,
) -> Arrays:
  """Decodes and resizes images.

  Args:
    examples: of a task's split.
    indices: [N], which examples, ascending.
    size: H and W, in pixels.
    method: of `tasks.resize`.
    folder: where there is room for what does not fit in memory.

  Returns:
    N images, uint8 if none had to be resized and f32 otherwise.
  """

  def load(decode: Decode) -> np.ndarray:
    return tasks.resize(decode(), size=size, method=method)

  decoders = examples.open(indices)
  inputs = None
  with futures.ThreadPoolExecutor(os.cpu_count(), 'decode') as pool:
    for start in range(0, len(indices), _CHUNK):
      images = np.stack(
        list(pool.map(load, itertools.islice(decoders, _CHUNK)))
      )
      if inputs is None:
        inputs = _allocate(
          (len(indices), *images.shape[1:]), images.dtype, folder=folder
        )
      if np.result_type(inputs, images) != inputs.dtype:
        # The first images happened to have the right size already.
        inputs = _widen(inputs, images.dtype, folder=folder)
      inputs[start : start + len(images)] = images
  if inputs is None:
    raise ValueError('There are no images to load.')
  return Arrays(inputs, examples.labels[indices])


def _widen(
  inputs: np.ndarray, dtype: np.dtype, *, folder: str | os.PathLike
) -> np.ndarray:
  wider = _allocate(inputs.shape, dtype, folder=folder)
  for start in range(0, len(inputs), _CHUNK):
    wider[start : start + _CHUNK] = inputs[start : start + _CHUNK]
  return wider


@functools.lru_cache(maxsize=8)
def _permutation(num_examples: int, seed: int, epoch: int) -> np.ndarray:
  # The stream of RandomState is frozen: any NumPy gives the same order.
  return np.random.RandomState([seed, epoch]).permutation(num_examples)


def order(
  step: int, *, num_examples: int, batch_size: int, seed: int
) -> np.ndarray:
  """Which examples a step sees; a function of seed and step alone.

  Every example is seen once an epoch, in an order of its own; a batch may begin
  in one epoch and end in the next, so that all batches are full.

  Returns:
    [B] integers below N.
  """
  places = np.arange(step * batch_size, (step + 1) * batch_size)
  epochs, places = np.divmod(places, num_examples)
  chosen = np.empty(batch_size, np.int64)
  for epoch in np.unique(epochs):
    here = epochs == epoch
    chosen[here] = _permutation(num_examples, seed, int(epoch))[places[here]]
  return chosen


def in_order(
  arrays: Arrays, batch_size: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
  """All examples in order, the last batch padded with what does not count.

  Returns:
    Inputs [B, ...], labels [B] and a mask [B], false for padding.
  """
  for start in range(0, len(arrays), batch_size):
    chosen = np.arange(start, start + batch_size)
    mask = chosen < len(arrays)
    chosen = np.minimum(chosen, len(arrays) - 1)
    yield arrays.inputs[chosen], arrays.labels[chosen], mask
