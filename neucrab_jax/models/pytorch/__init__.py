# SPDX-License-Identifier: Apache-2.0
"""Networks as timm and transformers have them; one file per family."""

import importlib
import re

import flax.linen as nn

from neucrab_jax.models.pytorch.layout import Layout as Layout
from neucrab_jax.models.pytorch.layout import (
  UnsupportedError as UnsupportedError,
)

# Module of a family, timm's architectures, and transformers' types of models.
_FAMILIES: dict[str, tuple[str, tuple[str, ...]]] = {
  'vit': (
    r'(test_)?vit\d*|vit_(?!.*(relpos|rope|dinov3|_xp_|_pe_|\dx\d))(\w+_)?'
    r'patch\d+.*'
    r'|deit3?_.*|flexivit_.*',
    (
      'vit',
      'deit',
      'dinov2',
      'dinov2_with_registers',
      'vit_mae',
      'clip',
      'clip_vision_model',
      'siglip',
      'siglip_vision_model',
    ),
  ),
  'resnet': (
    r'(test_|tv_|gluon_|ssl_|swsl_|ig_)?(wide_|se)?res(net|next)'
    r'(\d+[cdst]?)?(_\d+|_\d+x\d+d|_v1[bcds])?',
    ('resnet',),
  ),
  'convnext': (
    r'(test_)?convnext(v2)?_(?!.*(hnf|ols|rms|zepto|mlp|clip)).*',
    ('convnext', 'convnextv2'),
  ),
  'efficientnet': (
    r'(test_efficientnet|(tf_)?efficientnet_(b\d|l2|lite\d|e[sml])(_pruned)?'
    r'|(tf_)?efficientnetv2_(?!.*gn).*|mobilenetv1_\d+h?'
    r'|mobilenetv2_\d+d?'
    r'|(tf_)?mobilenetv3_(rw|(small|large)_(minimal_)?\d+d?))',
    ('mobilenet_v1', 'mobilenet_v2', 'efficientnet'),
  ),
  'swin': (r'swin_(tiny|small|base|large|s3).*', ('swin',)),
  'regnet': (r'regnet[xy]_.*', ('regnet',)),
  'densenet': (r'(tv_)?densenet\d+', ()),
}


def supported() -> str:
  """What can be read, for messages."""
  types = ', '.join(t for _, known in _FAMILIES.values() for t in known)
  return f"timm's {', '.join(_FAMILIES)}; transformers' {types}"


def build(layout: Layout) -> nn.Module:
  """The network whose variables these are.

  Raises:
    UnsupportedError: if it is of no known family.
    ValueError: if the variables are of no such network.
  """
  for name, (pattern, types) in _FAMILIES.items():
    known = (
      re.fullmatch(pattern, layout.architecture)
      if layout.own_library == 'timm'
      else layout.architecture in types
    )
    if known:
      return importlib.import_module(f'{__name__}.{name}').build(layout)
  raise UnsupportedError(f'the architecture {layout.architecture!r}')
