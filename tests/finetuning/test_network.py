# SPDX-License-Identifier: Apache-2.0
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small

from neucrab_jax import checkpoints, models
from neucrab_jax.finetuning import network
from neucrab_jax.finetuning.protocol import Protocol

PIXELS = small.make_images(4)


def value_ranged(images, value_range=(-1.0, 1.0)):
  low, high = np.asarray(value_range)
  return (low + images * ((high - low) / 255)).astype(np.float32)


def test_a_new_head_starts_at_zero_on_the_network_s_own_features():
  backbone = small.make_backbone(value_range=(0.0, 1.0))
  net, variables = network.from_backbone(backbone, 3, Protocol())
  logits, _ = net.apply(variables, PIXELS)
  np.testing.assert_array_equal(logits, np.zeros((4, 3)))
  # A head that copies the first features shows what the features are.
  width = variables['params']['head']['kernel'].shape[0]
  variables['params']['head']['kernel'] = np.eye(width, 3, dtype=np.float32)
  logits, _ = net.apply(variables, PIXELS)
  features = backbone(value_ranged(PIXELS, (0.0, 1.0))).features
  np.testing.assert_allclose(logits, features[:, :3], rtol=1e-4, atol=1e-5)


def test_the_source_head_is_left_behind():
  backbone = small.make_backbone(num_classes=7)
  assert 'logits' in backbone.variables['params']
  _, variables = network.from_backbone(backbone, 3, Protocol())
  assert 'logits' not in variables['params']['backbone']
  kept = set(backbone.variables['params']) - {'logits'}
  assert set(variables['params']['backbone']) == kept


@pytest.mark.parametrize('decay', [0.0, 0.3])
def test_batch_norm_moves_its_statistics_by_the_decay(decay):
  backbone = small.make_backbone()
  net, variables = network.from_backbone(
    backbone, 3, Protocol(batch_norm_decay=decay)
  )
  _, moved = net.apply(variables, PIXELS, key=jax.random.key(0))
  own = backbone.module.decay
  used = decay or own
  # The first layer's batch statistics, in f64.
  x = np.float64(value_ranged(PIXELS))
  kernel = np.float64(variables['params']['backbone']['conv1']['kernel'])
  x = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
  y = sum(
    x[:, i : i + 16 : 2, j : j + 16 : 2] @ kernel[i, j]
    for i in range(3)
    for j in range(3)
  ) + np.float64(variables['params']['backbone']['conv1']['bias'])
  scope = 'block1/unit_1/bottleneck_v2'
  before = variables['batch_stats'][scope]['preact']
  after = moved['batch_stats'][scope]['preact']
  for name, batch in (('mean', y.mean((0, 1, 2))), ('var', y.var((0, 1, 2)))):
    wanted = used * before[name] + (1 - used) * batch
    np.testing.assert_allclose(after[name], wanted, rtol=1e-3, atol=1e-4)


def test_without_a_key_the_statistics_stay():
  net, variables = network.from_backbone(small.make_backbone(), 3, Protocol())
  _, kept = net.apply(variables, PIXELS)
  jax.tree.map(
    np.testing.assert_array_equal, kept['batch_stats'], variables['batch_stats']
  )


def test_features_as_inputs_give_a_linear_classifier():
  net, variables = network.from_features(5, 3)
  rng = np.random.default_rng(0)
  head = variables['params']['head']
  head['kernel'] = rng.normal(size=(5, 3)).astype(np.float32)
  head['bias'] = rng.normal(size=3).astype(np.float32)
  x = rng.normal(size=(4, 5)).astype(np.float32)
  logits, _ = net.apply(variables, x, key=jax.random.key(0))
  wanted = np.float64(x) @ head['kernel'] + head['bias']
  np.testing.assert_allclose(logits, wanted, rtol=1e-5, atol=1e-5)


def test_a_flip_is_the_image_or_its_mirror():
  images = jnp.asarray(small.make_images(64), jnp.float32)
  found = network.augment(jax.random.key(0), images, how='flip')
  mirrored = images[:, :, ::-1]
  same = np.asarray((found == images).all((1, 2, 3)))
  mirror = np.asarray((found == mirrored).all((1, 2, 3)))
  assert (same ^ mirror).all()
  assert 16 < same.sum() < 48


def test_a_crop_is_a_shift_of_at_most_an_eighth():
  size, most = 16, 2
  images = np.float32(small.make_images(32, size=size))
  found = np.asarray(
    network.augment(jax.random.key(1), jnp.asarray(images), how='crop_and_flip')
  )
  shifts = set()
  for image, crop in zip(images, found, strict=True):
    padded = np.pad(image, ((most, most), (most, most), (0, 0)), 'edge')
    mirrored = np.pad(
      image[:, ::-1], ((most,) * 2, (most,) * 2, (0, 0)), 'edge'
    )
    matches = [
      (i, j)
      for source in (padded, mirrored)
      for i in range(2 * most + 1)
      for j in range(2 * most + 1)
      if np.array_equal(source[i : i + size, j : j + size], crop)
    ]
    assert matches
    shifts.update(matches)
  assert len(shifts) > 10


FAMILIES = (
  'biggan_discriminator',
  'inception_v1',
  'inception_v3',
  'mobilenet_v1_025',
  'mobilenet_v3_small',
  'resnet_v1_50',
  'rss_resnet50_v2',
)


@pytest.mark.parametrize('architecture', FAMILIES)
def test_every_family_can_be_trained(architecture):
  size = 224
  module = models.build(architecture, num_classes=5)
  images = jnp.zeros((2, size, size, 3))
  backbone = checkpoints.Backbone(
    checkpoint=dataclasses.replace(small.make_checkpoint(), image_size=size),
    module=module,
    variables=jax.eval_shape(module.init, jax.random.key(0), images),
    fingerprint='',
  )
  net, variables = network.from_backbone(backbone, 3, Protocol())

  def loss(variables):
    logits, moved = net.apply(variables, images, key=jax.random.key(0))
    return logits.sum(), moved

  value, moved = jax.eval_shape(loss, variables)
  assert value.shape == ()
  kept = {k: v for k, v in variables.items() if k != 'params'}
  assert jax.tree.structure(dict(moved)) == jax.tree.structure(kept)
