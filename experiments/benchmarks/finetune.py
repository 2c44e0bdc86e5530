# SPDX-License-Identifier: Apache-2.0
"""What does the fine-tuning engine cost beside the bare training step?

  python -m experiments.benchmarks.finetune [--json=PATH]

times `trainer.Trainer`, which chooses and moves batches, keeps metrics and
draws the curve, and the jitted training step alone, whose batches lie on the
device. Both take turns on the same batches; the ratio is the median over the
turns, and 1 would be an engine that costs nothing. Then it times the trials of
a sweep as one program and one after another: on a GPU a sweep of a small
network should cost little more than one trial, on a CPU it does not pay.
"""

import statistics
import time
from collections.abc import Callable

import jax
import numpy as np
import optax
from absl import app, flags
from rich import console, table

from neucrab_jax import checkpoints, storage, tasks
from neucrab_jax.finetuning import batches as batches_lib
from neucrab_jax.finetuning import network as network_lib
from neucrab_jax.finetuning import trainer as trainer_lib
from neucrab_jax.finetuning.protocol import Protocol, Trial

_CHECKPOINT = flags.DEFINE_string(
  'checkpoint', 'mini_sup_glyphs', 'Name of the checkpoint.'
)
_BATCH_SIZE = flags.DEFINE_integer('batch_size', 64, 'Of all.')
_STEPS = flags.DEFINE_integer('steps', 40, 'Per turn.')
_TRIALS = flags.DEFINE_integer('trials', 4, 'Of the sweep.')
_REPEATS = flags.DEFINE_integer('repeats', 5, 'How often each is timed.')
_JSON = flags.DEFINE_string('json', None, 'File to write the numbers to.')

_NUM_EXAMPLES = 200
_MOMENTUM = 0.9


def _time(function: Callable[[], object]) -> float:
  start = time.perf_counter()
  function()
  return time.perf_counter() - start


def _load(backbone: checkpoints.Backbone) -> batches_lib.Arrays:
  examples = tasks.load('digits').read('train')
  return batches_lib.load_images(
    examples,
    np.arange(_NUM_EXAMPLES),
    size=backbone.checkpoint.image_size,
    method=backbone.checkpoint.resize_method,
    folder='.',
  )


def _make_trainer(
  backbone: checkpoints.Backbone, arrays: batches_lib.Arrays, *, together: int
) -> tuple[trainer_lib.Trainer, tuple[Trial, ...]]:
  protocol = Protocol(
    learning_rates=tuple(0.1 / 2**i for i in range(_TRIALS.value)),
    steps=(_STEPS.value,),
    batch_size=_BATCH_SIZE.value,
    momentum=_MOMENTUM,
    curve_points=1,
  )
  num_classes = int(arrays.labels.max()) + 1
  network, variables = network_lib.from_backbone(
    backbone, num_classes, protocol
  )
  # The one evaluation at the end is of a single example.
  single = batches_lib.Arrays(arrays.inputs[:1], arrays.labels[:1])
  trainer = trainer_lib.Trainer(
    network, variables, arrays, single, protocol, together=together
  )
  return trainer, protocol.trials()


def _prepare_bare(
  backbone: checkpoints.Backbone, arrays: batches_lib.Arrays
) -> Callable[[], None]:
  """A training loop as short as it can be, on batches that are ready."""
  module = backbone.module.clone(num_classes=None)
  value_range = backbone.checkpoint.value_range
  _, variables = network_lib.from_backbone(
    backbone, int(arrays.labels.max()) + 1, Protocol()
  )
  params, stats = variables['params'], variables['batch_stats']
  optimizer = optax.sgd(0.1, momentum=_MOMENTUM)
  batches = []
  for step in range(_STEPS.value):
    chosen = batches_lib.order(
      step,
      num_examples=len(arrays),
      batch_size=_BATCH_SIZE.value,
      seed=0,
    )
    batches.append(
      jax.device_put((arrays.inputs[chosen], arrays.labels[chosen]))
    )

  @jax.jit
  def step(params, stats, state, images, labels):
    def loss_fn(params):
      outputs, updates = module.apply(
        {'params': params['backbone'], 'batch_stats': stats},
        checkpoints.to_value_range(images, value_range),
        train=True,
        mutable=['batch_stats'],
      )
      losses = optax.softmax_cross_entropy_with_integer_labels(
        outputs.features @ params['head']['kernel'] + params['head']['bias'],
        labels,
      )
      return losses.mean(), updates['batch_stats']

    gradients, stats = jax.grad(loss_fn, has_aux=True)(params)
    updates, state = optimizer.update(gradients, state)
    return optax.apply_updates(params, updates), stats, state

  start = jax.device_put((params, stats, optimizer.init(params)))

  def run():
    state = start
    for batch in batches:
      state = step(*state, *batch)
    jax.block_until_ready(state)

  return run


def _in_turns(
  one: Callable[[], object], other: Callable[[], object], *, repeats: int
) -> tuple[float, float, float]:
  """Median seconds of both, and the median over turns of other / one."""
  one()
  other()
  seconds = [(_time(one), _time(other)) for _ in range(repeats)]
  ratio = statistics.median(b / a for a, b in seconds)
  return *map(statistics.median, zip(*seconds, strict=True)), ratio


def measure() -> list[dict[str, object]]:
  """Times the engine against the bare step, and trials together and apart.

  Returns:
    JSON records: milliseconds per step and trial of both, and their ratio.
  """
  backbone = checkpoints.restore(_CHECKPOINT.value)
  arrays = _load(backbone)
  apart, trials = _make_trainer(backbone, arrays, together=1)
  together, _ = _make_trainer(backbone, arrays, together=len(trials))
  comparisons = (
    ('bare step', 'engine', 1, _prepare_bare(backbone, arrays),
     lambda: apart.run(trials[:1])),
    ('apart', 'together', len(trials), lambda: apart.run(trials),
     lambda: together.run(trials)),
  )  # fmt: skip
  results = []
  for first, second, count, one, other in comparisons:
    a, b, ratio = _in_turns(one, other, repeats=_REPEATS.value)
    scale = 1e3 / (_STEPS.value * count)
    results.append(
      {
        'peers': [first, second],
        'checkpoint': _CHECKPOINT.value,
        'batch_size': _BATCH_SIZE.value,
        'trials': count,
        'steps': _STEPS.value,
        'repeats': _REPEATS.value,
        'backend': jax.default_backend(),
        'devices': jax.device_count(),
        'milliseconds_per_step': [a * scale, b * scale],
        'ratio': ratio,
      }
    )
  return results


def main(argv):
  if len(argv) > 1:
    raise app.UsageError(f'Unexpected arguments: {argv[1:]}')
  rows = table.Table('', 'trials', 'ms per step and trial', 'ratio')
  results = measure()
  for result in results:
    first, second = result['milliseconds_per_step']
    rows.add_row(
      ' / '.join(result['peers'][::-1]),
      str(result['trials']),
      f'{second:.1f} / {first:.1f}',
      f'{result["ratio"]:.2f}',
    )
  console.Console(highlight=False).print(rows)
  if _JSON.value:
    storage.write_json(_JSON.value, results)


if __name__ == '__main__':
  app.run(main)
