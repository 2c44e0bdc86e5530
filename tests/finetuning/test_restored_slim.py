# SPDX-License-Identifier: Apache-2.0
"""A network of TF-slim, restored from generated weights, learns a toy task."""

import numpy as np
import pytest

from neucrab_jax import checkpoints, storage
from neucrab_jax.checkpoints import tf_names
from neucrab_jax.finetuning import batches, network, trainer
from neucrab_jax.finetuning.protocol import Protocol
from tests.models import parity

_SIZE = 64


def make_split(n, seed):
  """Noise in one of two colours."""
  rng = np.random.default_rng(seed)
  labels = (np.arange(n) % 2).astype(np.int32)
  colours = np.array([[150, 100, 100], [100, 100, 150]])[labels]
  images = rng.normal(colours[:, None, None], 20, (n, _SIZE, _SIZE, 3))
  return batches.Arrays(images.clip(0, 255).astype(np.uint8), labels)


@pytest.mark.slow
@pytest.mark.parametrize('architecture', ['mobilenet_v1_025'])
def test_it_learns_to_tell_colours(architecture, tmp_path):
  stored = parity.weights(architecture)
  file = tmp_path / 'weights.npz'
  storage.write_npz(
    file, {new: stored[old] for old, new in tf_names.to_flax(stored).items()}
  )
  backbone = checkpoints.restore(architecture, file)
  protocol = Protocol(
    learning_rates=(0.1,),
    steps=(40,),
    batch_size=16,
    # Its own, 0.9997, would not have noticed these few steps.
    batch_norm_decay=0.8,
  )
  net, variables = network.from_backbone(backbone, 2, protocol)
  engine = trainer.Trainer(
    net, variables, make_split(32, 0), make_split(32, 1), protocol
  )
  (result,) = engine.run(protocol.trials())
  assert result.curve[0].validation_accuracy < 0.7
  assert result.curve[-1].loss < 0.3
  assert result.validation_accuracy > 0.8
