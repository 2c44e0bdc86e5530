# SPDX-License-Identifier: Apache-2.0
import numpy as np
import small

from neucrab_jax.finetuning import batches, early_stopping, network, trainer
from neucrab_jax.finetuning.protocol import Protocol, Trial
from neucrab_jax.ops import stratified
from neucrab_jax.tasks import arrays

# As the tests of the trainer, so that the program is compiled once.
OPTIONS = {'batch_size': 8, 'steps': 100, 'learning_rate': 0.05}


def make_examples(n=24, *, bright=True):
  """Images whose brightness is the class, or tells nothing."""
  labels = (np.arange(n) % 3).astype(np.int32)
  images = small.make_images(n) // 3
  if bright:
    images = images + (80 * labels).astype(np.uint8)[:, None, None, None]
  return arrays.make_examples(images, labels)


def test_a_budget_tells_what_can_be_learnt():
  backbone, indices = small.make_backbone(), np.arange(24)
  found, noise = (
    early_stopping.accuracies(
      backbone, make_examples(bright=bright), indices, seed=0, share=0.4,
      num_seeds=3, **OPTIONS,
    )
    for bright in (True, False)
  )  # fmt: skip
  assert found.shape == noise.shape == (3,)
  assert 0.8 < found.mean() <= 1
  assert noise.mean() < 0.6


def test_it_is_the_beginning_of_fine_tuning(tmp_path):
  backbone, examples = small.make_backbone(), make_examples()
  indices = np.arange(2, 23)
  found = early_stopping.accuracies(
    backbone, examples, indices, share=0.1, seed=4, num_seeds=2, **OPTIONS
  )
  protocol = Protocol(batch_size=8, curve_points=10)
  net, variables = network.from_backbone(backbone, 3, protocol)
  accuracies = []
  for seed in (8, 9):
    labels = examples.labels[indices]
    kept, held_out = stratified.hold_out(labels, share=0.25, seed=seed)
    train, validation = (
      batches.load_images(
        examples, indices[part], size=16, method='bilinear', folder=tmp_path
      )
      for part in (kept, held_out)
    )
    engine = trainer.Trainer(net, variables, train, validation, protocol)
    (whole,) = engine.run([Trial(0.05, 100, seed)])
    accuracies.append(whole.curve[0].validation_accuracy)
  assert found.tolist() == accuracies
