# SPDX-License-Identifier: Apache-2.0
"""Names of transformers' MobileNets and EfficientNet, as timm has them.

There the blocks of all stages are counted through, and a block's layers have
other names by whether something comes before its depthwise convolution.
"""

import re
from collections.abc import Mapping

Shape = tuple[int, ...]


def _places(depths: tuple[int, ...], first: int) -> tuple[tuple[int, int], ...]:
  """Stage and number there of each block, of so many in each stage."""
  return tuple(
    (stage, block)
    for stage, depth in enumerate(depths, start=first)
    for block in range(depth)
  )


# Of MobileNet-v2, the first stage is the stem's.
_BLOCKS = _places((2, 3, 4, 3, 3, 1), 1)
_BLOCKS_V1 = _places((1, 2, 2, 6, 2), 0)

# The stages of an EfficientNet, whose strides no shape tells.
_NUM_STAGES = 7

_MOBILENET = {
  'conv_stem.first_conv': ('conv_stem', 'bn1'),
  'conv_stem.conv_3x3': ('blocks.0.0.conv_dw', 'blocks.0.0.bn1'),
  'conv_stem.reduce_1x1': ('blocks.0.0.conv_pw', 'blocks.0.0.bn2'),
  'conv_1x1': ('conv_head', 'bn2'),
}
_RESIDUAL = {
  'expand_1x1': ('conv_pw', 'bn1'),
  'conv_3x3': ('conv_dw', 'bn2'),
  'reduce_1x1': ('conv_pwl', 'bn3'),
}
_KINDS = ('convolution', 'normalization')

_EFFICIENTNET = {
  'embeddings.convolution': 'conv_stem',
  'embeddings.batchnorm': 'bn1',
  'encoder.top_conv': 'conv_head',
  'encoder.top_bn': 'bn2',
}
_WITHOUT_EXPANSION = {
  'depthwise_conv.depthwise_conv': 'conv_dw',
  'depthwise_conv.depthwise_norm': 'bn1',
  'squeeze_excite.reduce': 'se.conv_reduce',
  'squeeze_excite.expand': 'se.conv_expand',
  'projection.project_conv': 'conv_pw',
  'projection.project_bn': 'bn2',
}
_WITH_EXPANSION = {
  **_WITHOUT_EXPANSION,
  'expansion.expand_conv': 'conv_pw',
  'expansion.expand_bn': 'bn1',
  'depthwise_conv.depthwise_norm': 'bn2',
  'projection.project_conv': 'conv_pwl',
  'projection.project_bn': 'bn3',
}
_EXPANSION = 'expansion.expand_conv.weight'
_DEPTHWISE = 'depthwise_conv.depthwise_conv.weight'
_PROJECTION = 'projection.project_conv.weight'


def _of_mobilenet(name: str) -> str:
  scope, _, leaf = name.rpartition('.')
  layer, _, kind = scope.rpartition('.')
  if kind not in _KINDS:
    return name
  place = _KINDS.index(kind)
  if layer in _MOBILENET:
    return f'{_MOBILENET[layer][place]}.{leaf}'
  found = re.fullmatch(r'layer\.(\d{1,2})\.(\w+)', layer)
  if not found or found[2] not in _RESIDUAL or int(found[1]) >= len(_BLOCKS):
    return name
  stage, block = _BLOCKS[int(found[1])]
  return f'blocks.{stage}.{block}.{_RESIDUAL[found[2]][place]}.{leaf}'


def _of_mobilenet_v1(name: str) -> str:
  scope, _, leaf = name.rpartition('.')
  layer, _, kind = scope.rpartition('.')
  if kind not in _KINDS:
    return name
  place = _KINDS.index(kind)
  if layer == 'conv_stem':
    return f'{("conv_stem", "bn1")[place]}.{leaf}'
  found = re.fullmatch(r'layer\.(\d{1,2})', layer)
  if not found or int(found[1]) >= 2 * len(_BLOCKS_V1):
    return name
  # A depthwise convolution and one of 1×1, in turns.
  number, second = divmod(int(found[1]), 2)
  stage, block = _BLOCKS_V1[number]
  own = (('conv_dw', 'bn1'), ('conv_pw', 'bn2'))[second][place]
  return f'blocks.{stage}.{block}.{own}.{leaf}'


def _stages(shapes: Mapping[str, Shape]) -> list[tuple[int, int]]:
  """The stage of each block of an EfficientNet, and its number there.

  A stage begins where a block makes another number of channels.

  Raises:
    ValueError: if there are not as many as there should be.
  """
  stages: list[tuple[int, int]] = []
  while True:
    scope = f'encoder.blocks.{len(stages)}'
    made = shapes.get(f'{scope}.{_PROJECTION}')
    if not made:
      break
    expansion = shapes.get(f'{scope}.{_EXPANSION}', ())
    depthwise = shapes.get(f'{scope}.{_DEPTHWISE}', ())
    given = expansion[1:2] or depthwise[:1]
    if not stages:
      stages.append((0, 0))
    elif given != made[:1]:
      stages.append((stages[-1][0] + 1, 0))
    else:
      stages.append((stages[-1][0], stages[-1][1] + 1))
  if not stages or stages[-1][0] + 1 != _NUM_STAGES:
    raise ValueError(
      f'its {len(stages)} blocks are of {stages[-1][0] + 1 if stages else 0} '
      f'stages, and an EfficientNet has {_NUM_STAGES}'
    )
  return stages


def _of_efficientnet(name: str, shapes: Mapping[str, Shape], stages) -> str:
  scope, _, leaf = name.rpartition('.')
  if scope in _EFFICIENTNET:
    return f'{_EFFICIENTNET[scope]}.{leaf}'
  found = re.fullmatch(r'encoder\.blocks\.(\d{1,3})\.(.+)', scope)
  if not found or int(found[1]) >= len(stages):
    return name
  expands = f'encoder.blocks.{found[1]}.{_EXPANSION}' in shapes
  layers = _WITH_EXPANSION if expands else _WITHOUT_EXPANSION
  if found[2] not in layers:
    return name
  stage, block = stages[int(found[1])]
  return f'blocks.{stage}.{block}.{layers[found[2]]}.{leaf}'


def rename(shapes: Mapping[str, Shape], kind: str) -> dict[str, str]:
  """timm's names.

  Args:
    shapes: of the stored variables.
    kind: 'mobilenet_v1', 'mobilenet_v2' or 'efficientnet'.

  Returns:
    By stored name; what is not known keeps its own.

  Raises:
    ValueError: if an EfficientNet has other stages than they all have.
  """
  plain = {name: name.removeprefix(f'{kind}.') for name in shapes}
  if kind == 'mobilenet_v1':
    return {name: _of_mobilenet_v1(own) for name, own in plain.items()}
  if kind == 'mobilenet_v2':
    return {name: _of_mobilenet(own) for name, own in plain.items()}
  inside = {own: shapes[name] for name, own in plain.items()}
  stages = _stages(inside)
  return {
    name: _of_efficientnet(own, inside, stages) for name, own in plain.items()
  }
