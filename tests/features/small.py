# SPDX-License-Identifier: Apache-2.0
"""A small checkpoint and a small task, the same in every process.

As a program it extracts the one's features of so many examples of the other, in
batches of such sizes, into FOLDER/<examples>-<batch size>.npz:

  python tests/features/small.py FOLDER '{"runs": [[11, 8], [3, 4]]}'
"""

import dataclasses
import json
import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np

from neucrab_jax import checkpoints, features, models
from neucrab_jax.features import extraction
from neucrab_jax.tasks import arrays

SIZE = 16


def make_checkpoint(**changes):
  spec = {
    'name': 'small',
    'architecture': 'resnet_v2_mini',
    'path': 'nowhere.npz',
    'group': 'none',
    'image_size': SIZE,
  }
  return checkpoints.Checkpoint(**spec | changes)


def make_backbone(*, num_classes=4, seed=0, **changes):
  """A network whose every variable is random, statistics included."""
  module = models.build('resnet_v2_mini', num_classes=num_classes)
  shapes = jax.eval_shape(
    module.init, jax.random.key(0), jnp.zeros((1, SIZE, SIZE, 3))
  )
  rng = np.random.default_rng(seed)

  def draw(path, leaf):
    x = rng.normal(size=leaf.shape)
    if path[-1].key == 'kernel':
      x *= np.sqrt(2 / np.prod(leaf.shape[:-1]))
    elif path[-1].key == 'var':
      x = np.exp(x)
    return x.astype(np.float32)

  return checkpoints.Backbone(
    checkpoint=make_checkpoint(**changes),
    module=module,
    variables=jax.tree_util.tree_map_with_path(draw, shapes),
    fingerprint=f'weights {seed}',
  )


def make_images(num_examples, *, seed=0, size=SIZE):
  rng = np.random.default_rng(seed)
  return rng.integers(0, 256, (num_examples, size, size, 3), np.uint8)


def make_examples(num_examples, **options):
  labels = np.arange(num_examples, dtype=np.int32) % 3
  return arrays.make_examples(make_images(num_examples, **options), labels)


def _fail():
  raise ValueError('The image is a sandwich.')


def _spoil(examples, broken):
  """The same examples, but for one that cannot be decoded."""

  def open_images(indices):
    decoders = examples.open(indices)
    for index, decode in zip(indices, decoders, strict=True):
      yield _fail if index == broken else decode

  return dataclasses.replace(examples, opener=open_images)


def main(folder, options):
  options = json.loads(options)
  if 'distributed' in options:
    jax.distributed.initialize(**options['distributed'])
  for num_examples, batch_size in options['runs']:
    examples = make_examples(num_examples)
    if 'broken' in options:
      examples = _spoil(examples, options['broken'])
    found = extraction.extract(make_backbone(), examples, batch_size=batch_size)
    features.write(
      pathlib.Path(folder) / f'{num_examples}-{batch_size}.npz', found
    )
  print('devices:', jax.local_device_count())


if __name__ == '__main__':
  main(*sys.argv[1:])
