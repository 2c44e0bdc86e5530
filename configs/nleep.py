# SPDX-License-Identifier: Apache-2.0
r"""NLEEP, the paper's best measure, on what is bundled.

  python -m neucrab_jax.rank --config=configs/nleep.py

ranks the sixteen checkpoints of `mini_1`, and one that was not trained at all,
for the 1,000 training examples of `digits`: no download, and less than a minute
on 2 CPU cores. For other data and other settings:

  python -m neucrab_jax.rank --config=configs/nleep.py \
      --config.task.name=oxford_flowers102 --config.task.split=train800val200

and for the paper's own checkpoints, by whoever has unpacked rank_ckpt.zip:

  python -m neucrab_jax.rank --config=configs/nleep.py \
      --config.checkpoints=neucrab_3 --config.checkpoint_dir=rank_ckpt \
      --config.task.name=caltech101
"""

import ml_collections

from neucrab_jax.ranking import settings


def get_config() -> ml_collections.ConfigDict:
  config = settings.checkpoints_on_a_task()
  config.measure = settings.measure('nleep')
  # Or stable_transfer, pactran, sfda: no two public NLEEPs agree.
  config.measure.options.variant = 'paper'
  config.measure.options.energy = 0.8  # Of the variance, kept by PCA.
  config.measure.options.components_per_class = 5
  # Mixtures; None for three, or two of very many examples and components.
  config.measure.options.num_seeds = None
  config.measure.options.max_iterations = 100
  config.measure.options.tolerance = 1e-3  # Nats per example.
  return config
