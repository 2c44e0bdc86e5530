# SPDX-License-Identifier: Apache-2.0
r"""Any measure, on what is bundled; otherwise as `nleep.py`.

  python -m neucrab_jax.rank --config=configs/measure.py:knn
  python -m neucrab_jax.rank --config=configs/measure.py:linear \
      --config.measure.options.l2=1e-2

The part after the colon is one of `measures.names()`.
"""

import ml_collections

from neucrab_jax import measures


def get_config(measure: str) -> ml_collections.ConfigDict:
  config = ml_collections.ConfigDict()

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

  config.measure = ml_collections.ConfigDict()
  config.measure.name = measure
  config.measure.options = measures.default_options(measure)

  # Of the examples, for how sure the order is; 0 for none.
  config.num_resamples = 20
  config.seed = 0
  return config
