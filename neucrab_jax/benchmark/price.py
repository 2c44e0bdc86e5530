# SPDX-License-Identifier: Apache-2.0
"""What an experiment will cost, before it is started.

Floating-point operations are XLA's count of one forward pass of each network,
times the images: a training step counts three. Hours are what they take at the
rate that this device reaches in a convolution now; decoding images, compiling
and the measures' own work come on top.
"""

import math
import time
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp

from neucrab_jax import checkpoints, progress, tasks
from neucrab_jax.benchmark import cost
from neucrab_jax.finetuning import splits
from neucrab_jax.reports import paper_tables
from neucrab_jax.typing import Config

# A convolution of the middle of a ResNet-50: [B, H, W, C], 3 × 3.
_SHAPE = (16, 28, 28, 128)
_REPEATS = 3


def measure_rate() -> float:
  """FLOP/s of one device in a convolution."""
  batch, height, width, channels = _SHAPE
  x = jnp.ones(_SHAPE)
  kernel = jnp.ones((3, 3, channels, channels))
  convolve = jax.jit(
    lambda x: jax.lax.conv_general_dilated(
      x, kernel, (1, 1), 'SAME', dimension_numbers=('NHWC', 'HWIO', 'NHWC')
    )
  )
  convolve(x).block_until_ready()
  seconds = []
  for _ in range(_REPEATS):
    start = time.perf_counter()
    convolve(x).block_until_ready()
    seconds.append(time.perf_counter() - start)
  return 2 * batch * height * width * channels**2 * 9 / min(seconds)


def _sampled(size: int, wanted: int) -> int:
  return min(size, wanted) if wanted else size


def images(config: Config, task: str) -> tuple[int, int]:
  """How many images are extracted for a ranking, and how many fine-tuning sees.

  The second counts training images thrice, and those of validation and of the
  test once.
  """
  loaded = tasks.load(task, data_dir=config.data_dir or None)
  ranked = len(loaded.read(config.rank.task.split))
  protocol = config.finetune.protocol
  trials = math.prod(
    len(protocol[name]) for name in ('learning_rates', 'seeds')
  )
  trained = protocol.batch_size * sum(protocol.steps) * trials
  read = {
    role: len(loaded.read(config.finetune.task[role]))
    for role in splits.ROLES
    if config.finetune.task[role]
  }
  validated = read.get('validation', 0) * trials * len(protocol.steps)
  seen = 3 * trained + validated + read.get('test', 0)
  return _sampled(ranked, config.rank.task.num_examples), seen


def show(
  config: Config,
  groups: Mapping[str, Sequence[str]],
  found: Sequence[str],
  *,
  steps: Sequence[str],
) -> list[tuple[str, str, float, float]]:
  """Prints what each step costs for each group and task.

  Args:
    config: of the experiment.
    groups: by name, the checkpoints.
    found: the tasks.
    steps: what is to be done.

  Returns:
    By group and task, FLOPs of extraction and of fine-tuning.
  """
  names = dict.fromkeys(name for group in groups.values() for name in group)
  flops = {}
  for name in progress.track(names, total=len(names), description='networks'):
    flops[name] = cost.forward_flops(checkpoints.get(name))
  counts = {task: images(config, task) for task in found}
  rows = []
  for group, members in groups.items():
    once = sum(flops[name] for name in members)
    for task in found:
      extracted, seen = counts[task]
      rows.append(
        (
          group,
          task,
          once * extracted,
          once * seen if 'finetune' in steps else 0.0,
        )
      )
  rate = measure_rate() * jax.local_device_count()
  paper_tables.show_price(rows, rate=rate)
  return rows
