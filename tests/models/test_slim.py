# SPDX-License-Identifier: Apache-2.0
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neucrab_jax.models import slim

_OPTIONS = {
  'dimension_numbers': ('NHWC', 'HWIO', 'NHWC'),
  'precision': slim.PRECISION,
}


_CASES = [
  *itertools.product(
    [(1, 1), (3, 3), (1, 7), (7, 1), (2, 5)],
    ['SAME', 'VALID', ((2, 0), (1, 3))],
  ),
  # Larger than the map.
  ((8, 8), 'SAME'),
]


@pytest.mark.parametrize(('size', 'padding'), _CASES)
@pytest.mark.parametrize('stride', [1, 2])
def test_convolve_and_its_gradients_are_those_of_lax(size, stride, padding):
  _check(size, stride, padding, channels=4)


def test_a_convolution_of_colours_is_that_of_lax():
  _check((3, 3), 2, ((1, 1), (0, 1)), channels=3)


def _check(size, stride, padding, *, channels):
  rng = np.random.default_rng(0)
  x = rng.normal(size=(2, 7, 8, channels)).astype('f4')
  kernel = rng.normal(size=(*size, channels, 20)).astype('f4')

  def with_gradients(convolve):
    @jax.jit
    def run(x, kernel):
      y, pull = jax.vjp(
        lambda x, kernel: convolve(
          x, kernel, (stride, stride), padding, **_OPTIONS
        ),
        x,
        kernel,
      )
      return y, pull(jnp.cos(jnp.arange(y.size)).reshape(y.shape))

    return run(x, kernel)

  jax.tree.map(
    lambda ours, theirs: np.testing.assert_allclose(
      ours, theirs, rtol=1e-4, atol=1e-4
    ),
    with_gradients(slim.convolve),
    with_gradients(jax.lax.conv_general_dilated),
  )
