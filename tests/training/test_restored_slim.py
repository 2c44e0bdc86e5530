# SPDX-License-Identifier: Apache-2.0
"""A network of TF-slim, restored from generated weights, learns a toy task."""

import numpy as np
import parity
import pytest

from neucrab_jax import checkpoints, records, training
from neucrab_jax.checkpoints import naming
from neucrab_jax.training import network


@pytest.mark.slow
@pytest.mark.parametrize('architecture', ['mobilenet_v1_025'])
def test_it_learns_to_tell_stripes(architecture, tmp_path, size=64):
  stored = parity.weights(architecture)
  file = tmp_path / 'weights.npz'
  records.write_npz(
    file, {new: stored[old] for old, new in naming.to_flax(stored).items()}
  )
  backbone = checkpoints.restore(architecture, file)
  # Stripes along one axis or the other, of any phase, in noise.
  rng = np.random.default_rng(0)
  n = 32
  labels = (np.arange(n) % 2).astype(np.int32)
  waves = np.sin(np.arange(size) / 2 + rng.uniform(0, 6, n)[:, None])
  images = np.where(labels[:, None, None], waves[:, None], waves[:, :, None])
  images = 128 + 80 * images[..., None] + rng.normal(0, 20, (n, size, size, 3))
  images = images.clip(0, 255).astype(np.uint8)
  train, validation = (
    training.Split(images[part], labels[part])
    for part in (slice(16), slice(16, None))
  )
  protocol = training.Protocol(
    learning_rates=(0.02,),
    steps=(40,),
    batch_size=16,
    # Its own, 0.9997, would not have noticed these few steps.
    batch_norm_decay=0.8,
  )
  net, variables = network.from_backbone(backbone, 2, protocol)
  trainer = training.Trainer(net, variables, train, validation, protocol)
  (outcome,) = trainer.run(protocol.trials())
  assert outcome.curve[-1]['loss'] < 0.3
  assert outcome.validation_accuracy > 0.8
