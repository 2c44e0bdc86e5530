# SPDX-License-Identifier: Apache-2.0
import functools

import jax
import numpy as np
import pytest

from neucrab_jax.models import slim

_OPTIONS = {
  'dimension_numbers': ('NHWC', 'HWIO', 'NHWC'),
  'precision': slim.PRECISION,
}


@pytest.mark.parametrize('padding', ['SAME', 'VALID', ((2, 0), (1, 3))])
@pytest.mark.parametrize('stride', [1, 2])
@pytest.mark.parametrize(
  'size', [(1, 1), (3, 3), (1, 7), (7, 1), (2, 5), (8, 8)]
)
def test_convolve_and_its_gradients_are_those_of_lax(size, stride, padding):
  if size == (8, 8) and padding != 'SAME':
    pytest.skip('the kernel has no place on the map')
  rng = np.random.default_rng(0)
  x = rng.normal(size=(2, 7, 8, 4)).astype('f4')
  kernel = rng.normal(size=(*size, 4, 20)).astype('f4')
  expected, pull = jax.vjp(
    functools.partial(
      jax.lax.conv_general_dilated,
      window_strides=(stride, stride),
      padding=padding,
      **_OPTIONS,
    ),
    x,
    kernel,
  )
  convolved, our_pull = jax.vjp(
    functools.partial(
      slim.convolve, strides=(stride, stride), padding=padding, **_OPTIONS
    ),
    x,
    kernel,
  )
  close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-4)
  close(convolved, expected)
  weights = rng.normal(size=expected.shape).astype('f4')
  jax.tree.map(close, our_pull(weights), pull(weights))
