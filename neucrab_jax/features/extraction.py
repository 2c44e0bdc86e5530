# SPDX-License-Identifier: Apache-2.0
"""Features of a task's examples, data-parallel over all local devices.

Host and devices work at the same time: threads decode and resize the next
batches while the devices run the current one.

Axes: N examples, B batch, D features, Z source classes.
"""

import collections
import contextvars
import functools
import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from neucrab_jax import checkpoints, models, parallel, tasks
from neucrab_jax.features import decoded, record

# More threads than this only wait for each other, or for the disk.
_MAX_THREADS = 32
# Batches ready or in the making per thread: enough to hide an uneven one.
_BATCHES_AHEAD = 2
# Batches that the devices have.
_BATCHES_AT_ONCE = 2


@functools.cache
def _forward(
  module: nn.Module,
  value_range: checkpoints.ValueRange,
  dtype: str,
  options: tuple[tuple[str, Any], ...],
) -> Callable[..., tuple[jax.Array, jax.Array | None]]:
  """The compiled network, shared by all checkpoints of an architecture."""

  def forward(variables, images):
    images = checkpoints.to_value_range(images, value_range)
    outputs = models.infer(module, variables, images, dtype)
    if outputs.logits is None:
      return outputs.features, None
    return outputs.features, jax.nn.softmax(outputs.logits)

  return parallel.data_parallel(forward, compiler_options=dict(options))


def _load_batch(images: list[decoded.Decode]) -> np.ndarray:
  """Decodes and resizes a batch on the host, or gets it from the store.

  Returns:
    [b, size, size, 3] f32; or uint8, a quarter of the bytes for the device, if
    all images are.
  """
  return decoded.stack([load() for load in images])


def _num_threads() -> int:
  cores = os.cpu_count() or 1
  if jax.default_backend() == 'cpu':
    # The network runs on the same cores, and waits for its slowest one.
    return min(max(cores // 2, 1), _MAX_THREADS)
  return min(cores, _MAX_THREADS)


def _prefetch(
  batches: Iterable[list[decoded.Decode]],
) -> Iterator[np.ndarray]:
  """Loads batches in threads, a few ahead of their use, in order."""
  threads = _num_threads()
  pool = futures.ThreadPoolExecutor(threads, 'decode')
  batches = iter(batches)
  try:
    ahead = collections.deque(
      pool.submit(_load_batch, batch)
      for batch in itertools.islice(batches, _BATCHES_AHEAD * threads)
    )
    while ahead:
      yield ahead.popleft().result()
      # Only now, so as not to compete with the start of the batch just given.
      for batch in itertools.islice(batches, 1):
        ahead.append(pool.submit(_load_batch, batch))
  finally:
    pool.shutdown(wait=False, cancel_futures=True)


def _batched(items: Iterable, size: int) -> Iterator[list]:
  items = iter(items)
  while batch := list(itertools.islice(items, size)):
    yield batch


def round_batch_size(batch_size: int) -> int:
  """The batch size as used: every local device gets the same share.

  Raises:
    ValueError: if it is not positive.
  """
  if batch_size < 1:
    raise ValueError(f'The batch size must be at least 1, not {batch_size}.')
  return parallel.round_up(batch_size, multiple=jax.local_device_count())


def _no_larger(batch_size: int, *, num: int) -> int:
  """A batch that few examples fill at least half of, in one of few sizes."""
  mine = -(-num // parallel.num_processes())
  return min(batch_size, 1 << (mine - 1).bit_length())


def _run(
  forward: Callable, variables: Any, batches: Iterator, *, batch_size: int
) -> Iterator[tuple[Any, int]]:
  """Gives each batch's outputs and size; the next is already running.

  By a thread each: what one of them dispatches, a CPU runs one after the other,
  and some of its cores wait where a network has little for all.
  """

  def run(images):
    sharded = parallel.shard(images, batch_size=batch_size)
    return parallel.unshard(forward(variables, sharded), size=len(images))

  running: collections.deque = collections.deque()

  def finish():
    outputs, size = running.popleft()
    return outputs.result(), size

  with futures.ThreadPoolExecutor(_BATCHES_AT_ONCE, 'forward') as pool:
    for images in batches:
      # In this context, for whoever asks what was compiled.
      context = contextvars.copy_context()
      running.append((pool.submit(context.run, run, images), len(images)))
      if len(running) == _BATCHES_AT_ONCE:
        yield finish()
    while running:
      yield finish()


def extract(
  backbone: checkpoints.Backbone,
  examples: tasks.Examples,
  *,
  indices: np.ndarray | None = None,
  batch_size: int = 128,
  advance: Callable[[int], None] = lambda count: None,
  store: decoded.Store | None = None,
) -> record.Features:
  """Runs a restored network over examples.

  The last batch is padded, and the padding dropped, so the result depends
  neither on the batch size nor on the number of devices. With several processes
  each works on its own slice, and all get the whole result.

  Args:
    backbone: the network, whose checkpoint says how to prepare images.
    examples: of a task's split.
    indices: [N], which examples, ascending; all of them by default.
    batch_size: B, over all local devices; rounded up to a multiple of them.
    advance: called with the number of examples done since the last call.
    store: of the split's images as the network wants them.

  Returns:
    Features [N, D] in the order of the indices, and source_probs [N, Z] if the
    network has a head.

  Raises:
    ValueError: if there are no examples, an image cannot be decoded, or a
      feature is NaN or Inf.
  """
  checkpoint = backbone.checkpoint
  if indices is None:
    indices = np.arange(len(examples))
  if not len(indices):
    raise ValueError('There are no examples to extract features of.')
  batch_size = round_batch_size(_no_larger(batch_size, num=len(indices)))
  forward = _forward(
    backbone.module,
    tuple(checkpoint.value_range),
    checkpoint.dtype,
    tuple(models.compiler_options.find(backbone.variables).items()),
  )
  variables = parallel.replicate(backbone.variables)
  mine = indices[parallel.process_slice(len(indices))]
  count = len(mine)
  if not count:  # More processes than examples: this one learns the shapes.
    mine = indices[:1]
  images = decoded.resizing(
    examples.open(mine),
    mine,
    size=checkpoint.image_size,
    method=checkpoint.resize_method,
    store=store,
  )
  done, error = [], None
  try:
    for outputs, size in _run(
      forward,
      variables,
      _prefetch(_batched(images, batch_size)),
      batch_size=batch_size,
    ):
      done.append(outputs)
      advance(size)
  except Exception as raised:
    error = raised
  # A process that failed alone would leave the others waiting for its slice.
  if not parallel.all_agree(error is None):
    raise error or RuntimeError('Another process failed on its examples.')
  features, source_probs = (
    parallel.gather(np.concatenate(parts)[:count], num_examples=len(indices))
    if parts[0] is not None
    else None
    for parts in zip(*done, strict=True)
  )
  assert features is not None
  _check_finite(features, checkpoint=checkpoint.name)
  return record.Features(
    features=features,
    labels=examples.labels[indices],
    source_probs=source_probs,
  )


def _check_finite(features: np.ndarray, *, checkpoint: str) -> None:
  bad = np.flatnonzero(~np.isfinite(features).all(axis=1))
  if bad.size:
    raise ValueError(
      f'{checkpoint} gives NaN or Inf for {bad.size} of {len(features)} '
      f'examples, the first of them number {bad[0]}. Are its weights sound, '
      'and is its value range right?'
    )
