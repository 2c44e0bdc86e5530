# SPDX-License-Identifier: Apache-2.0
"""Small things to train, the same in every process.

As a program it trains the small network, and writes its curve:

  python tests/finetuning/small_trainers.py out.json '{"steps": 6}'
"""

import json
import os
import pathlib
import sys

import jax
import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / 'features'))

import small

from neucrab_jax import storage
from neucrab_jax.finetuning import batches, network, trainer
from neucrab_jax.finetuning.protocol import Protocol


def features_trainer(
  protocol, *, n=30, num_features=5, num_classes=3, **options
):
  """A linear classifier, on features that a line separates almost."""
  rng = np.random.default_rng(0)
  labels = (np.arange(n) % num_classes).astype(np.int32)
  centres = rng.normal(size=(num_classes, num_features))
  x = (centres[labels] + rng.normal(size=(n, num_features))).astype(np.float32)
  net, variables = network.from_features(num_features, num_classes)
  arrays = batches.Arrays(x, labels)
  return trainer.Trainer(net, variables, arrays, arrays, protocol, **options)


def images_trainer(protocol, *, n=24, seed=0, **options):
  """A small network with BatchNorm, on images whose brightness is the class."""
  labels = (np.arange(n) % 3).astype(np.int32)
  images = (
    small.make_images(n) // 3
    + (80 * labels).astype(np.uint8)[:, None, None, None]
  )
  net, variables = network.from_backbone(
    small.make_backbone(seed=seed), 3, protocol
  )
  arrays = batches.Arrays(images, labels)
  return trainer.Trainer(net, variables, arrays, arrays, protocol, **options)


def train_images(steps, **options):
  """The curve of every step, of the very program that the tests use."""
  protocol = Protocol(
    learning_rates=(0.05,), steps=(steps,), batch_size=8, curve_points=steps
  )
  (result,) = images_trainer(protocol, **options).run(protocol.trials())
  return result.curve


def main(out, options):
  options = json.loads(options)
  if 'distributed' in options:
    jax.distributed.initialize(**options['distributed'])
  folder = options.get('folder')
  curve = train_images(
    options['steps'], folder=folder and pathlib.Path(folder), save_steps=2
  )
  storage.write_json(out, curve)
  print('devices:', jax.device_count())


if __name__ == '__main__':
  os.environ['JAX_PLATFORMS'] = 'cpu'
  main(*sys.argv[1:])
