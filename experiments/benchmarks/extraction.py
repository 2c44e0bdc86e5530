# SPDX-License-Identifier: Apache-2.0
"""How near does extraction come to the speed of the bare network?

  python -m experiments.benchmarks.extraction [--json=PATH]

times `extraction.extract` and the jitted forward pass alone, whose batches lie
decoded and resized in memory, on the same images, batches and checkpoint. Both
take turns, so that whatever else the machine does slows both. The ratio is the
median over the turns; 1 would be extraction that costs nothing. The digits need
no resizing, the photographs do. On the CPU backend that work and the network
share the cores, and a smaller share of it goes to a larger network.
"""

import collections
import statistics
import time
from collections.abc import Callable

import jax
import numpy as np
from absl import app, flags
from rich import console, table

from neucrab_jax import checkpoints, storage, tasks
from neucrab_jax.features import extraction
from neucrab_jax.tasks import arrays

_CHECKPOINT = flags.DEFINE_string(
  'checkpoint', 'mini_sup_glyphs', 'Name of the checkpoint.'
)
_NUM_EXAMPLES = flags.DEFINE_integer('num_examples', 4_096, 'Per task.')
_BATCH_SIZE = flags.DEFINE_integer('batch_size', 128, 'Of both.')
_REPEATS = flags.DEFINE_integer('repeats', 7, 'How often each is timed.')
_JSON = flags.DEFINE_string('json', None, 'File to write the numbers to.')

# Height and width of the synthetic photographs, before their resizing.
_PHOTO_SIZES = ((48, 64), (64, 48), (50, 50), (96, 80))
_NUM_PHOTOS = 512


def _repeat_digits(num_examples: int) -> tasks.Examples:
  """The digits, over and over; they have the checkpoint's size already."""
  digits = tasks.load('digits').read('trainval')
  images = np.stack(
    [decode() for decode in digits.open(np.arange(len(digits)))]
  )
  indices = np.arange(num_examples) % len(digits)
  return arrays.make_examples(images[indices], digits.labels[indices])


def _make_photos(num_examples: int) -> tasks.Examples:
  """Noise of mixed sizes, as a decoded folder of images would be."""
  rng = np.random.default_rng(0)
  photos = [
    rng.integers(0, 256, (*_PHOTO_SIZES[i % len(_PHOTO_SIZES)], 3), np.uint8)
    for i in range(_NUM_PHOTOS)
  ]
  return tasks.Examples(
    labels=np.arange(num_examples, dtype=np.int32) % 2,
    fingerprint='synthetic',
    opener=lambda indices: (
      lambda i=i: photos[i % _NUM_PHOTOS] for i in indices
    ),
  )


_TASKS = {'digits': _repeat_digits, 'photos': _make_photos}


def _prepare_bare(
  backbone: checkpoints.Backbone, examples: tasks.Examples, batch_size: int
) -> Callable[[], None]:
  """The network alone, on batches that are ready."""
  checkpoint = backbone.checkpoint
  images = np.stack(
    [
      tasks.resize(
        decode(), size=checkpoint.image_size, method=checkpoint.resize_method
      )
      for decode in examples.open(np.arange(len(examples)))
    ]
  ).astype(np.float32)
  images = checkpoints.to_value_range(images, checkpoint.value_range)
  batches = [
    images[start : start + batch_size]
    for start in range(0, len(images), batch_size)
  ]
  variables = jax.device_put(backbone.variables)

  @jax.jit
  def forward(variables, images):
    outputs = backbone.module.apply(variables, images)
    if outputs.logits is None:
      return outputs
    return outputs._replace(logits=jax.nn.softmax(outputs.logits))

  def run():
    running = collections.deque()
    for batch in batches:
      running.append(forward(variables, batch))
      if len(running) > 1:
        jax.device_get(running.popleft())
    jax.device_get(running.popleft())

  return run


def _time(function: Callable[[], object]) -> float:
  start = time.perf_counter()
  function()
  return time.perf_counter() - start


def measure(
  task: str,
  *,
  checkpoint: str,
  num_examples: int,
  batch_size: int,
  repeats: int,
) -> dict[str, object]:
  """Times extraction and the bare network in turns.

  Args:
    task: a key of `_TASKS`.
    checkpoint: name of a checkpoint.
    num_examples: rounded down to whole batches, as the bare network pads none.
    batch_size: of both.
    repeats: how often each is timed, after a first time that compiles.

  Returns:
    A JSON record: images per second of both, and their ratio.
  """
  num_examples -= num_examples % batch_size
  backbone = checkpoints.restore(checkpoint)
  examples = _TASKS[task](num_examples)
  run_bare = _prepare_bare(backbone, examples, batch_size)

  def run_extraction():
    extraction.extract(backbone, examples, batch_size=batch_size)

  run_bare()
  run_extraction()
  seconds = [(_time(run_bare), _time(run_extraction)) for _ in range(repeats)]
  bare, extracting = (
    num_examples / statistics.median(column)
    for column in zip(*seconds, strict=True)
  )
  ratio = statistics.median(one / other for one, other in seconds)
  return {
    'task': task,
    'checkpoint': checkpoint,
    'num_examples': num_examples,
    'batch_size': batch_size,
    'repeats': repeats,
    'backend': jax.default_backend(),
    'devices': jax.local_device_count(),
    'bare_images_per_second': bare,
    'extraction_images_per_second': extracting,
    'ratio': ratio,
  }


def main(argv):
  if len(argv) > 1:
    raise app.UsageError(f'Unexpected arguments: {argv[1:]}')
  rows = table.Table('task', 'bare, images/s', 'extraction, images/s', 'ratio')
  results = []
  for task in _TASKS:
    result = measure(
      task,
      checkpoint=_CHECKPOINT.value,
      num_examples=_NUM_EXAMPLES.value,
      batch_size=_BATCH_SIZE.value,
      repeats=_REPEATS.value,
    )
    results.append(result)
    rows.add_row(
      task,
      f'{result["bare_images_per_second"]:,.0f}',
      f'{result["extraction_images_per_second"]:,.0f}',
      f'{result["ratio"]:.2f}',
    )
  console.Console(highlight=False).print(rows)
  if _JSON.value:
    storage.write_json(_JSON.value, results)


if __name__ == '__main__':
  app.run(main)
