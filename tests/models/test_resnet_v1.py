# SPDX-License-Identifier: Apache-2.0
"""ResNet-v1 against the original graph."""

import jax
import numpy as np
import parity
import pytest

from neucrab_jax.models import resnet_v1


@pytest.mark.parametrize(
  ('architecture', 'size'),
  [('resnet_v1_50', 224), ('resnet_v1_50', 161), ('resnet_v1_101', 160)],
)
def test_is_the_original(architecture, size):
  parity.check(architecture, size)


def test_training_updates_the_statistics():
  module = resnet_v1.ResNetV1(units=(1, 1), width=8)
  images = parity.images(32)
  variables = module.init(jax.random.key(0), images)
  _, updated = module.apply(
    variables, images, train=True, mutable=['batch_stats']
  )
  before = variables['batch_stats']['conv1']['BatchNorm']['mean']
  after = updated['batch_stats']['conv1']['BatchNorm']['mean']
  assert not np.array_equal(before, after)
