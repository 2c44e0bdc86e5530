# SPDX-License-Identifier: Apache-2.0
"""Fine-tuning stopped early, as a measure: what a small budget already tells.

    score = 1/S Σ_s accuracy on the held-out examples of seed s,
            after share · T of the T steps of a trial

Unlike the other measures it is no function of arrays: it trains the network,
with the engine that finds the truth.

Axes: N examples, S seeds.

Reference:
  Li et al., Ranking Neural Checkpoints, CVPR 2021, section 3.1.
"""

import tempfile
from collections.abc import Callable

import numpy as np

from neucrab_jax import checkpoints, tasks
from neucrab_jax.training import data, network
from neucrab_jax.training import protocol as protocol_lib
from neucrab_jax.training import trainer as trainer_lib

# As the modules of `measures` say it.
VARIANT = 'held-out accuracy of the whole network, fine-tuned by SGD'
SPREAD = 'standard deviation over seeds'
LIMITS = {
  'share': (0.0, 1.0),
  'steps': (1, None),
  'learning_rate': (0.0, None),
  'batch_size': (1, None),
  'num_seeds': (2, None),
}

# Of the examples of every class.
_HELD_OUT = 0.25


def score(
  backbone: checkpoints.Backbone,
  examples: tasks.Examples,
  indices: np.ndarray,
  *,
  seed: int = 0,
  advance: Callable[[int], None] = lambda steps: None,
  share: float = 0.05,
  steps: int = 1_000,
  learning_rate: float = 0.1,
  batch_size: int = 64,
  num_seeds: int = 3,
) -> tuple[float, float]:
  """How well a network does after the first steps of its fine-tuning.

  Args:
    backbone: the restored network.
    examples: of a task's training split.
    indices: [N], which examples, ascending; a quarter of them is held out.
    seed: of what is held out and of the order of the rest.
    advance: called with the number of steps done since the last call.
    share: of the steps that are taken, in (0, 1]; such as .01, .05 or .1.
    steps: T of the fine-tuning that is stopped early.
    learning_rate: before the drops of VTAB's schedule.
    batch_size: over all devices.
    num_seeds: S, each with its own held-out examples.

  Returns:
    The mean held-out accuracy, in [0, 1], and the standard deviation over
    seeds.

  Raises:
    ValueError: if a class has a single example.
  """
  protocol = protocol_lib.Protocol(batch_size=batch_size)
  labels = examples.labels[indices]
  net, variables = network.from_backbone(
    backbone, int(labels.max()) + 1, protocol
  )
  checkpoint = backbone.checkpoint
  images = data.load_images(
    examples,
    indices,
    size=checkpoint.image_size,
    method=checkpoint.resize_method,
    folder=tempfile.gettempdir(),
  ).inputs
  accuracies = []
  for member in range(num_seeds):
    member_seed = seed * num_seeds + member
    kept, held_out = data.hold_out(labels, share=_HELD_OUT, seed=member_seed)
    trainer = trainer_lib.Trainer(
      net,
      variables,
      data.Split(images[kept], labels[kept]),
      data.Split(images[held_out], labels[held_out]),
      protocol,
      advance=advance,
    )
    trial = protocol_lib.Trial(learning_rate, steps, member_seed)
    (outcome,) = trainer.run([trial], share=share)
    accuracies.append(outcome.validation_accuracy)
  return float(np.mean(accuracies)), float(np.std(accuracies, ddof=1))
