# SPDX-License-Identifier: Apache-2.0
r"""NLEEP, the paper's best measure, on what is bundled.

  python -m neucrab_jax.rank --config=configs/nleep.py

ranks the sixteen checkpoints of `mini_1`, and one that was not trained at all,
for the 1,000 training examples of `digits`: no download, and less than a minute
on 2 CPU cores. For other data and other settings:

  python -m neucrab_jax.rank --config=configs/nleep.py \
      --config.task.name=oxford_flowers102 --config.task.split=train800val200

and for the paper's own checkpoints, by whoever has unpacked rank_ckpt.zip:

  python -m neucrab_jax.rank --config=configs/nleep.py \
      --config.checkpoints=neucrab_3 --config.checkpoint_dir=rank_ckpt \
      --config.task.name=caltech101
"""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
  config = ml_collections.ConfigDict()

  config.task = ml_collections.ConfigDict()
  # digits, a data set of TFDS, a folder with one sub-folder a class, or an
  # .npz of images and labels.
  config.task.name = 'digits'
  config.task.split = 'train'
  config.task.data_dir = ''  # Of TFDS; empty for its own default.
  config.task.num_examples = 0  # A stratified sample of so many; 0 for all.
  config.task.sample_seed = 0

  # Groups, or names, separated by commas.
  config.checkpoints = 'mini_1,control'
  config.checkpoint_dir = ''  # Of weights that are not bundled.
  # Of the paper's groups: vtab (the whole image at 224 px) or own.
  config.preprocessing = 'vtab'
  config.batch_size = 128  # Over all local devices.
  config.cache_dir = ''  # Of features; empty for the user's cache folder.

  config.measure = ml_collections.ConfigDict()
  config.measure.name = 'nleep'
  config.measure.options = ml_collections.ConfigDict()
  # Or stable_transfer, pactran, sfda: no two public NLEEPs agree.
  config.measure.options.variant = 'paper'
  config.measure.options.energy = 0.8  # Of the variance, kept by PCA.
  config.measure.options.components_per_class = 5
  config.measure.options.num_seeds = 5
  config.measure.options.max_iterations = 100
  config.measure.options.tolerance = 1e-3  # Nats per example.

  # Of the examples, for how sure the order is; 0 for none.
  config.num_resamples = 20
  config.seed = 0
  return config
