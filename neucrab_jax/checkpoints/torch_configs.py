# SPDX-License-Identifier: Apache-2.0
"""What `config.json` says of a network, in timm's and transformers' words."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from neucrab_jax.models import pytorch

# timm's arguments that the variables tell, too, or that change nothing here.
_TOLD = frozenset(
  (
    'img_size', 'num_classes', 'class_token', 'no_embed_class', 'reg_tokens',
    'embed_dim', 'depth', 'patch_size', 'mlp_ratio', 'qkv_bias', 'init_values',
    'pre_norm', 'fc_norm', 'dynamic_img_size', 'dims', 'depths', 'in_chans',
    'window_size', 'features_only', 'qk_norm', 'strict_img_size',
    'always_partition',
  )
)  # fmt: skip
# Those that are read.
_READ = frozenset(
  (
    'num_heads', 'act_layer', 'global_pool', 'norm_eps', 'drop_rate',
    'pos_drop_rate', 'proj_drop_rate', 'attn_drop_rate', 'drop_path_rate',
  )
)  # fmt: skip

# transformers' words for what timm has arguments for.
_WORDS = {
  'num_attention_heads': 'num_heads',
  'hidden_act': 'act_layer',
  'layer_norm_eps': 'norm_eps',
  'attention_probs_dropout_prob': 'attn_drop_rate',
  'attention_dropout': 'attn_drop_rate',
  'hidden_dropout_prob': 'proj_drop_rate',
  'drop_path_rate': 'drop_path_rate',
  'num_heads': 'stage_heads',
  'batch_norm_eps': 'norm_eps',
  'tf_padding': 'tf_padding',
  'output_stride': 'output_stride',
  'downsample_in_bottleneck': 'downsample_in_bottleneck',
  'downsample_in_first_stage': 'downsample_in_first_stage',
}

# What its configs leave out where it is this, by type of model.
_VIT: dict[str, Any] = {
  'num_heads': 12,
  'act_layer': 'gelu',
  'norm_eps': 1e-12,
  'global_pool': 'token',
}
_CLIP = {**_VIT, 'act_layer': 'quick_gelu', 'norm_eps': 1e-5}
_SIGLIP = {
  'num_heads': 12,
  'act_layer': 'gelu_pytorch_tanh',
  'norm_eps': 1e-6,
  'global_pool': 'map',
}
_DINO_V2 = {**_VIT, 'norm_eps': 1e-6, 'global_pool': 'token_and_mean'}
_MOBILENET = {'act_layer': 'relu6', 'norm_eps': 1e-3, 'tf_padding': True}
_DEFAULTS: dict[str, dict[str, Any]] = {
  'vit': _VIT,
  'deit': _VIT,
  'vit_mae': _VIT,
  'dinov2': _DINO_V2,
  'dinov2_with_registers': _DINO_V2,
  'clip': _CLIP,
  'clip_vision_model': _CLIP,
  'siglip': _SIGLIP,
  'siglip_vision_model': _SIGLIP,
  'convnext': {'act_layer': 'gelu', 'norm_eps': 1e-12},
  'convnextv2': {'act_layer': 'gelu', 'norm_eps': 1e-12},
  'swin': {'act_layer': 'gelu', 'norm_eps': 1e-5, 'drop_path_rate': 0.1},
  'resnet': {'act_layer': 'relu'},
  'regnet': {'act_layer': 'relu'},
  'mobilenet_v1': _MOBILENET,
  'mobilenet_v2': _MOBILENET,
  'efficientnet': {'act_layer': 'silu', 'norm_eps': 1e-3, 'tf_padding': True},
}


@dataclasses.dataclass(frozen=True)
class Description:
  """What a config says.

  Attributes:
    library: 'timm' or 'transformers'.
    architecture: timm's name, or transformers' type of the model.
    options: by timm's names of arguments.
  """

  library: str
  architecture: str
  options: Mapping[str, Any]


def _from_timm(config: Mapping[str, Any]) -> Description:
  told = config.get('model_args') or {}
  if not isinstance(told, Mapping):
    raise ValueError(f'its config has model_args {told!r}, and not an object')
  options = dict(told)
  unknown = sorted(set(options) - _TOLD - _READ)
  if unknown:
    raise pytorch.UnsupportedError(
      f'{config["architecture"]!r} with {unknown[0]}={options[unknown[0]]!r}'
    )
  if config.get('global_pool'):
    options.setdefault('global_pool', config['global_pool'])
  return Description('timm', str(config['architecture']), options)


def _from_transformers(config: Mapping[str, Any]) -> Description:
  kind = str(config['model_type'])
  own = config.get('vision_config') or config
  if not isinstance(own, Mapping):
    raise ValueError(f'its config has vision_config {own!r}, and not an object')
  options = dict(_DEFAULTS.get(kind, {}))
  for word, name in _WORDS.items():
    if own.get(word) is not None:
      options[name] = own[word]
  options['pos_drop_rate'] = options.get('proj_drop_rate', 0.0)
  return Description('transformers', kind, options)


def read(config: Mapping[str, Any]) -> Description:
  """What a config says of its network.

  Raises:
    UnsupportedError: if it says something that is not known here.
    ValueError: if it says nothing.
  """
  if 'architecture' in config:
    return _from_timm(config)
  if 'model_type' in config:
    return _from_transformers(config)
  raise ValueError(
    "its config.json has neither timm's architecture nor transformers' "
    'model_type'
  )
