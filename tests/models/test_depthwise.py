# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from neucrab_jax.models import depthwise


@pytest.mark.parametrize('stride', [1, 2])
@pytest.mark.parametrize('size', [7, 8])
@pytest.mark.parametrize('kernel_size', [3, 5])
@pytest.mark.parametrize('multiplier', [1, 3])
def test_both_ways_are_the_same(stride, size, kernel_size, multiplier):
  rng = np.random.default_rng(0)
  x = rng.normal(size=(2, size, size + 1, 4)).astype('f4')
  kernel = rng.normal(size=(kernel_size, kernel_size, 4, multiplier))
  kernel = kernel.astype('f4')
  expected = depthwise.grouped(x, kernel, stride=stride)
  for convolve in (depthwise.shifted, depthwise.depthwise_conv):
    np.testing.assert_allclose(
      convolve(x, kernel, stride=stride), expected, atol=1e-5
    )
