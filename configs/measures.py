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
from neucrab_jax.ranking import settings


def get_config() -> ml_collections.ConfigDict:
  config = settings.checkpoints_on_a_task()
  config.update(settings.several_measures(measures.names()))
  # Files, folders of them or patterns, separated by commas; then no checkpoint
  # is restored.
  config.features = ''
  return config
