# SPDX-License-Identifier: Apache-2.0
"""ResNets as PyTorch has them: basic, bottleneck, ResNeXt, wide, `d`, SE.

A stage strides in its first unit, in the 3×3 convolution, and all is padded
symmetrically. Modules are named after timm's scopes.

Axes: B batch, H, W space, D features, Z classes.

Reference: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016;
He et al., "Bag of Tricks for Image Classification", CVPR 2019, figure 2, for
`d`.
"""

import dataclasses

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from neucrab_jax.models import outputs, pooling
from neucrab_jax.models.pytorch import layers
from neucrab_jax.models.pytorch.layout import Layout
from neucrab_jax.typing import Array

# Strides of the stages.
_STRIDES = (1, 2, 2, 2)


@dataclasses.dataclass(frozen=True)
class Convolution:
  """One convolution of a unit.

  Attributes:
    features: channels it makes.
    kernel_size: of both axes.
    groups: of its channels.
    stride: of both axes.
  """

  features: int
  kernel_size: int
  groups: int = 1
  stride: int = 1


@dataclasses.dataclass(frozen=True)
class Unit:
  """A residual unit.

  Attributes:
    convolutions: two of a basic unit, three of a bottleneck.
    shortcut: the convolution beside them, if there is one.
    pools: whether the shortcut strides by an average.
    squeeze_excite: hidden channels of it; 0 without.
    stride: of the unit.
  """

  convolutions: tuple[Convolution, ...]
  shortcut: Convolution | None
  pools: bool
  squeeze_excite: int
  stride: int


