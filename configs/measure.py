# SPDX-License-Identifier: Apache-2.0
r"""Any measure, on what is bundled; otherwise as `nleep.py`.

  python -m neucrab_jax.rank --config=configs/measure.py:knn
  python -m neucrab_jax.rank --config=configs/measure.py:linear \
      --config.measure.options.l2=1e-2

The part after the colon is one of `measures.names()`.
"""

import ml_collections

from neucrab_jax.ranking import settings


def get_config(measure: str = '') -> ml_collections.ConfigDict:
  config = settings.checkpoints_on_a_task()
  config.measure = settings.measure(measure)
  return config
