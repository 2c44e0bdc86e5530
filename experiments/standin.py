# SPDX-License-Identifier: Apache-2.0
"""The paper's experiment on a small stand-in for its weights and its data.

    python -m experiments.standin --folder=runs/standin
    python -m experiments.standin --folder=runs/standin --kills=2

The first writes checkpoints of two architectures of each group, their weights
drawn by name, where `download` would put them, and two data sets of TFDS under
their own names, of few noisy images; and starts `configs/neucrab.py` on them,
from fine-tuning to the tables. The second starts it in another folder, kills it
on the way so many times, and compares the tables with those of the first.

It shows that all of it runs, and goes on where it was: weights that were drawn
and two steps on four images make accuracies that differ, and tell nothing else.
"""

import argparse
import functools
import pathlib
import shutil
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Mapping

import flax.linen as nn
import jax
import numpy as np
from flax import traverse_util

from neucrab_jax import models
from neucrab_jax.checkpoints import tf_names
from tests.models import parity

# Where `download` would put them, and what they are checkpoints of.
NETWORKS = {
  'places_res50/model.ckpt-300000': 'resnet_v1_50',
  'imagenet_res50/model.ckpt-300000': 'resnet_v1_50',
  'inat_res50/model.ckpt-300000': 'resnet_v2_50',
  'imagenet_mobilenet_v1_025/model.ckpt-300000': 'mobilenet_v1_025',
  'imagenet_mobilenet_v1/model.ckpt-300000': 'mobilenet_v1',
}
# With a version that the experiment takes.
DATA_SETS = {'oxford_flowers102': '2.1.1', 'patch_camelyon': '2.0.0'}
SIZES = {'train': 4, 'validation': 12, 'test': 16}
PIXELS = 32
# Of the images that BatchNorm's averages are of.
SETTLING = 64
# Of 256 values, how far a class is from grey at most, and how much images and
# pixels vary.
APART, IMAGE_STD, PIXEL_STD = 30, 40, 40
# All of it on so few images; the rest is as in the config. A batch has as many
# examples of each class, or two steps would learn which one has the most.
SETTINGS = (
  f'tasks={",".join(DATA_SETS)}',
  'finetune.protocol.steps=(2,)',
  f'finetune.protocol.batch_size={SIZES["train"]}',
  'finetune.protocol.curve_points=1',
  'finetune.protocol.warmup_steps=0',
  'rank.options.early_stopping.steps=20',
  f'rank.options.early_stopping.batch_size={SIZES["train"]}',
  'rank.options.early_stopping.num_seeds=2',
  'ablation.energies=(0.8,)',
  'ablation.components_per_class=(1, 2)',
  'num_resamples=200',
)
TABLES = ('tables.txt', 'tables.csv', 'tables.tex')


def _save(prefix: pathlib.Path, variables: Mapping[str, np.ndarray]) -> None:
  """Writes a TensorFlow 1 checkpoint."""
  import tensorflow as tf

  prefix.parent.mkdir(parents=True, exist_ok=True)
  tf.raw_ops.SaveV2(
    prefix=str(prefix),
    tensor_names=list(variables),
    shape_and_slices=[''] * len(variables),
    tensors=list(variables.values()),
  )


@functools.cache
def _settling(module: nn.Module) -> Callable:
  """The averages of one batch, compiled once for an architecture."""
  module = models.with_batch_norm_decay(module, decay=1e-6)

  @jax.jit
  def settle(variables, images):
    key = {'dropout': jax.random.key(0)}
    return module.apply(
      variables, images, train=True, mutable=['batch_stats'], rngs=key
    )[1]

  return settle


