# SPDX-License-Identifier: Apache-2.0
"""The paper's experiment on a small stand-in for its weights and its data.

    python -m experiments.standin --folder=runs/standin
    python -m experiments.standin --folder=runs/standin --kills=2

The first writes checkpoints of two architectures of each group, their weights
drawn by name, where `download` would put them, and two data sets of TFDS under
their own names, of few noisy images; and starts `configs/neucrab.py` on them,
from fine-tuning to the tables. The second starts it in another folder, kills it
on the way so many times, and compares the tables with those of the first.

It shows that all of it runs, and goes on where it was: after two steps from
weights that were drawn, accuracies and so the tables' τ tell nothing.
"""

import argparse
import pathlib
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping

import numpy as np

from tests.models import parity

# Where `download` would put them, and what they are checkpoints of.
NETWORKS = {
  'places_res50/model.ckpt-300000': 'resnet_v1_50',
  'inat_res50/model.ckpt-300000': 'resnet_v2_50',
  'imagenet_res50/model.ckpt-300000': 'resnet_v1_50',
  'imagenet_mobilenet_v1_025/model.ckpt-300000': 'mobilenet_v1_025',
  'imagenet_mobilenet_v3_small/model.ckpt-300000': 'mobilenet_v3_small',
}
# With a version that the experiment takes.
DATA_SETS = {'oxford_flowers102': '2.1.1', 'patch_camelyon': '2.0.0'}
SIZES = {'train': 24, 'validation': 8, 'test': 16}
NUM_CLASSES, PIXELS = 4, 32
# All of it on so few images; the rest is as in the config.
SETTINGS = (
  f'tasks={",".join(DATA_SETS)}',
  'finetune.protocol.steps=(2,)',
  'finetune.protocol.batch_size=4',
  'finetune.protocol.curve_points=1',
  'finetune.protocol.warmup_steps=1',
  'rank.options.early_stopping.steps=20',
  'rank.options.early_stopping.batch_size=4',
  'rank.options.early_stopping.num_seeds=2',
  'ablation.energies=(0.5, 0.8)',
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


def make_weights(folder: pathlib.Path) -> None:
  for place, architecture in NETWORKS.items():
    _save(folder / place, parity.weights(architecture))


def make_data(folder: pathlib.Path) -> None:
  """Noise in colours that are the classes'."""
  import tensorflow_datasets as tfds

  rng = np.random.default_rng(0)
  colours = rng.uniform(60, 200, (NUM_CLASSES, 1, 1, 3))

  def rows(count):
    for i in range(count):
      noise = 30 * rng.standard_normal((PIXELS, PIXELS, 3))
      image = (colours[i % NUM_CLASSES] + noise).clip(0, 255).astype(np.uint8)
      yield i, {'image': image, 'label': i % NUM_CLASSES}

  for name, version in DATA_SETS.items():
    tfds.dataset_builders.store_as_tfds_dataset(
      name=name,
      version=version,
      features=tfds.features.FeaturesDict(
        {
          'image': tfds.features.Image(shape=(None, None, 3)),
          'label': tfds.features.ClassLabel(num_classes=NUM_CLASSES),
        }
      ),
      split_datasets={s: list(rows(count)) for s, count in SIZES.items()},
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


def run_and_kill(
  folder: pathlib.Path, workdir: pathlib.Path, *, kills: int, seconds: float
) -> None:
  """Kills it so often, each time after a share of the time it takes."""
  for kill in range(kills):
    process = subprocess.Popen(command(folder, workdir))
    try:
      status = process.wait(seconds / (kills + 1))
      print(f'It ended with status {status} before kill {kill + 1}.')
    except subprocess.TimeoutExpired:
      process.send_signal(signal.SIGKILL)
      process.wait()
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
