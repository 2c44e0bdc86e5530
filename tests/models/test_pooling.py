# SPDX-License-Identifier: Apache-2.0
import flax.linen as nn
import jax
import numpy as np
import pytest

from neucrab_jax.models import pooling


@pytest.mark.parametrize('padding', ['SAME', 'VALID'])
@pytest.mark.parametrize('stride', [1, 2])
@pytest.mark.parametrize('size', [2, 3])
def test_max_pool_and_its_gradient_are_flax_own(size, stride, padding):
  rng = np.random.default_rng(0)
  # Whole numbers, of which windows have several largest ones.
  x = rng.integers(-2, 3, size=(2, 7, 8, 3)).astype('f4')

  def ours(x):
    return pooling.max_pool(x, size, stride, padding)

  def flax(x):
    return nn.max_pool(x, (size, size), (stride, stride), padding)

  expected, pull = jax.vjp(flax, x)
  pooled, our_pull = jax.vjp(ours, x)
  np.testing.assert_array_equal(pooled, expected)
  np.testing.assert_array_equal(ours(x), expected)
  weights = rng.normal(size=expected.shape).astype('f4')
  np.testing.assert_array_equal(our_pull(weights)[0], pull(weights)[0])


@pytest.mark.parametrize('shape', [(7, 8), (1, 2), (2, 5)])
def test_average_pool_leaves_padding_out(shape):
  x = np.random.default_rng(0).normal(size=(2, *shape, 3)).astype('f4')
  expected = nn.avg_pool(
    x, (3, 3), strides=(1, 1), padding='SAME', count_include_pad=False
  )
  np.testing.assert_allclose(pooling.average_pool(x, 3), expected, atol=1e-6)


# Places that have few divisors, many, and none that is small.
@pytest.mark.parametrize('shape', [(7, 7), (12, 20), (17, 19), (1, 1)])
def test_global_average_and_its_gradient_are_the_mean(shape):
  x = np.random.default_rng(0).normal(size=(2, *shape, 3)).astype('f4')
  pooled, pull = jax.vjp(pooling.global_average, x)
  expected = x.astype('f8').mean(axis=(1, 2))
  np.testing.assert_allclose(pooled, expected, atol=1e-6)
  weights = np.arange(6, dtype='f4').reshape(2, 3)
  expected = np.broadcast_to(weights[:, None, None] / np.prod(shape), x.shape)
  np.testing.assert_allclose(pull(weights)[0], expected, rtol=1e-6)
