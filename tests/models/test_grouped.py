# SPDX-License-Identifier: Apache-2.0
"""Convolution in groups, against XLA's own."""

import jax
import numpy as np
import pytest

from neucrab_jax.models import grouped


@pytest.mark.parametrize(
  ('groups', 'channels', 'features', 'stride', 'padding'),
  [
    (32, 4, 4, 2, ((1, 1), (1, 1))),
    (8, 4, 8, 1, 'SAME'),
    (3, 8, 8, 1, ((1, 1), (1, 1))),
    (5, 2, 1, 2, 'SAME'),
    (2, 16, 16, 1, ((0, 1), (1, 0))),
  ],
)
def test_groups_do_not_see_each_other(
  groups, channels, features, stride, padding
):
  rng = np.random.default_rng(0)
  x = rng.normal(size=(2, 7, 6, groups * channels)).astype(np.float32)
  kernel = rng.normal(size=(3, 3, channels, groups * features))
  kernel = kernel.astype(np.float32)
  found = grouped.grouped_conv(
    x, kernel, groups=groups, stride=stride, padding=padding
  )
  expected = jax.lax.conv_general_dilated(
    x,
    kernel,
    (stride, stride),
    padding,
    dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
    feature_group_count=groups,
    precision='highest',
  )
  np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
