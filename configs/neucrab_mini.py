# SPDX-License-Identifier: Apache-2.0
r"""NeuCRaB in miniature: three groups, four tasks, all measures, the truth.

  python -m neucrab_jax.evaluate --config=configs/neucrab_mini.py

scores the 41 bundled checkpoints by all measures on 200 training examples of
each task, and judges the measures by the accuracies that fine-tuning on the
same examples led to. Those are bundled too.

Left out is `early_stopping`: it fine-tunes every checkpoint on every task, at
some 16 s of a CPU core each. To have it as well:

  --config.rank.measures=early_stopping,nleep,knn,num_parameters
"""

import pathlib

import ml_collections

from neucrab_jax import benchmark, measures


def get_config() -> ml_collections.ConfigDict:
  mini = pathlib.Path(benchmark.__file__).parent / 'neucrab_mini'
  accuracies = str(mini / 'accuracies')
  config = ml_collections.ConfigDict()
  # The fixed order is that of the group, as the paper's README has it. That of
  # mini_3, by size, is `num_parameters`.
  config.groups = {
    'mini_1': {
      'checkpoints': 'mini_1', 'accuracies': accuracies, 'order': 'mini_1',
    },
    'mini_2': {
      'checkpoints': 'mini_2', 'accuracies': accuracies, 'order': 'mini_2',
    },
    'mini_3': {
      'checkpoints': 'mini_3', 'accuracies': accuracies, 'order': '',
    },
  }  # fmt: skip
  config.tasks = 'digits,photos,monochrome,counting'

  # How to rank each group on each task; otherwise as `measures.py`.
  config.rank = ml_collections.ConfigDict()
  config.rank.task = ml_collections.ConfigDict()
  config.rank.task.split = 'train'
  config.rank.task.data_dir = ''
  # Those that fine-tuning had, too.
  config.rank.task.num_examples = 200
  config.rank.task.sample_seed = 0
  config.rank.checkpoint_dir = ''
  config.rank.preprocessing = 'vtab'
  config.rank.batch_size = 128
  config.rank.cache_dir = ''
  names = [name for name in measures.names() if name != 'early_stopping']
  config.rank.measures = ','.join(names)
  config.rank.options = ml_collections.ConfigDict()
  for name in measures.names():
    config.rank.options[name] = measures.default_options(name)
  config.rank.num_resamples = 20
  config.rank.seed = 0
  # Measures that score a checkpoint at once. Compiling takes most of the time,
  # and one core for each program.
  config.rank.num_threads = 2

  # For intervals, p-values and comparisons: as many as a minute has room for.
  config.num_resamples = 2_000
  config.seed = 0
  return config
