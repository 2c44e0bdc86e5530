# SPDX-License-Identifier: Apache-2.0
"""A network of TF-slim, restored from generated weights, learns a toy task."""

import numpy as np
import pytest

from neucrab_jax import checkpoints, records, training
from neucrab_jax.checkpoints import naming
from neucrab_jax.training import network
from tests.models import parity

_SIZE = 64


def make_split(n, seed):
  """Noise in one of two colours."""
  rng = np.random.default_rng(seed)
  labels = (np.arange(n) % 2).astype(np.int32)
  colours = np.array([[150, 100, 100], [100, 100, 150]])[labels]
  images = rng.normal(colours[:, None, None], 20, (n, _SIZE, _SIZE, 3))
  return training.Split(images.clip(0, 255).astype(np.uint8), labels)


@pytest.mark.slow
@pytest.mark.parametrize('architecture', ['mobilenet_v1_025'])
def test_it_learns_to_tell_colours(architecture, tmp_path):
  stored = parity.weights(architecture)
  file = tmp_path / 'weights.npz'
  records.write_npz(
    file, {new: stored[old] for old, new in naming.to_flax(stored).items()}
  )
  backbone = checkpoints.restore(architecture, file)
  protocol = training.Protocol(
    learning_rates=(0.1,),
    steps=(40,),
    batch_size=16,
    # Its own, 0.9997, would not have noticed these few steps.
    batch_norm_decay=0.8,
  )
  net, variables = network.from_backbone(backbone, 2, protocol)
  trainer = training.Trainer(
    net, variables, make_split(32, 0), make_split(32, 1), protocol
  )
  (outcome,) = trainer.run(protocol.trials())
  assert outcome.curve[0]['validation_accuracy'] < 0.7
  assert outcome.curve[-1]['loss'] < 0.3
  assert outcome.validation_accuracy > 0.8
