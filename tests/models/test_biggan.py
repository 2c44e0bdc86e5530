# SPDX-License-Identifier: Apache-2.0
"""The BigGAN discriminator against compare_gan's, by TensorFlow in f64."""

import jax
import numpy as np
import pytest
from flax import traverse_util

from neucrab_jax.models import biggan

WIDTH = 8
MULTIPLES = (1, 2, 4, 4)


@pytest.fixture(scope='module')
def network():
  module = biggan.BigGANDiscriminator(WIDTH, MULTIPLES)
  shapes = jax.eval_shape(
    module.init, jax.random.key(0), np.zeros((1, 32, 32, 3), np.float32)
  )
  rng = np.random.default_rng(0)
  variables = jax.tree.map(
    lambda leaf: 0.3 * rng.standard_normal(leaf.shape, np.float32), shapes
  )
  return module, variables


def images(size):
  return np.random.default_rng(1).random((3, size, size, 3), np.float32)


def oracle(variables, x):
  """Features, and each kernel's new vector, by TensorFlow's operations."""
  import tensorflow as tf

  flat = {
    '/'.join(path): tf.constant(np.float64(value))
    for path, value in traverse_util.flatten_dict(variables).items()
  }
  updated = {}

  def conv(x, name):
    kernel = flat[f'params/{name}/kernel']
    u = flat[f'batch_stats/{name}/kernel/u_var']
    matrix = tf.reshape(kernel, (-1, kernel.shape[-1]))
    if matrix.shape[0] <= matrix.shape[1]:
      v = tf.math.l2_normalize(tf.matmul(matrix, u, transpose_a=True))
      u = tf.math.l2_normalize(tf.matmul(matrix, v))
      norm = tf.matmul(tf.matmul(u, matrix, transpose_a=True), v)
    else:
      v = tf.math.l2_normalize(tf.matmul(u, matrix, transpose_b=True))
      u = tf.math.l2_normalize(tf.matmul(v, matrix))
      norm = tf.matmul(tf.matmul(v, matrix), u, transpose_b=True)
    updated[name] = u.numpy()
    y = tf.nn.conv2d(x, kernel / norm[0, 0], 1, 'SAME')
    return y + flat.get(f'params/{name}/bias', 0)

  def halve(x):
    return tf.nn.avg_pool2d(x, 2, 2, 'SAME')

  def attention(x):
    def pixels(x):
      return tf.reshape(x, (x.shape[0], -1, x.shape[-1]))

    name = 'non_local_block/conv2d'
    theta = pixels(conv(x, f'{name}_theta'))
    phi = pixels(tf.nn.max_pool2d(conv(x, f'{name}_phi'), 2, 2, 'VALID'))
    g = pixels(tf.nn.max_pool2d(conv(x, f'{name}_g'), 2, 2, 'VALID'))
    y = tf.matmul(tf.nn.softmax(tf.matmul(theta, phi, transpose_b=True)), g)
    y = tf.reshape(y, (*x.shape[:3], -1))
    sigma = flat['params/non_local_block/sigma']
    return x + sigma * conv(y, f'{name}_attn_g')

  x = tf.constant(np.float64(x))
  for block in range(1, len(MULTIPLES)):
    y = conv(tf.nn.relu(x), f'B{block}/same_conv1')
    y = halve(conv(tf.nn.relu(y), f'B{block}/down_conv2'))
    x = y + halve(conv(x, f'B{block}/down_conv_shortcut'))
    if block == 1:
      x = attention(x)
  last = f'B{len(MULTIPLES)}'
  y = conv(tf.nn.relu(x), f'{last}/same_conv1')
  y = conv(tf.nn.relu(y), f'{last}/same_conv2')
  return tf.reduce_sum(tf.nn.relu(y), (1, 2)).numpy(), updated


@pytest.mark.parametrize('size', [32, 45])
def test_computes_what_the_original_does(network, size):
  module, variables = network
  outputs = jax.jit(module.apply)(variables, images(size))
  found = np.asarray(outputs.features)
  expected, _ = oracle(variables, images(size))
  assert found.shape == (3, WIDTH * MULTIPLES[-1])
  error = np.linalg.norm(found - expected) / np.linalg.norm(expected)
  assert error < 2e-5


def test_training_moves_the_singular_vectors(network):
  module, variables = network
  apply = jax.jit(module.apply, static_argnames=('train', 'mutable'))
  _, updated = apply(
    variables, images(32), train=True, mutable=('batch_stats',)
  )
  flat = traverse_util.flatten_dict(updated['batch_stats'])
  _, expected = oracle(variables, images(32))
  assert len(flat) == len(expected)
  for path, value in flat.items():
    name = '/'.join(path).removesuffix('/kernel/u_var')
    np.testing.assert_allclose(value, expected[name], atol=1e-5)


def test_an_image_too_small_is_told_the_smallest(network):
  module, variables = network
  with pytest.raises(ValueError, match=r'3×3.*4×4'):
    module.apply(variables, images(3))
