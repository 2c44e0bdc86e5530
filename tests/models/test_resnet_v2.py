# SPDX-License-Identifier: Apache-2.0
"""ResNet-v2 against TF-slim's definition, written out in plain TensorFlow."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from neucrab_jax import models
from neucrab_jax.models import resnet_v2

# slim's batch_norm_epsilon in resnet_arg_scope.
EPSILON = 1e-5

POOLED = {'units': (2, 2), 'width': 4, 'root_kernel': 7, 'root_pool': True}
MINI = {
  field: getattr(models.build('resnet_v2_mini'), field) for field in POOLED
}


def build(spec, num_classes):
  return resnet_v2.ResNetV2(num_classes=num_classes, **spec)


def make_variables(module, *, seed=0):
  """Variables by path, none of them at its trivial initial value."""
  shapes = jax.eval_shape(
    module.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3))
  )
  rng = np.random.default_rng(seed)

  def draw(path, leaf):
    x = rng.normal(size=leaf.shape)
    if path[-1] == 'kernel':
      x *= np.sqrt(2 / np.prod(leaf.shape[:-1]))
    elif path[-1] == 'var':
      x = np.exp(x)
    elif path[-1] == 'scale':
      x = 1 + x / 2
    return x.astype(np.float32)

  return {
    path: draw(path, leaf)
    for path, leaf in traverse_util.flatten_dict(shapes).items()
  }


def slim_forward(flat, images, *, units, root_kernel, root_pool):
  """The network as slim's resnet_v2 defines it, in f64."""
  import tensorflow as tf

  # A Flax path with '/' inside its keys, to one name.
  weights = {
    '/'.join(path): tf.constant(value, tf.float64)
    for path, value in flat.items()
  }

  def norm_relu(x, scope):
    normed = tf.nn.batch_normalization(
      x,
      weights[f'batch_stats/{scope}/mean'],
      weights[f'batch_stats/{scope}/var'],
      weights[f'params/{scope}/bias'],
      weights[f'params/{scope}/scale'],
      EPSILON,
    )
    return tf.nn.relu(normed)

  def conv_same(x, scope, *, stride=1, bias=True):
    kernel = weights[f'params/{scope}/kernel']
    if stride == 1:
      y = tf.nn.conv2d(x, kernel, 1, 'SAME')
    else:
      total = kernel.shape[0] - 1
      pad = [total // 2, total - total // 2]
      x = tf.pad(x, [[0, 0], pad, pad, [0, 0]])
      y = tf.nn.conv2d(x, kernel, stride, 'VALID')
    if bias:
      return y + weights[f'params/{scope}/bias']
    return norm_relu(y, f'{scope}/BatchNorm')

  def bottleneck(x, scope, stride):
    preact = norm_relu(x, f'{scope}/preact')
    if f'params/{scope}/shortcut/kernel' in weights:
      shortcut = (
        tf.nn.conv2d(
          preact, weights[f'params/{scope}/shortcut/kernel'], stride, 'SAME'
        )
        + weights[f'params/{scope}/shortcut/bias']
      )
    else:
      shortcut = tf.nn.max_pool2d(x, 1, stride, 'SAME')
    y = conv_same(preact, f'{scope}/conv1', bias=False)
    y = conv_same(y, f'{scope}/conv2', stride=stride, bias=False)
    return shortcut + conv_same(y, f'{scope}/conv3')

  x = tf.constant(images, tf.float64)
  assert weights['params/conv1/kernel'].shape[0] == root_kernel
  x = conv_same(x, 'conv1', stride=2)
  if root_pool:
    x = tf.nn.max_pool2d(x, 3, 2, 'SAME')
  for block, count in enumerate(units, start=1):
    for unit in range(1, count + 1):
      last = unit == count and block < len(units)
      scope = f'block{block}/unit_{unit}/bottleneck_v2'
      x = bottleneck(x, scope, 2 if last else 1)
  x = tf.reduce_mean(norm_relu(x, 'postnorm'), [1, 2], keepdims=True)
  logits = None
  if 'params/logits/kernel' in weights:
    logits = conv_same(x, 'logits').numpy()[:, 0, 0]
  return x.numpy()[:, 0, 0], logits


@pytest.mark.parametrize('num_classes', [None, 5])
@pytest.mark.parametrize(
  ('spec', 'size'),
  [
    (MINI, (32, 32)),
    (MINI, (17, 22)),
    (POOLED, (32, 32)),
    (POOLED, (33, 33)),
    (POOLED, (45, 38)),
  ],
)
def test_computes_what_slim_defines(spec, size, num_classes):
  module = build(spec, num_classes)
  flat = make_variables(module)
  images = np.random.default_rng(1).uniform(-1, 1, (2, *size, 3)).astype('f4')
  apply = jax.jit(module.apply)
  outputs = apply(traverse_util.unflatten_dict(flat), images)
  features, logits = slim_forward(
    flat,
    images,
    units=spec['units'],
    root_kernel=spec['root_kernel'],
    root_pool=spec['root_pool'],
  )
  np.testing.assert_allclose(
    outputs.features, features, rtol=1e-4, atol=1e-5 * np.abs(features).max()
  )
  if num_classes is None:
    assert outputs.logits is None
  else:
    np.testing.assert_allclose(
      outputs.logits, logits, rtol=1e-4, atol=1e-5 * np.abs(logits).max()
    )


def slim_names(units):
  """slim's variables, named by its scopes."""

  def norm(scope):
    leaves = ('gamma', 'beta', 'moving_mean', 'moving_variance')
    return {f'{scope}/{leaf}' for leaf in leaves}

  def conv(scope, *, normalize=False):
    if normalize:
      return {f'{scope}/weights', *norm(f'{scope}/BatchNorm')}
    return {f'{scope}/weights', f'{scope}/biases'}

  names = {*conv('conv1'), *norm('postnorm'), *conv('logits')}
  for block, count in enumerate(units, start=1):
    for unit in range(1, count + 1):
      scope = f'block{block}/unit_{unit}/bottleneck_v2'
      names |= norm(f'{scope}/preact')
      if unit == 1:  # Only there does the depth change.
        names |= conv(f'{scope}/shortcut')
      names |= conv(f'{scope}/conv1', normalize=True)
      names |= conv(f'{scope}/conv2', normalize=True)
      names |= conv(f'{scope}/conv3')
  return names


@pytest.mark.parametrize('spec', [MINI, POOLED], ids=['mini', 'pooled'])
def test_variables_are_named_as_in_slim(spec):
  flat = make_variables(build(spec, 5))
  leaves = {
    'kernel': 'weights',
    'scale': 'gamma',
    'mean': 'moving_mean',
    'var': 'moving_variance',
  }
  scopes_with_gamma = {p[1:-1] for p in flat if p[-1] == 'scale'}
  names = set()
  for path in flat:
    leaf = leaves.get(path[-1])
    if leaf is None:
      leaf = 'beta' if path[1:-1] in scopes_with_gamma else 'biases'
    names.add('/'.join((*path[1:-1], leaf)))
  assert names == slim_names(spec['units'])


def test_widths_double_from_block_to_block():
  module = build(POOLED | {'units': (1, 1, 1)}, None)
  flat = {'/'.join(path): v.shape for path, v in make_variables(module).items()}
  for block, inner in enumerate((4, 8, 16), start=1):
    scope = f'params/block{block}/unit_1/bottleneck_v2'
    assert flat[f'{scope}/conv2/kernel'] == (3, 3, inner, inner)
    assert flat[f'{scope}/conv3/kernel'] == (1, 1, inner, 4 * inner)


def test_training_moves_the_statistics_and_inference_does_not():
  module = build(MINI, None)
  variables = traverse_util.unflatten_dict(make_variables(module))
  images = np.random.default_rng(0).uniform(-1, 1, (4, 16, 16, 3)).astype('f4')
  apply = jax.jit(module.apply, static_argnames=('train', 'mutable'))
  for train in (False, True):
    _, updated = apply(variables, images, train=train, mutable=('batch_stats',))
    same = jax.tree.map(
      np.array_equal, updated['batch_stats'], variables['batch_stats']
    )
    assert all(jax.tree.leaves(same)) != train


def test_an_image_s_features_do_not_depend_on_its_neighbours():
  module = build(MINI, 3)
  variables = traverse_util.unflatten_dict(make_variables(module))
  images = np.random.default_rng(0).uniform(-1, 1, (3, 16, 16, 3)).astype('f4')
  apply = jax.jit(module.apply)
  together = apply(variables, images)
  alone = apply(variables, images[1:2])
  np.testing.assert_allclose(
    together.features[1:2], alone.features, rtol=1e-4, atol=1e-5
  )
  np.testing.assert_allclose(
    together.logits[1:2], alone.logits, rtol=1e-4, atol=1e-5
  )


@pytest.mark.parametrize('spec', [MINI, POOLED], ids=['mini', 'pooled'])
def test_the_last_block_s_outer_width_is_the_number_of_features(spec):
  module = build(spec, 7)
  outputs = jax.eval_shape(
    lambda: module.init_with_output(
      jax.random.key(0), jnp.zeros((2, 32, 32, 3))
    )[0]
  )
  blocks = len(spec['units'])
  assert outputs.features.shape == (2, 4 * spec['width'] * 2 ** (blocks - 1))
  assert outputs.logits.shape == (2, 7)
