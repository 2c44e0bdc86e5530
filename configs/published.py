# SPDX-License-Identifier: Apache-2.0
r"""What others' published figures say about measures.

  python -m neucrab_jax.evaluate --config=configs/published.py

judges five measures by the linear and the fine-tuned accuracies of 19 ImageNet
networks on SUN397; and shows how well an order that knows nothing of the task
does on VTAB's accuracies of 14 checkpoints of group I, and how far accuracies
from 1,000 examples agree with those from all.

  python -m neucrab_jax.evaluate --config=configs/published.py:huggingface_full

judges LogME and the regularised H-score by 180 checkpoints of the Hugging Face
hub on eight data sets. `:huggingface_1k` (291 checkpoints, 12 tasks of VTAB,
800 examples), `:sfda` and `:parc` have accuracies alone: there it is judged how
well `history`, the other tasks' accuracies, predicts those of a task.

The two tables of the hub hold networks with random weights, runs that diverged
and names that are there twice. `leave_out` is the rule for them; what it leaves
out is told, and `--config.leave_out.random= --config.leave_out.same_name=False
--config.leave_out.margin=-1` keeps all. The figures and their sources are in
neucrab_jax/benchmark/published.
"""

import pathlib

import ml_collections

from neucrab_jax import benchmark

# Group I as the README of google-research/rank_ckpt lists it, without the two
# that VTAB has not; its last ones are the supervised.
_GROUP_1 = (
  'WAE-UKL,WAE-GAN,Cond-BigGAN,WAE-MMD,VAE,Uncond-BigGAN,Jigsaw,Rel.Pat.Loc,'
  'Exemplar,Rotation,Semi-Rotation-10%,Semi-Exemplar-10%,Sup-100%,'
  'Sup-Exemplar-100%'
)
_PUBLISHED = pathlib.Path(benchmark.__file__).parent / 'published'

# The accuracy of answering always the same class: one in the number of classes;
# where classes differ in size, what networks that learnt nothing agree on in
# the tables.
_CHANCE = {
  'caltech101': 1 / 102,
  'cifar100': 1 / 100,
  'diabetic_retinopathy_detection': 0.7359,
  'dmlab': 0.2219,
  'dtd': 1 / 47,
  'eurosat': 0.1112,
  'flowers': 1 / 102,
  'oxford_flowers102': 1 / 102,
  'oxford_iiit_pet': 0.0273,
  'patch_camelyon': 0.5002,
  'pets': 0.0273,
  'resisc45': 1 / 45,
  'smallnorb_label_azimuth': 1 / 18,
  'smallnorb_label_elevation': 1 / 9,
  'stanfordcars': 1 / 196,
  'sun397': 0.0203,
  'svhn': 0.1959,
  'svhn_cropped': 0.1959,
}


def _accuracies(name: str, **more: str) -> dict[str, object]:
  return {
    'accuracies': str(_PUBLISHED / f'{name}.csv'),
    'history_alone': True,
    **more,
  }


def _groups(table: str) -> dict[str, dict[str, object]]:
  sun397 = str(_PUBLISHED / 'sun397_architectures.csv')
  full = str(_PUBLISHED / 'huggingface_full.csv')
  tables = {
    '': {
      'architectures': {'rankings': sun397, 'accuracies': sun397},
      'neucrab_1': {
        'accuracies': str(_PUBLISHED / 'vtab_accuracies.csv'),
        'order': _GROUP_1,
      },
    },
    'huggingface_1k': {'huggingface_1k': _accuracies('huggingface_1k')},
    'huggingface_full': {
      'huggingface_full': {'rankings': full, 'accuracies': full}
    },
    'sfda': {
      'supervised_cnn': _accuracies('sfda_supervised_cnn'),
      'self_supervised': _accuracies('sfda_self_supervised'),
    },
    'parc': {'parc': _accuracies('parc_controlled')},
  }
  if table not in tables:
    raise ValueError(
      f'Unknown table {table!r}. Known: {", ".join(filter(None, tables))}.'
    )
  return tables[table]


def get_config(table: str = '') -> ml_collections.ConfigDict:
  config = ml_collections.ConfigDict()
  config.groups = _groups(table)

  if table.startswith('huggingface'):
    config.leave_out = ml_collections.ConfigDict()
    # Patterns of names. The last does on every task as the random ones do.
    config.leave_out.random = '*random*,nateraw/test_model_a'
    # Of the same name under several owners, whoever has most accuracies stays.
    config.leave_out.same_name = True
    config.leave_out.chance = _CHANCE
    # A run that is no further above chance has diverged.
    config.leave_out.margin = 0.01

  # For intervals, p-values and comparisons; their cost is of the square of the
  # number of checkpoints.
  config.num_resamples = 2_000 if table.startswith('huggingface') else 10_000
  config.seed = 0  # Of the resamples.
  return config
