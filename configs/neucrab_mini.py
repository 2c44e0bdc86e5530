# SPDX-License-Identifier: Apache-2.0
r"""NeuCRaB in miniature: three groups, four tasks, all measures.

  python -m neucrab_jax.evaluate --config=configs/neucrab_mini.py

scores the 41 bundled checkpoints by all measures on 200 training examples of
each task, and judges the measures by the accuracies that fine-tuning on the
same examples led to. Those are bundled too. `neucrab_mini.py:mini_1` takes one
group alone.

Left out is `early_stopping`, which fine-tunes every checkpoint on every task
and takes far longer than all others together. To have it:

  --config.rank.measures=early_stopping,nleep,knn,num_parameters

What is on disk is not computed again, be it from a run that was interrupted.
"""

import pathlib

import ml_collections

from neucrab_jax import benchmark, measures
from neucrab_jax.ranking import settings

# The order to beat is that of the group; in mini_3 that by size, which is
# `num_parameters`.
_ORDERS = {'mini_1': 'mini_1', 'mini_2': 'mini_2', 'mini_3': ''}


def get_config(
  groups: str = 'mini_1,mini_2,mini_3',
) -> ml_collections.ConfigDict:
  mini = pathlib.Path(benchmark.__file__).parent / 'neucrab_mini'
  config = ml_collections.ConfigDict()
  config.groups = ml_collections.ConfigDict()
  for group in groups.split(','):
    if group not in _ORDERS:
      raise ValueError(f'Unknown group {group!r}. Known: {", ".join(_ORDERS)}.')
    config.groups[group] = {
      'checkpoints': group,
      'accuracies': str(mini / 'accuracies'),
      'order': _ORDERS[group],
    }
  # Names, or paths, separated by commas.
  config.tasks = 'digits,photos,monochrome,shapes'

  # How to rank each group on each task; otherwise as `measures.py`.
  names = tuple(name for name in measures.names() if name != 'early_stopping')
  config.rank = settings.checkpoints_on_a_task()
  config.rank.update(settings.several_measures(names))
  del config.rank.checkpoints, config.rank.task.name, config.rank.known
  # Those that fine-tuning had, too.
  config.rank.task.num_examples = 200

  # For intervals, p-values and comparisons: as many as a minute has room for.
  config.num_resamples = 2_000
  config.seed = 0  # Of the resamples.
  return config
