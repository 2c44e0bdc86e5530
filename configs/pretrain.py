# SPDX-License-Identifier: Apache-2.0
r"""The bundled checkpoints, made again from seeds.

  python -m experiments.pretrain --config=configs/pretrain.py
  python -m experiments.pretrain --config=configs/pretrain.py \
      --config.checkpoints=mini_vae --config.out=mine

What each is trained on is in `experiments/recipes.py`.
"""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
  config = ml_collections.ConfigDict()
  # Groups, or names, separated by commas.
  config.checkpoints = 'mini_1,mini_2,mini_3,control'
  config.out = 'neucrab_jax/checkpoints'  # With a folder for each group.
  config.num_train = 24_576
  config.num_held_out = 2_048
  config.batch_size = 128
  config.steps = 1_200
  config.warmup_steps = 50
  return config
