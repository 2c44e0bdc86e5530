# SPDX-License-Identifier: Apache-2.0
r"""What others' published figures say about measures.

  python -m neucrab_jax.evaluate --config=configs/published.py

judges five measures by the linear and the fine-tuned accuracies of 19 ImageNet
networks on SUN397; and shows how well an order that knows nothing of the task
does on VTAB's accuracies of 14 checkpoints of group I, and how far accuracies
from 1,000 examples agree with those from all. The figures and their sources are
in neucrab_jax/benchmark/published.
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


def get_config() -> ml_collections.ConfigDict:
  published = pathlib.Path(benchmark.__file__).parent / 'published'
  sun397 = str(published / 'sun397_architectures.csv')
  config = ml_collections.ConfigDict()
  config.groups = {
    'architectures': {'rankings': sun397, 'accuracies': sun397},
    'neucrab_1': {
      'accuracies': str(published / 'vtab_accuracies.csv'),
      'order': _GROUP_1,
    },
  }

  # For intervals, p-values and comparisons.
  config.num_resamples = 10_000
  config.seed = 0  # Of the resamples.
  return config
