# SPDX-License-Identifier: Apache-2.0
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neucrab_jax.models import pooling
from neucrab_jax.models.onnx import elementwise
from neucrab_jax.models.onnx import pooling as onnx_pooling


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


def test_global_average_sums_no_bfloat16():
  rng = np.random.default_rng(0)
  x = jnp.asarray(rng.uniform(size=(2, 40, 40, 3)), 'bfloat16')
  expected = np.asarray(x, 'f8').mean(axis=(1, 2))
  pooled = pooling.global_average(x)
  assert pooled.dtype == x.dtype
  # Half a last bit.
  np.testing.assert_allclose(np.asarray(pooled, 'f8'), expected, rtol=2**-8)


@pytest.mark.parametrize('keepdims', [False, True])
def test_graphs_average_whole_maps_by_their_parts(keepdims):
  x = np.random.default_rng(0).normal(size=(2, 6, 7, 3)).astype('f4')

  def mean(x):
    return onnx_pooling.mean(jnp, x, axis=(2, 1), keepdims=keepdims)

  assert 'slice' in jax.jit(mean).lower(x).as_text()
  expected = x.mean(axis=(1, 2), keepdims=keepdims)
  np.testing.assert_allclose(mean(x), expected, atol=1e-6)


def test_relu_of_graphs_has_the_gradient_of_ours():
  def relu(x):
    return elementwise.OPERATORS['Relu'](None, jnp, x)

  x = jnp.asarray([-1.0, 0.0, 2.0, jnp.nan])
  np.testing.assert_array_equal(relu(x), nn.relu(x))
  np.testing.assert_array_equal(
    jax.vmap(jax.grad(relu))(x[:3]), jax.vmap(jax.grad(nn.relu))(x[:3])
  )
