# SPDX-License-Identifier: Apache-2.0
"""EfficientNet of version 1 and 2 and Lite, MobileNet of version 1 to 3.

Modules are named after timm's scopes. Weights that TensorFlow trained, `tf_…`,
have its padding and its BatchNorm.

Axes: B batch, H, W space, D features, Z classes.

Reference: Tan and Le, "EfficientNet", ICML 2019, and "EfficientNetV2", ICML
2021; Howard et al., "MobileNets", arXiv:1704.04861; Sandler et al.,
"MobileNetV2", CVPR 2018; Howard et al., "Searching for MobileNetV3", ICCV 2019.
"""

import flax.linen as nn
from jaxtyping import Float

from neucrab_jax.models import outputs, pooling
from neucrab_jax.models.pytorch import activations, layers, mobile_blocks
from neucrab_jax.models.pytorch.layout import Layout, UnsupportedError
from neucrab_jax.typing import Array

# BatchNorm's of TensorFlow.
_TF_EPSILON = 1e-3

# Of the images to the last map; with less, convolutions would be dilated.
_OUTPUT_STRIDE = 32

# Strides of the stages, which no shape tells; of as many as there are.
_STRIDES = (1, 2, 2, 2, 1, 2, 1)
_STRIDES_V3_SMALL = (2, 2, 2, 1, 2, 1)
_STRIDES_V1 = (1, 2, 2, 2, 2)

# The stages of MobileNet-v3 with ReLU.
_RELU_LARGE, _RELU_SMALL = 3, 2


class EfficientNet(nn.Module):
  """An EfficientNet or a MobileNet.

  Attributes:
    stem: its convolution.
    stages: the blocks of each.
    last: the convolution before the head, or None.
    activation: of stem and last convolution, a name of `activations.BY_NAME`.
    style: of all blocks.
    pools_first: whether the last convolution is behind the pool, without
      BatchNorm, as in MobileNet-v3.
    num_classes: Z, or None for a network without a head.
    decay: of BatchNorm's moving averages.
    dropout: before the head.
    stochastic_depth: towards the last block; of the first it is 0.
  """

  stem: mobile_blocks.Layer
  stages: tuple[tuple[mobile_blocks.Block, ...], ...]
  last: mobile_blocks.Layer | None
  activation: str
  style: mobile_blocks.Style
  pools_first: bool = False
  num_classes: int | None = None
  decay: float = layers.DECAY
  dropout: float = 0.0
  stochastic_depth: float = 0.0

  def _conv_norm(self, x: Array, layer, norm: str, *, train: bool) -> Array:
    conv = mobile_blocks.ConvNorm(
      layer, self.activation, self.style, self.decay, norm
    )
    nn.share_scope(self, conv)
    return conv(x, train=train)

  @nn.compact
  def __call__(
    self, images: Float[Array, 'B H W 3'], *, train: bool = False
  ) -> outputs.Outputs:
    """Maps images to features and, where there is a head, to logits.

    Args:
      images: [B, H, W, 3], in the network's value range.
      train: whether BatchNorm uses, and updates, the statistics of the batch.
    """
    x = self._conv_norm(images, self.stem, 'bn1', train=train)
    count, done = sum(map(len, self.stages)), 0
    for stage, blocks in enumerate(self.stages):
      for number, block in enumerate(blocks):
        x = mobile_blocks.MobileBlock(
          block,
          self.style,
          self.decay,
          self.stochastic_depth * done / count,
          name=f'blocks.{stage}.{number}',
        )(x, train=train)
        done += 1
    if self.pools_first:
      x = pooling.plain_average(x)
      x = activations.BY_NAME[self.activation](self._pooled(x))
      features = x
    else:
      if self.last is not None:
        x = self._conv_norm(x, self.last, 'bn2', train=train)
      features = pooling.global_average(x)
    logits = layers.head(
      features,
      self.num_classes,
      name='classifier',
      dropout=self.dropout,
      train=train,
    )
    return outputs.Outputs(features, logits)

  def _pooled(self, x: Float[Array, 'B C']) -> Array:
    assert self.last is not None
    return layers.Dense(self.last.features, name=self.last.name)(x)


def _activations(layout: Layout, count: int) -> tuple[str, list[str]]:
  """That of stem and head, and those of the stages."""
  name = layout.architecture
  told = layout.options.get('act_layer')
  if told is not None:
    whole = activations.known(told)
  elif 'mobilenetv3' in name and 'minimal' not in name:
    few = _RELU_SMALL if 'small' in name else _RELU_LARGE
    few = min(few, count)
    return 'hard_swish', ['relu'] * few + ['hard_swish'] * (count - few)
  elif 'minimal' in name or name.endswith(('_es', '_em', '_el')):
    whole = 'relu'  # MobileNet-v3 minimal, and EfficientNet for the edge.
  elif 'lite' in name or 'mobilenetv2' in name or 'mobilenetv1' in name:
    whole = 'relu6'
  else:
    whole = 'silu'
  return whole, [whole] * count


def build(layout: Layout) -> EfficientNet:
  """The network whose variables these are.

  Raises:
    ValueError: if they are of no such network.
  """
  name = layout.architecture
  of_tensorflow, is_v3 = name.startswith('tf_'), 'mobilenetv3' in name
  epsilon = _TF_EPSILON if of_tensorflow else layers.EPSILON
  if layout.own_library == 'transformers':
    of_tensorflow = bool(layout.options.get('tf_padding'))
    epsilon = layout.epsilon(_TF_EPSILON)
    stride = layout.options.get('output_stride', _OUTPUT_STRIDE)
    if stride != _OUTPUT_STRIDE:
      raise UnsupportedError(f'{name!r} with output_stride {stride!r}')
  count = layout.count('blocks.')
  is_v1 = name == 'mobilenet_v1' or 'mobilenetv1' in name
  strides = _STRIDES_V3_SMALL if is_v3 and 'small' in name else _STRIDES
  strides = _STRIDES_V1 if is_v1 else strides
  if not 0 < count <= len(strides):
    raise ValueError(f'it has {count} stages, not from 1 to {len(strides)}')
  activation, activations = _activations(layout, count)
  stages = tuple(
    tuple(
      mobile_blocks.read(
        layout,
        f'blocks.{stage}.{number}',
        activation=activations[stage],
        stride=1 if number else strides[stage],
        plain=is_v1,
      )
      for number in range(layout.count(f'blocks.{stage}.'))
    )
    for stage in range(count)
  )
  last = None
  if 'conv_head.weight' in layout or not is_v1:
    width = layout.width('conv_head.weight')
    last = mobile_blocks.Layer('conv_head', width)
  return EfficientNet(
    stem=mobile_blocks.Layer(
      'conv_stem',
      layout.width('conv_stem.weight'),
      layout.kernel_size('conv_stem.weight'),
      stride=2,
    ),
    stages=stages,
    last=last,
    activation=activation,
    style=mobile_blocks.Style(
      epsilon=epsilon,
      same=of_tensorflow,
      gate='hard_sigmoid' if is_v3 else 'sigmoid',
      gate_activation='relu' if is_v3 else '',
    ),
    pools_first='conv_head.bias' in layout,
    num_classes=layout.num_classes,
    dropout=layout.rate('drop_rate'),
    stochastic_depth=layout.rate('drop_path_rate'),
  )
