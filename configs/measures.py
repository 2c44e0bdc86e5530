# SPDX-License-Identifier: Apache-2.0
r"""All measures that apply, side by side, on what is bundled.

  python -m neucrab_jax.rank --config=configs/measures.py
  python -m neucrab_jax.rank --config=configs/measures.py \
      --config.measures=nleep,knn,ridge_loo --config.options.knn.k=5

or on files of features that any framework wrote, as `features.py` has them:

  python -m neucrab_jax.rank --config=configs/measures.py \
      --config.features='DIR/*.npz'

Features are extracted once. A measure skips the checkpoints that lack what it
needs, such as a classification head, and says so.
"""

import ml_collections

from neucrab_jax import measures


def get_config() -> ml_collections.ConfigDict:
  config = ml_collections.ConfigDict()
  config.features = ''  # A pattern of files; then no checkpoint is restored.

  config.task = ml_collections.ConfigDict()
  config.task.name = 'digits'
  config.task.split = 'train'
  config.task.data_dir = ''
  config.task.num_examples = 0
  config.task.sample_seed = 0

  config.checkpoints = 'mini_1,control'
  config.checkpoint_dir = ''
  config.preprocessing = 'vtab'
  config.batch_size = 128
  config.cache_dir = ''

  config.measures = ','.join(measures.names())
  config.options = ml_collections.ConfigDict()
  for name in measures.names():
    config.options[name] = measures.default_options(name)

  # Of the examples, for how sure the order is; 0 for none.
  config.num_resamples = 20
  config.seed = 0
  return config
