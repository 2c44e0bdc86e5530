# SPDX-License-Identifier: Apache-2.0
"""The blocks of EfficientNet and MobileNet.

Modules are named after timm's scopes, in which the variables of a block tell of
which kind it is.

Axes: B batch, H, W space, C channels.
"""

import dataclasses

import flax.linen as nn
from jaxtyping import Float

from neucrab_jax.models import pooling
from neucrab_jax.models.pytorch import activations, layers
from neucrab_jax.models.pytorch.layout import Layout
from neucrab_jax.typing import Array


@dataclasses.dataclass(frozen=True)
class Style:
  """What all blocks of a network have in common.

  Attributes:
    epsilon: of BatchNorm.
    same: whether padding is TensorFlow's 'SAME'.
    gate: of squeeze-and-excite, a name of `activations.BY_NAME`.
    gate_activation: within it; '' for the block's own.
  """

  epsilon: float = layers.EPSILON
  same: bool = False
  gate: str = 'sigmoid'
  gate_activation: str = ''


@dataclasses.dataclass(frozen=True)
class Layer:
  """One convolution of a block, with BatchNorm.

  Attributes:
    name: of the convolution.
    features: channels it makes.
    kernel_size: of both axes.
    depthwise: whether each channel is by itself.
    stride: of both axes.
    active: whether the activation follows.
  """

  name: str
  features: int
  kernel_size: int = 1
  depthwise: bool = False
  stride: int = 1
  active: bool = True


@dataclasses.dataclass(frozen=True)
class Block:
  """Some convolutions, around which the input may be added.

  Attributes:
    layers: its convolutions.
    activation: a name of `activations.BY_NAME`.
    squeeze_excite: hidden channels of it; 0 without. It comes before the last
      convolution.
    adds: whether the input is added, where it is of the same shape.
  """

  layers: tuple[Layer, ...]
  activation: str
  squeeze_excite: int = 0
  adds: bool = True


class ConvNorm(nn.Module):
  """A convolution, BatchNorm, and maybe an activation, within its parent."""

  layer: Layer
  activation: str
  style: Style
  decay: float
  norm: str

  @nn.compact
  def __call__(
    self, x: Float[Array, 'B H W _'], *, train: bool
  ) -> Float[Array, 'B _ _ _']:
    layer = self.layer
    x = layers.Conv(
      layer.features,
      layer.kernel_size,
      layer.stride,
      padding='SAME' if self.style.same else None,
      groups=layer.features if layer.depthwise else 1,
      name=layer.name,
    )(x)
    x = layers.BatchNorm(self.decay, self.style.epsilon, name=self.norm)(
      x, train=train
    )
    return activations.BY_NAME[self.activation](x) if layer.active else x


class MobileBlock(nn.Module):
  """A block, whose branch is left out for some examples in training."""

  block: Block
  style: Style
  decay: float
  stochastic_depth: float

  @nn.compact
  def __call__(
    self, x: Float[Array, 'B H W _'], *, train: bool
  ) -> Float[Array, 'B _ _ _']:
    block, style, y = self.block, self.style, x
    for number, layer in enumerate(block.layers, start=1):
      if number == len(block.layers) and block.squeeze_excite:
        activation = style.gate_activation or block.activation
        y = layers.SqueezeExcite(
          block.squeeze_excite,
          ('conv_reduce', 'conv_expand'),
          activations.BY_NAME[activation],
          activations.BY_NAME[style.gate],
          pooling.plain_average
          if style.gate == 'hard_sigmoid'
          else pooling.global_average,
          name='se',
        )(y)
      conv = ConvNorm(layer, block.activation, style, self.decay, f'bn{number}')
      nn.share_scope(self, conv)
      y = conv(y, train=train)
    if y.shape != x.shape or not block.adds:
      return y
    return x + layers.StochasticDepth(self.stochastic_depth)(y, train=train)


def read(
  layout: Layout,
  scope: str,
  *,
  activation: str,
  stride: int,
  plain: bool = False,
) -> Block:
  """The block of a scope.

  Args:
    layout: of the network.
    scope: of the block.
    activation: a name of `activations.BY_NAME`.
    stride: of the block.
    plain: whether it is of MobileNet-v1, where an activation follows all
      convolutions, and nothing is added.

  Raises:
    ValueError: if its variables are of none.
  """

  def layer(name: str, *, strided: bool = False, active: bool = True) -> Layer:
    variable = f'{scope}.{name}.weight'
    size, shape = layout.kernel_size(variable), layout.shape(variable)
    return Layer(
      name,
      features=layout.width(variable),
      kernel_size=size,
      depthwise=name == 'conv_dw' and shape[1] == 1,
      stride=stride if strided else 1,
      active=active,
    )

  if f'{scope}.conv_pwl.weight' in layout:
    if f'{scope}.conv_exp.weight' in layout:  # Fused: one for the first two.
      found = [layer('conv_exp', strided=True)]
    else:
      found = [layer('conv_pw'), layer('conv_dw', strided=True)]
    found.append(layer('conv_pwl', active=False))
  elif f'{scope}.conv_dw.weight' in layout:
    found = [layer('conv_dw', strided=True), layer('conv_pw', active=plain)]
  else:
    found = [layer('conv', strided=True)]
  hidden = 0
  if layout.has(f'{scope}.se'):
    hidden = layout.width(f'{scope}.se.conv_reduce.weight')
  return Block(tuple(found), activation, hidden, adds=not plain)
