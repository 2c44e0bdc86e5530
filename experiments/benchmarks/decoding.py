# SPDX-License-Identifier: Apache-2.0
r"""What several checkpoints on a folder of JPEGs take, beside what they must.

  python -m experiments.benchmarks.decoding --examples=2000 --pixels=500

Makes JPEGs, and computes their features by five networks of one family and
random weights, all at the same size. Beside stand one decoding of all images,
and the bare forward passes on batches that are ready; everything is compiled
before it is timed. The share says how much longer the whole is than their sum.
"""

import os
import pathlib
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent import futures

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags
from PIL import Image

from neucrab_jax import checkpoints, models, tasks
from neucrab_jax.features import compute, decoded, extraction

_EXAMPLES = flags.DEFINE_integer('examples', 2000, 'Images.')
_PIXELS = flags.DEFINE_integer('pixels', 500, 'Of a side of each.')
_NETWORKS = flags.DEFINE_integer('networks', 5, 'Checkpoints.')
_ARCHITECTURE = flags.DEFINE_string(
  'architecture', 'mobilenet_v1_025', 'Of models.names().'
)
_SIZE = flags.DEFINE_integer('size', 128, 'Of the images that they take.')
_BATCH = flags.DEFINE_integer('batch_size', 50, 'Images at a time.')
_REPEATS = flags.DEFINE_integer('repeats', 3, 'Of which the median counts.')

_METHOD = 'bilinear'
_RANGE = (-1.0, 1.0)


def _make_jpegs(folder: pathlib.Path) -> None:
  """Smooth noise, which compresses as photographs do."""
  rng = np.random.default_rng(0)
  for number in range(_EXAMPLES.value):
    coarse = rng.integers(0, 256, (25, 25, 3), np.uint8)
    shape = (_PIXELS.value, _PIXELS.value)
    image = Image.fromarray(coarse).resize(shape, Image.Resampling.BICUBIC)
    place = folder / f'class{number % 10}' / f'{number}.jpg'
    place.parent.mkdir(exist_ok=True)
    image.save(place, quality=90)


def _make_backbone(seed: int) -> checkpoints.Backbone:
  module = models.build(_ARCHITECTURE.value, num_classes=None)
  size = _SIZE.value
  variables = jax.jit(module.init)(
    jax.random.key(seed), jnp.zeros((1, size, size, 3))
  )
  return checkpoints.Backbone(
    checkpoint=checkpoints.Checkpoint(
      name=f'network_{seed}',
      architecture=_ARCHITECTURE.value,
      path='',
      image_size=size,
      value_range=_RANGE,
      resize_method=_METHOD,
    ),
    module=module,
    variables=jax.tree.map(np.asarray, variables),
    fingerprint=str(seed),
  )


def _time(function: Callable[[], object]) -> float:
  start = time.perf_counter()
  function()
  return time.perf_counter() - start


def _rank(
  backbones: Sequence[checkpoints.Backbone],
  examples: tasks.Examples,
  gigabytes: float,
) -> None:
  """All features, as a ranking computes them."""
  with tempfile.TemporaryDirectory() as cache_dir:
    for backbone in backbones:
      compute.compute(
        backbone,
        examples,
        indices=np.arange(len(examples)),
        task='jpegs',
        batch_size=_BATCH.value,
        cache_dir=cache_dir,
        decoded_gigabytes=gigabytes,
      )


def _decode(examples: tasks.Examples) -> None:
  """All images once, on all cores."""
  indices = np.arange(len(examples))
  images = decoded.resizing(
    examples.open(indices),
    indices,
    size=_SIZE.value,
    method=_METHOD,
    store=None,
  )
  with futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    for job in [pool.submit(image) for image in images]:
      job.result()


def _prepare_bare(backbone: checkpoints.Backbone) -> Callable:
  """The network alone, compiled."""

  @jax.jit
  def forward(variables, images):
    images = checkpoints.to_value_range(images, _RANGE)
    return models.infer(backbone.module, variables, images)

  return forward


def _run_bare(
  forward: Callable,
  backbones: Sequence[checkpoints.Backbone],
  batches: Sequence[np.ndarray],
) -> None:
  """The bare forward passes."""
  for backbone in backbones:
    variables = jax.device_put(backbone.variables)
    running = []
    for batch in batches:
      running.append(forward(variables, batch))
      if len(running) > 1:
        jax.device_get(running.pop(0))
    jax.device_get(running)


def main(argv: Sequence[str]) -> None:
  del argv
  with tempfile.TemporaryDirectory() as folder:
    _make_jpegs(pathlib.Path(folder))
    examples = tasks.load(folder).read('train')
    backbones = [_make_backbone(seed) for seed in range(_NETWORKS.value)]
    shape = (_BATCH.value, _SIZE.value, _SIZE.value, 3)
    batches = [np.zeros(shape, np.float32)] * (len(examples) // _BATCH.value)
    forward = _prepare_bare(backbones[0])
    _run_bare(forward, backbones[:1], batches[:1])
    extraction.extract(
      backbones[0],
      examples,
      indices=np.arange(_BATCH.value),
      batch_size=_BATCH.value,
    )
    # In turns, so that what else the machine does is shared alike.
    taken = [
      (
        _time(lambda: _decode(examples)),
        _time(lambda: _run_bare(forward, backbones, batches)),
        _time(lambda: _rank(backbones, examples, 10.0)),
        _time(lambda: _rank(backbones, examples, 0.0)),
      )
      for _ in range(_REPEATS.value)
    ]
  decoding, bare, once, each = map(statistics.median, zip(*taken, strict=True))
  print(f'one decoding           {decoding:6.1f} s')
  print(f'bare forward passes    {bare:6.1f} s')
  print(f'all, decoded once      {once:6.1f} s  {once / (decoding + bare):.2f}')
  print(f'all, decoded for each  {each:6.1f} s  {each / (decoding + bare):.2f}')


if __name__ == '__main__':
  app.run(main)
