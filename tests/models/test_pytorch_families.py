# SPDX-License-Identifier: Apache-2.0
"""Every native family, so small that nothing takes long."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from neucrab_jax import models
from neucrab_jax.checkpoints import torch_names
from neucrab_jax.models import pytorch
from neucrab_jax.models.pytorch import (
  convnext,
  densenet,
  efficientnet,
  layers,
  mobile_blocks,
  regnet,
  resnet,
  swin,
  vit,
  vit_blocks,
)

_DROPS = {'drop_path_rate': 0.2, 'proj_drop_rate': 0.1, 'attn_drop_rate': 0.1}
_DEPTH = {'stochastic_depth': 0.2, 'num_classes': 5}
_HIDDEN = {'num_heads': 1, 'hidden': 32, 'dropout': 0.1}


def _conv(features, size=1, groups=1, stride=1):
  return resnet.Convolution(features, size, groups, stride)


def _basic(stride, given):
  shortcut = None if stride == 1 == given // 8 else _conv(8, 1, 1, stride)
  return resnet.Unit(
    (_conv(8, 3, 1, stride), _conv(8, 3)), shortcut, False, 0, stride
  )


def _bottleneck(stride, width, given):
  return resnet.Unit(
    (_conv(width), _conv(width, 3, 2, stride), _conv(2 * width)),
    _conv(2 * width),
    True,
    4,
    stride,
  )


_STYLE = mobile_blocks.Style()
_LAYER = mobile_blocks.Layer

# Module, timm's name of one like it, its image size, and the drop rates that
# its config has.
TINY = {
  'vit': (
    vit.VisionTransformer(
      vit_blocks.Block(
        layer_scale=True, attention_dropout=0.1, qk_norm=True, **_HIDDEN
      ),
      depth=2,
      width=64,
      patch_size=4,
      num_positions=7,
      embedded=3,
      pool='distilled',
      prefix=(('cls_token', 1), ('dist_token', 1), ('reg_token', 1)),
      heads=('head', 'head_dist'),
      **_DEPTH,
    ),
    'deit_tiny_distilled_patch4',
    8,
  ),
  'siglip': (
    vit.VisionTransformer(
      vit_blocks.Block(
        attention_dropout=0.1, gated=True, activation='silu', **_HIDDEN
      ),
      depth=1,
      width=64,
      patch_size=4,
      num_positions=4,
      embedded=0,
      pool='map',
      pool_block=vit_blocks.Block(
        attention_dropout=0.1, qkv_bias=False, **_HIDDEN
      ),
      prefix=(),
      patch_bias=False,
      **_DEPTH,
    ),
    'vit_base_patch4_siglip_8',
    8,
  ),
  'resnet': (
    resnet.ResNet(
      (_conv(8, 7, 1, 2),),
      (
        (_basic(1, 8), _basic(1, 8)),
        (_basic(2, 8),),
        (_basic(2, 8),),
        (_basic(2, 8),),
      ),
      **_DEPTH,
    ),
    'resnet18',
    32,
  ),
  'resnext': (
    resnet.ResNet(
      (_conv(4, 3, 1, 2), _conv(4, 3), _conv(8, 3)),
      tuple(
        (_bottleneck(stride, 4, given),)
        for stride, given in ((1, 8), (2, 8), (2, 8), (2, 8))
      ),
      **_DEPTH,
    ),
    'seresnext26d_32x4d',
    40,
  ),
  'convnext': (
    convnext.ConvNeXt(
      4,
      (
        convnext.Stage(8, 1, 16, 7, True, False),
        convnext.Stage(12, 1, 16, 7, False, True),
      ),
      **_DEPTH,
    ),
    'convnextv2_atto',
    16,
  ),
  'efficientnet': (
    efficientnet.EfficientNet(
      _LAYER('conv_stem', 8, 3, stride=2),
      (
        (
          mobile_blocks.Block(
            (
              _LAYER('conv_dw', 8, 3, depthwise=True),
              _LAYER('conv_pw', 8, active=False),
            ),
            'silu',
            4,
          ),
        ),
        (
          mobile_blocks.Block(
            (
              _LAYER('conv_exp', 16, 3, stride=2),
              _LAYER('conv_pwl', 12, active=False),
            ),
            'silu',
          ),
        ),
      ),
      _LAYER('conv_head', 16),
      'silu',
      dataclasses.replace(_STYLE, epsilon=1e-3, same=True),
      **_DEPTH,
    ),
    'tf_efficientnetv2_s',
    16,
  ),
  'mobilenet': (
    efficientnet.EfficientNet(
      _LAYER('conv_stem', 8, 3, stride=2),
      (
        (
          mobile_blocks.Block(
            (
              _LAYER('conv_pw', 16),
              _LAYER('conv_dw', 16, 5, depthwise=True, stride=2),
              _LAYER('conv_pwl', 12, active=False),
            ),
            'relu',
            4,
          ),
        ),
        (mobile_blocks.Block((_LAYER('conv', 12, stride=2),), 'relu'),),
      ),
      _LAYER('conv_head', 16),
      'hard_swish',
      mobile_blocks.Style(gate='hard_sigmoid', gate_activation='relu'),
      pools_first=True,
      **_DEPTH,
    ),
    'mobilenetv3_small_100',
    16,
  ),
  'swin': (
    swin.Swin(
      2,
      (swin.Stage(8, 2, 2, 3, 16),),
      swin.Style(dropout=0.1, attention_dropout=0.1),
      **_DEPTH,
    ),
    'swin_tiny_patch2_window3',
    20,
  ),
  'regnet': (
    regnet.RegNet(
      8,
      tuple((regnet.Block(8, 8, 2, 2, 4, True),) for _ in range(4)),
      **_DEPTH,
    ),
    'regnety_002',
    32,
  ),
  'densenet': (
    densenet.DenseNet(8, 7, (2, 1), 4, 8, (8,), num_classes=5),
    'densenet121',
    32,
  ),
}


def _shapes(module, size):
  return jax.eval_shape(
    module.init, jax.random.key(0), jnp.zeros((1, size, size, 3))
  )


def _variables(module, size):
  """Random ones, of which no layer is nothing."""
  rng = np.random.default_rng(0)
  return jax.tree.map(
    lambda leaf: rng.uniform(0.05, 0.3, leaf.shape).astype(np.float32),
    _shapes(module, size),
  )


@pytest.mark.parametrize('name', TINY)
def test_variables_tell_what_the_network_is(name):
  module, architecture, size = TINY[name]
  stored = {
    torch_names.to_torch(path[1:]): torch_names.torch_shape(
      path[-1], leaf.shape
    )
    for path, leaf in traverse_util.flatten_dict(_shapes(module, size)).items()
  }
  layout = pytorch.Layout(stored, architecture, _DROPS)
  assert pytorch.build(layout) == module


@pytest.mark.parametrize('name', ['resnext', 'convnext', 'mobilenet', 'swin'])
def test_it_can_be_trained(name):
  module, _, size = TINY[name]
  module = module.clone(num_classes=None)
  variables = dict(_variables(module, size))
  params = variables.pop('params')
  images = jnp.asarray(
    np.random.default_rng(1).normal(size=(3, size, size, 3)), jnp.float32
  )

  def loss(params, key):
    outputs, statistics = module.apply(
      {'params': params, **variables},
      images,
      train=True,
      mutable=list(variables),
      rngs={'dropout': key},
    )
    return jnp.mean(jnp.square(outputs.features)), statistics

  step = jax.jit(jax.value_and_grad(loss, has_aux=True))
  (value, statistics), gradients = step(params, jax.random.key(0))
  for leaf in jax.tree.leaves((value, statistics, gradients)):
    assert np.isfinite(leaf).all()
  assert all(np.any(leaf) for leaf in jax.tree.leaves(gradients)), name
  old, new = jax.tree.leaves(variables), jax.tree.leaves(statistics)
  assert not any(map(np.array_equal, old, new))
  if name != 'mobilenet':  # Without a branch to be left out.
    (other, _), _ = step(params, jax.random.key(1))
    assert value != other


@pytest.mark.parametrize('name', ['vit', 'siglip', 'swin', 'mobilenet'])
def test_it_takes_images_of_another_size(name):
  module, _, size = TINY[name]
  variables = _variables(module, size)
  images = jnp.ones((2, size + 8, size + 8, 3))
  outputs = jax.eval_shape(module.apply, variables, images)
  assert outputs.logits.shape == (2, 5)


def test_batch_norm_keeps_what_pytorchs_does():
  rng = np.random.default_rng(0)
  x = rng.normal(3, 2, (4, 2, 3, 5)).astype(np.float32)
  norm = layers.BatchNorm()
  variables = norm.init(jax.random.key(0), x, train=False)
  y, kept = norm.apply(variables, x, train=True, mutable=['batch_stats'])
  mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
  np.testing.assert_allclose(
    y, (x - mean) / np.sqrt(variance + 1e-5), rtol=1e-4, atol=1e-5
  )
  kept = kept['batch_stats']
  unbiased = x.var((0, 1, 2), ddof=1)
  np.testing.assert_allclose(kept['mean'], 0.1 * mean, rtol=1e-5)
  np.testing.assert_allclose(kept['var'], 0.9 + 0.1 * unbiased, rtol=1e-5)


def test_its_memory_of_statistics_can_be_set():
  module = models.with_batch_norm_decay(TINY['resnet'][0], 0.5)
  assert module == TINY['resnet'][0].clone(decay=0.5)
