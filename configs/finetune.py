# SPDX-License-Identifier: Apache-2.0
r"""How well bundled checkpoints transfer: fine-tuned accuracy on the digits.

  python -m neucrab_jax.finetune --config=configs/finetune.py

fine-tunes eight kinds of supervision, and what was not trained, on 200 examples
of `digits`, with PACTran's four learning rates.

The accuracies of NeuCRaB-mini, all bundled checkpoints on a task by a short
sweep of VTAB's two rates, with two seeds, are behind a colon:

  python -m neucrab_jax.finetune --config=configs/finetune.py:neucrab_mini \
      --config.task.name=photos

and so are the paper's protocols, VTAB's:

  python -m neucrab_jax.finetune --config=configs/finetune.py:vtab \
      --config.task.name=oxford_flowers102 \
      --config.checkpoints=neucrab_3 --config.checkpoint_dir=rank_ckpt

with its light sweep on all training examples, and `:vtab_1k` on 1,000 of them.
`--config.protocol.mode=head` trains a linear classifier on frozen features.
"""

import ml_collections

from neucrab_jax.finetuning import settings


def get_config(variant: str = 'mini') -> ml_collections.ConfigDict:
  return settings.protocol(variant)