def _average_pairs(x: Float[Array, 'B H W C']) -> Array:
  """The mean of 2×2 places; at an odd edge, of those that are there."""
  for axis in (1, 2):
    odd = x.shape[axis] % 2
    if odd:  # The last one twice has its own mean.
      last = jnp.take(x, jnp.array([x.shape[axis] - 1]), axis=axis)
      x = jnp.concatenate([x, last], axis=axis)
  b, height, width, channels = x.shape
  x = x.reshape(b, height // 2, 2, width // 2, 2, channels)
  return jnp.mean(x, axis=(2, 4))


def _conv(convolution: Convolution, name: str) -> layers.Conv:
  return layers.Conv(
    convolution.features,
    convolution.kernel_size,
    convolution.stride,
    groups=convolution.groups,
    name=name,
  )


class _Unit(nn.Module):
  unit: Unit
  decay: float
  stochastic_depth: float

  @nn.compact
  def __call__(
    self, x: Float[Array, 'B H W _'], *, train: bool
  ) -> Float[Array, 'B _ _ _']:
    unit, shortcut = self.unit, x
    for number, convolution in enumerate(unit.convolutions, start=1):
      if number > 1:
        x = nn.relu(x)
      x = _conv(convolution, f'conv{number}')(x)
      x = layers.BatchNorm(self.decay, name=f'bn{number}')(x, train=train)
    if unit.squeeze_excite:
      x = layers.SqueezeExcite(unit.squeeze_excite, name='se')(x)
    x = layers.StochasticDepth(self.stochastic_depth)(x, train=train)
    if unit.shortcut is not None:
      if unit.pools and unit.stride > 1:
        shortcut = _average_pairs(shortcut)
      first = int(unit.pools)
      shortcut = _conv(unit.shortcut, f'downsample.{first}')(shortcut)
      shortcut = layers.BatchNorm(self.decay, name=f'downsample.{first + 1}')(
        shortcut, train=train
      )
    return nn.relu(x + shortcut)


class ResNet(nn.Module):
  """A ResNet.

  Attributes:
    stem: its convolutions, one or three.
    stages: the units of each.
    num_classes: Z, or None for a network without a head.
    decay: of BatchNorm's moving averages.
    dropout: before the head.
    stochastic_depth: of the last unit; of the first it is 0.
  """

  stem: tuple[Convolution, ...]
  stages: tuple[tuple[Unit, ...], ...]
  num_classes: int | None = None
  decay: float = layers.DECAY
  dropout: float = 0.0
  stochastic_depth: float = 0.0

  def _stem(self, x: Float[Array, 'B H W 3'], *, train: bool) -> Array:
    if len(self.stem) == 1:
      x = _conv(self.stem[0], 'conv1')(x)
    else:
      for number, convolution in enumerate(self.stem):
        if number:
          name = f'conv1.{3 * number - 2}'
          x = layers.BatchNorm(self.decay, name=name)(x, train=train)
          x = nn.relu(x)
        x = _conv(convolution, f'conv1.{3 * number}')(x)
    x = nn.relu(layers.BatchNorm(self.decay, name='bn1')(x, train=train))
    return pooling.max_pool(x, 3, 2, ((1, 1), (1, 1)))

  @nn.compact
  def __call__(
    self, images: Float[Array, 'B H W 3'], *, train: bool = False
  ) -> outputs.Outputs:
    """Maps images to features and, where there is a head, to logits.

    Args:
      images: [B, H, W, 3], in the network's value range.
      train: whether BatchNorm uses, and updates, the statistics of the batch.
    """
    x = self._stem(images, train=train)
    depths = [len(units) for units in self.stages]
    rates = layers.depth_rates(self.stochastic_depth, depths)
    for stage, units in enumerate(self.stages):
      for number, unit in enumerate(units):
        x = _Unit(
          unit,
          self.decay,
          rates[stage][number],
          name=f'layer{stage + 1}.{number}',
        )(x, train=train)
    features = jnp.mean(x, axis=(1, 2))
    logits = layers.head(
      features, self.num_classes, name='fc', dropout=self.dropout, train=train
    )
    return outputs.Outputs(features, logits)


def _convolution(
  layout: Layout, scope: str, *, channels: int, stride: int = 1
) -> Convolution:
  """The convolution of a scope, which is given so many channels.

  Raises:
    ValueError: if it cannot take them.
  """
  name = f'{scope}.weight'
  size, given = layout.kernel_size(name), layout.shape(name)[1]
  features = layout.width(name)
  if channels % given or features % (channels // given):
    raise ValueError(
      f'its variable {name!r} is of shape {list(layout.shape(name))}, which '
      f'does not fit {channels} channels'
    )
  return Convolution(features, size, channels // given, stride)


def _unit(layout: Layout, scope: str, channels: int, stride: int) -> Unit:
  count = 3 if f'{scope}.conv3.weight' in layout else 2
  strided = 2 if count == 3 else 1
  if layout.options.get('downsample_in_bottleneck'):
    strided = 1
  convolutions, given = [], channels
  for number in range(1, count + 1):
    made = _convolution(
      layout,
      f'{scope}.conv{number}',
      channels=given,
      stride=stride if number == strided else 1,
    )
    convolutions.append(made)
    given = made.features
  pools = f'{scope}.downsample.2.weight' in layout
  shortcut = None
  if layout.has(f'{scope}.downsample'):
    shortcut = _convolution(
      layout,
      f'{scope}.downsample.{int(pools)}',
      channels=channels,
      stride=1 if pools else stride,
    )
  elif stride > 1 or given != channels:
    raise ValueError(f'it lacks the variables of {scope}.downsample')
  hidden = 0
  if layout.has(f'{scope}.se'):
    hidden = layout.width(f'{scope}.se.fc1.weight')
  return Unit(tuple(convolutions), shortcut, pools, hidden, stride)


def build(layout: Layout) -> ResNet:
  """The network whose variables these are.

  Raises:
    ValueError: if they are of no such network.
  """
  stem, given = [], 3
  deep = 'conv1.0.weight' in layout
  for scope in ('conv1.0', 'conv1.3', 'conv1.6') if deep else ('conv1',):
    stem.append(
      _convolution(layout, scope, channels=given, stride=1 if stem else 2)
    )
    given = stem[-1].features
  strides = _STRIDES
  if layout.options.get('downsample_in_first_stage'):
    strides = (2, *_STRIDES[1:])
  stages = []
  for stage, stride in enumerate(strides, start=1):
    units = []
    for number in range(layout.count(f'layer{stage}.')):
      scope = f'layer{stage}.{number}'
      units.append(_unit(layout, scope, given, 1 if number else stride))
      given = units[-1].convolutions[-1].features
    stages.append(tuple(units))
  return ResNet(
    stem=tuple(stem),
    stages=tuple(stages),
    num_classes=layout.num_classes,
    dropout=layout.rate('drop_rate'),
    stochastic_depth=layout.rate('drop_path_rate'),
  )
