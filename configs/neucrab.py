# SPDX-License-Identifier: Apache-2.0
r"""NeuCRaB, the paper's experiment: three groups, four tasks, its measures.

  python -m neucrab_jax.evaluate --config=configs/neucrab.py \
      --config.checkpoint_dir=rank_ckpt --workdir=runs/neucrab

fine-tunes the 41 checkpoints on the four tasks by VTAB's protocol of 1,000
examples, scores them by the paper's measures, judges these, sweeps NLEEP's
parameters, and prints the paper's tables: as text, CSV, LaTeX and a page. It is
weeks on a CPU: `--estimate` says what it costs, and starts nothing.

Behind a colon are a protocol, `vtab_1k` or `vtab` with all examples, and
groups, to take no more than these: `neucrab.py:neucrab_3,vtab`. Weights and
data that are missing are told with the remedy, and what is there is done.

Started again, it goes on where it was. Several machines may share the folder,
each with its `--config.steps=finetune`, `--config.tasks=` or groups;
`--config.accuracies='DIR/*.csv'` takes accuracies from elsewhere.
"""

import ml_collections

from neucrab_jax.finetuning import settings as finetuning_settings
from neucrab_jax.ranking import settings

_GROUPS = ('neucrab_1', 'neucrab_2', 'neucrab_3')
# By protocol, the examples that measures see: those of training and validation.
_SPLITS = {'vtab_1k': 'train800val200', 'vtab': 'trainval'}
_MEASURES = (
  'nleep', 'leep', 'linear', 'early_stopping', 'mutual_information',
  'num_parameters',
)  # fmt: skip


def get_config(chosen: str = '') -> ml_collections.ConfigDict:
  parts = [part.strip() for part in chosen.split(',') if part.strip()]
  unknown = [part for part in parts if part not in (*_GROUPS, *_SPLITS)]
  protocols = [part for part in parts if part in _SPLITS]
  if unknown or len(protocols) > 1:
    raise ValueError(
      f'Unknown choice {chosen!r}. Known: groups, {", ".join(_GROUPS)}, and '
      f'one protocol, {" or ".join(_SPLITS)}, separated by commas.'
    )
  protocol = protocols[0] if protocols else 'vtab_1k'
  config = ml_collections.ConfigDict()
  config.groups = {
    group: {'checkpoints': group, 'order': group}
    for group in [part for part in parts if part in _GROUPS] or _GROUPS
  }
  # Names, or paths, separated by commas.
  config.tasks = 'caltech101,oxford_flowers102,patch_camelyon,sun397'
  # What to do; judging ranks what is not ranked yet.
  config.steps = 'finetune,rank,judge,ablate'
  # From elsewhere, instead of fine-tuning: files, folders or patterns.
  config.accuracies = ''
  config.checkpoint_dir = ''  # That `download` filled.
  config.data_dir = ''  # Of TFDS; empty for its own default.
  # vtab (the whole image at 224 px) or own.
  config.preprocessing = 'vtab'
  config.weights = 'raw'  # Of TF1's checkpoints: or averages.
  config.cache_dir = ''  # Of features; empty for the user's cache folder.

  config.finetune = finetuning_settings.protocol(protocol)
  config.rank = settings.checkpoints_on_a_task()
  config.rank.update(settings.several_measures(_MEASURES))
  config.rank.task.split = _SPLITS[protocol]
  # What the experiment has once, for both.
  for part in (config.finetune, config.rank):
    del part.checkpoints, part.checkpoint_dir, part.preprocessing
    del part.weights, part.cache_dir, part.task.name, part.task.data_dir
  del config.rank.known

  # NLEEP's own parameters, as `ablation.py` sweeps them.
  config.ablation = ml_collections.ConfigDict()
  # Shares of the variance that PCA keeps.
  config.ablation.energies = (0.5, 0.6, 0.7, 0.8, 0.9)
  config.ablation.components_per_class = (1, 2, 3, 5, 10)
  config.ablation.covariances = ('diag',)  # And full.
  config.ablation.num_seeds = 1

  # For intervals, p-values and comparisons.
  config.num_resamples = 10_000
  config.seed = 0  # Of the resamples, and of the ablation's mixtures.
  return config
