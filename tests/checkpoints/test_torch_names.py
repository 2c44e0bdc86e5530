# SPDX-License-Identifier: Apache-2.0
"""Names of transformers, as timm has them."""

import numpy as np
import pytest

from neucrab_jax.checkpoints import torch_names

# Type of model: stored names and ours, of layers that only it has.
NAMES = {
  'dinov2_with_registers': {
    'embeddings.register_tokens': 'reg_token',
    'encoder.layer.11.layer_scale2.lambda1': 'blocks.11.ls2.gamma',
    'encoder.layer.0.mlp.weights_in.bias': 'blocks.0.mlp.fc1.bias',
  },
  'deit': {
    'cls_classifier.weight': 'head.weight',
    'distillation_classifier.weight': 'head_dist.weight',
    'deit.embeddings.distillation_token': 'dist_token',
  },
  'convnextv2': {
    'convnextv2.encoder.stages.2.layers.7.grn.bias': (
      'stages.2.blocks.7.mlp.grn.bias'
    ),
    'convnextv2.encoder.stages.1.downsampling_layer.0.weight': (
      'stages.1.downsample.0.weight'
    ),
    'classifier.bias': 'head.fc.bias',
  },
  'regnet': {
    'regnet.embedder.embedder.convolution.weight': 'stem.conv.weight',
    'regnet.encoder.stages.0.layers.1.layer.0.convolution.weight': (
      's1.b2.conv1.conv.weight'
    ),
    'regnet.encoder.stages.3.layers.0.layer.2.attention.2.bias': (
      's4.b1.se.fc2.bias'
    ),
    'regnet.encoder.stages.3.layers.0.layer.3.normalization.bias': (
      's4.b1.conv3.bn.bias'
    ),
    'regnet.encoder.stages.1.layers.0.shortcut.normalization.weight': (
      's2.b1.downsample.bn.weight'
    ),
    'classifier.1.weight': 'head.fc.weight',
  },
}


@pytest.mark.parametrize('kind', NAMES)
def test_names_are_timms(kind):
  shapes = dict.fromkeys(NAMES[kind], (4,))
  found, _ = torch_names.sort(shapes, 'transformers', kind)
  assert {s.names[0]: name for name, s in found.items()} == NAMES[kind]


def test_merging_is_at_the_beginning_of_a_stage():
  shapes = {
    f'layers.{i}.downsample.reduction.weight': (i + 2, 4) for i in (0, 1)
  }
  found, _ = torch_names.sort(shapes, 'timm')
  assert {name: s.shape[0] for name, s in found.items()} == {
    'layers.1.downsample.reduction.weight': 2,
    'layers.2.downsample.reduction.weight': 3,
  }
  # Where it is there already, it stays.
  del shapes['layers.0.downsample.reduction.weight']
  found, _ = torch_names.sort(shapes, 'timm')
  assert list(found) == list(shapes)


def test_queries_keys_and_values_are_put_together():
  arrays = {part: np.full((2, 2), i) for i, part in enumerate('qkv')}
  scope = 'encoder.layers.0.self_attn'
  shapes = {f'{scope}.{part}_proj.weight': (2, 2) for part in 'kvq'}
  found, _ = torch_names.sort(shapes, 'transformers', 'clip')
  source = found['blocks.0.attn.qkv.weight']
  parts = [name.split('.')[-2][0] for name in source.names]
  assert parts == ['q', 'k', 'v']
  joined = source.take([arrays[part] for part in parts])
  assert joined[:, 0].tolist() == [0, 0, 1, 1, 2, 2]
  del shapes[f'{scope}.k_proj.weight']
  with pytest.raises(ValueError, match='not query, key and value'):
    torch_names.sort(shapes, 'transformers', 'clip')


def test_a_projection_of_three_is_taken_apart():
  shapes = {'head.attention.in_proj_weight': (6, 2)}
  found, _ = torch_names.sort(shapes, 'transformers', 'siglip')
  stored = np.arange(12).reshape(6, 2)
  queries, others = (found[f'attn_pool.{n}.weight'] for n in ('q', 'kv'))
  np.testing.assert_array_equal(queries.take([stored]), stored[:2])
  np.testing.assert_array_equal(others.take([stored]), stored[2:])
