# SPDX-License-Identifier: Apache-2.0
"""Fine-tuning stopped early, by the engine of fine-tuning.

Axes: N examples, S seeds.

Reference:
  Li et al., Ranking Neural Checkpoints, CVPR 2021, section 3.1.
"""

import tempfile

import numpy as np

from neucrab_jax import checkpoints, tasks
from neucrab_jax.finetuning import batches, network
from neucrab_jax.finetuning import protocol as protocol_lib
from neucrab_jax.finetuning import trainer as trainer_lib
from neucrab_jax.ops import stratified

# Of the examples of every class.
_HELD_OUT = 0.25


def accuracies(
  backbone: checkpoints.Backbone,
  examples: tasks.Examples,
  indices: np.ndarray,
  *,
  seed: int,
  share: float,
  steps: int,
  learning_rate: float,
  batch_size: int,
  num_seeds: int,
) -> np.ndarray:
  """How well a network does after the first steps of its fine-tuning.

  Args:
    backbone: the restored network.
    examples: of a task's training split.
    indices: [N], which examples, ascending; a quarter of them is held out.
    seed: of what is held out and of the order of the rest.
    share: of the steps that are taken, in (0, 1].
    steps: T of the fine-tuning that is stopped early.
    learning_rate: before the drops of VTAB's schedule.
    batch_size: over all devices.
    num_seeds: S, each with its own held-out examples.

  Returns:
    [S] held-out accuracies, in [0, 1].

  Raises:
    ValueError: if a class has a single example.
  """
  protocol = protocol_lib.Protocol(batch_size=batch_size)
  labels = examples.labels[indices]
  net, variables = network.from_backbone(
    backbone, int(labels.max()) + 1, protocol
  )
  checkpoint = backbone.checkpoint
  images = batches.load_images(
    examples,
    indices,
    size=checkpoint.image_size,
    method=checkpoint.resize_method,
    folder=tempfile.gettempdir(),
  ).inputs
  found = []
  for member in range(num_seeds):
    member_seed = seed * num_seeds + member
    kept, held_out = stratified.hold_out(
      labels, share=_HELD_OUT, seed=member_seed
    )
    trainer = trainer_lib.Trainer(
      net,
      variables,
      batches.Arrays(images[kept], labels[kept]),
      batches.Arrays(images[held_out], labels[held_out]),
      protocol,
    )
    trial = protocol_lib.Trial(learning_rate, steps, member_seed)
    (result,) = trainer.run([trial], share=share)
    found.append(result.validation_accuracy)
  return np.array(found)