def _settle(
  architecture: str, drawn: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
  """The weights with BatchNorm's averages as they are on images.

  With others, what is trained on a batch's own tells nothing of an image alone.
  """
  module, like = parity.network(architecture)
  places = {'/'.join(p): p for p in traverse_util.flatten_dict(like)}
  named = {name: places[new] for name, new in tf_names.to_flax(drawn).items()}
  variables = traverse_util.unflatten_dict(
    {named[name]: values for name, values in drawn.items()}
  )
  colours = np.random.default_rng(0).uniform(-1, 1, (16, 4, 4, 3))
  images = colours.repeat(SETTLING // 4, axis=1).repeat(SETTLING // 4, axis=2)
  settled = _settling(module)(variables, images.astype(np.float32))
  found = {**variables, **settled}
  flat = traverse_util.flatten_dict(found)
  return {name: np.asarray(flat[named[name]]) for name in drawn}


def make_weights(folder: pathlib.Path) -> None:
  for place, architecture in NETWORKS.items():
    # Those of one architecture are not the same.
    rng = np.random.default_rng(zlib.crc32(place.encode()))
    drawn = {
      name: values * rng.uniform(0.8, 1.2, values.shape).astype(np.float32)
      for name, values in parity.weights(architecture).items()
    }
    _save(folder / place, _settle(architecture, drawn))


def make_data(folder: pathlib.Path) -> None:
  """Images whose colour is nearly their class's."""
  import tensorflow_datasets as tfds

  rng = np.random.default_rng(0)

  def rows(colours, count):
    for i in range(count):
      image = colours[i % 2] + IMAGE_STD * rng.standard_normal(3)
      noise = PIXEL_STD * rng.standard_normal((PIXELS, PIXELS, 3))
      image = (image + noise).clip(0, 255).astype(np.uint8)
      yield i, {'image': image, 'label': i % 2}

  for name, version in DATA_SETS.items():
    direction = rng.standard_normal(3)
    direction *= APART / np.abs(direction).max()
    colours = 128 + direction, 128 - direction
    tfds.dataset_builders.store_as_tfds_dataset(
      name=name,
      version=version,
      features=tfds.features.FeaturesDict(
        {
          'image': tfds.features.Image(shape=(None, None, 3)),
          'label': tfds.features.ClassLabel(num_classes=2),
        }
      ),
      split_datasets={
        split: list(rows(colours, count)) for split, count in SIZES.items()
      },
      data_dir=folder,
      disable_shuffling=True,
    )


def command(folder: pathlib.Path, workdir: pathlib.Path) -> list[str]:
  """The experiment's own command, on the stand-in."""
  settings = (
    *SETTINGS,
    f'checkpoint_dir={folder / "weights"}',
    f'data_dir={folder / "data"}',
    f'cache_dir={workdir / "cache"}',
  )
  return [
    *(sys.executable, '-m', 'neucrab_jax.evaluate'),
    '--config=configs/neucrab.py',
    *(f'--config.{setting}' for setting in settings),
    f'--workdir={workdir}',
    # As a fresh clone would: nothing is compiled yet.
    '--nocompilation_cache',
  ]


def run(folder: pathlib.Path, workdir: pathlib.Path) -> float:
  """Seconds that it took to the end."""
  start = time.perf_counter()
  subprocess.run(command(folder, workdir), check=True)
  return time.perf_counter() - start


def _on_record(workdir: pathlib.Path) -> str:
  """How far a run is."""
  accuracies = len(list(workdir.glob('finetune/*/accuracies/*/*.json')))
  scores = len(list(workdir.glob('rankings/*/*/*/scores/*.json')))
  return f'{accuracies} accuracies and {scores} scores on record'


def run_and_kill(
  folder: pathlib.Path, workdir: pathlib.Path, *, kills: int, seconds: float
) -> None:
  """Kills it so often, each time after a larger share of the time it takes."""
  for kill in range(1, kills + 1):
    process = subprocess.Popen(command(folder, workdir))
    try:
      status = process.wait(seconds * kill / (kills + 2))
      print(f'It ended with status {status} before kill {kill}.')
    except subprocess.TimeoutExpired:
      process.send_signal(signal.SIGKILL)
      process.wait()
      print(f'\nKill {kill}, with {_on_record(workdir)}.', flush=True)
  run(folder, workdir)


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--folder', type=pathlib.Path, required=True)
  parser.add_argument('--kills', type=int, default=0)
  arguments = parser.parse_args()
  folder = arguments.folder.resolve()
  if not (folder / 'data').exists():
    make_weights(folder / 'weights')
    make_data(folder / 'data')
  whole = folder / 'whole'
  shutil.rmtree(whole, ignore_errors=True)
  seconds = run(folder, whole)
  print(f'\nThe whole of it took {seconds:.0f} s.')
  if not arguments.kills:
    return
  killed = folder / 'killed'
  shutil.rmtree(killed, ignore_errors=True)
  run_and_kill(folder, killed, kills=arguments.kills, seconds=seconds)
  same = all(
    (whole / name).read_bytes() == (killed / name).read_bytes()
    for name in TABLES
  )
  print(f'Killed {arguments.kills} times, the tables are the same: {same}')
  if not same:
    sys.exit(1)


if __name__ == '__main__':
  main()
