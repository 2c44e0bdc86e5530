# SPDX-License-Identifier: Apache-2.0
r"""Any measure, on features that any framework wrote.

  python -m neucrab_jax.rank --config=configs/features.py:nleep \
      --config.features='DIR/*.npz'

Each file holds the arrays `features` [N, D], `labels` [N] and, if its
checkpoint has a head, `source_probs` [N, Z]; its stem names the checkpoint. All
files hold the same examples in the same order.
"""

import ml_collections

from neucrab_jax.ranking import settings


def get_config(measure: str = '') -> ml_collections.ConfigDict:
  config = settings.resampling()
  # Files, folders of them or patterns, separated by commas.
  config.features = ''
  config.measure = settings.measure(measure)
  return config
