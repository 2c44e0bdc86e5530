# SPDX-License-Identifier: Apache-2.0
"""A Vision Transformer that takes no time, as timm and transformers name it."""

from typing import Any

import numpy as np

from tests.checkpoints import torch_files

_WIDTH, _HIDDEN, _PATCH, _CLASSES = 64, 128, 8, 5

_LAYERS = {
  'norm1': (_WIDTH,),
  'attn.qkv': (3 * _WIDTH, _WIDTH),
  'attn.proj': (_WIDTH, _WIDTH),
  'norm2': (_WIDTH,),
  'mlp.fc1': (_HIDDEN, _WIDTH),
  'mlp.fc2': (_WIDTH, _HIDDEN),
}


def config() -> dict[str, Any]:
  return {
    'architecture': 'vit_tiny_patch8_16',
    'model_args': {'num_heads': 2, 'drop_path_rate': 0.1},
    'pretrained_cfg': {
      'input_size': [3, 16, 16],
      'mean': [0.5, 0.5, 0.0],
      'std': [0.25, 0.5, 1.0],
      'interpolation': 'bicubic',
      'crop_pct': 0.8,
    },
  }


def vit() -> dict[str, np.ndarray]:
  """All of its variables, with a head."""
  layers = {
    'patch_embed.proj': (_WIDTH, 3, _PATCH, _PATCH),
    **{f'blocks.{i}.{k}': v for i in range(2) for k, v in _LAYERS.items()},
    'norm': (_WIDTH,),
    'head': (_CLASSES, _WIDTH),
  }
  shapes = {'cls_token': (1, 1, _WIDTH), 'pos_embed': (1, 5, _WIDTH)}
  for scope, shape in layers.items():
    shapes |= {f'{scope}.weight': shape, f'{scope}.bias': shape[:1]}
  return {name: torch_files.draw(name, shape) for name, shape in shapes.items()}


def hf_config() -> dict[str, Any]:
  return {
    'model_type': 'vit',
    'num_attention_heads': 2,
    'layer_norm_eps': 1e-6,
    'hidden_act': 'gelu',
  }


_SCOPES = {
  'patch_embed.proj': 'vit.embeddings.patch_embeddings.projection',
  'norm': 'vit.layernorm',
  'head': 'classifier',
  'norm1': 'layernorm_before',
  'attn.proj': 'attention.output.dense',
  'norm2': 'layernorm_after',
  'mlp.fc1': 'intermediate.dense',
  'mlp.fc2': 'output.dense',
}


def hf_vit() -> dict[str, np.ndarray]:
  """The same variables, under the names that transformers has."""
  stored = {}
  for name, value in vit().items():
    scope, _, leaf = name.rpartition('.')
    before = ''
    if scope.startswith('blocks.'):
      _, number, scope = scope.split('.', 2)
      before = f'vit.encoder.layer.{number}.'
    if scope == 'attn.qkv':
      parts = zip(('query', 'key', 'value'), np.split(value, 3), strict=True)
      for part, third in parts:
        stored[f'{before}attention.attention.{part}.{leaf}'] = third
    elif scope:
      stored[f'{before}{_SCOPES[scope]}.{leaf}'] = value
  stored['vit.embeddings.cls_token'] = vit()['cls_token']
  stored['vit.embeddings.position_embeddings'] = vit()['pos_embed']
  return stored
