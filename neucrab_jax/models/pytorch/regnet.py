# SPDX-License-Identifier: Apache-2.0
"""RegNet, X and Y: plain bottlenecks in groups, Y with squeeze-and-excite.

Modules are named after timm's scopes.

Axes: B batch, H, W space, D features, Z classes.

Reference: Radosavovic et al., "Designing Network Design Spaces", CVPR 2020.
"""

import dataclasses

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from neucrab_jax.models import outputs
from neucrab_jax.models.pytorch import layers
from neucrab_jax.models.pytorch.layout import Layout
from neucrab_jax.typing import Array


@dataclasses.dataclass(frozen=True)
class Block:
  """A bottleneck.

  Attributes:
    hidden: channels of its 3×3 convolution.
    features: channels it makes.
    groups: of the 3×3 convolution.
    stride: of that.
    squeeze_excite: hidden channels of it; 0 without.
    shortcut: whether there is a convolution beside.
  """

  hidden: int
  features: int
  groups: int
  stride: int
  squeeze_excite: int
  shortcut: bool


class _ConvNorm(nn.Module):
  features: int
  decay: float
  kernel_size: int = 1
  stride: int = 1
  groups: int = 1

  @nn.compact
  def __call__(
    self, x: Float[Array, 'B H W _'], *, train: bool
  ) -> Float[Array, 'B _ _ _']:
    x = layers.Conv(
      self.features,
      self.kernel_size,
      self.stride,
      groups=self.groups,
      name='conv',
    )(x)
    return layers.BatchNorm(self.decay, name='bn')(x, train=train)


class _Block(nn.Module):
  block: Block
  decay: float
  stochastic_depth: float

  @nn.compact
  def __call__(
    self, x: Float[Array, 'B H W _'], *, train: bool
  ) -> Float[Array, 'B _ _ _']:
    block, decay, shortcut = self.block, self.decay, x
    x = _ConvNorm(block.hidden, decay, name='conv1')(x, train=train)
    x = _ConvNorm(
      block.hidden, decay, 3, block.stride, block.groups, name='conv2'
    )(nn.relu(x), train=train)
    x = nn.relu(x)
    if block.squeeze_excite:
      x = layers.SqueezeExcite(block.squeeze_excite, name='se')(x)
    x = _ConvNorm(block.features, decay, name='conv3')(x, train=train)
    x = layers.StochasticDepth(self.stochastic_depth)(x, train=train)
    if block.shortcut:
      shortcut = _ConvNorm(
        block.features, decay, stride=block.stride, name='downsample'
      )(shortcut, train=train)
    return nn.relu(x + shortcut)


class RegNet(nn.Module):
  """A RegNet.

  Attributes:
    width: channels of the stem.
    stages: the blocks of each.
    num_classes: Z, or None for a network without a head.
    decay: of BatchNorm's moving averages.
    dropout: before the head.
    stochastic_depth: of the last block; of the first it is 0.
  """

  width: int
  stages: tuple[tuple[Block, ...], ...]
  num_classes: int | None = None
  decay: float = layers.DECAY
  dropout: float = 0.0
  stochastic_depth: float = 0.0

  @nn.compact
  def __call__(
    self, images: Float[Array, 'B H W 3'], *, train: bool = False
  ) -> outputs.Outputs:
    """Maps images to features and, where there is a head, to logits.

    Args:
      images: [B, H, W, 3], in the network's value range.
      train: whether BatchNorm uses, and updates, the statistics of the batch.
    """
    x = _ConvNorm(self.width, self.decay, 3, 2, name='stem')(
      images, train=train
    )
    x = nn.relu(x)
    depths = [len(blocks) for blocks in self.stages]
    rates = layers.depth_rates(self.stochastic_depth, depths)
    for stage, blocks in enumerate(self.stages):
      for number, block in enumerate(blocks):
        x = _Block(
          block,
          self.decay,
          rates[stage][number],
          name=f's{stage + 1}.b{number + 1}',
        )(x, train=train)
    features = jnp.mean(x, axis=(1, 2))
    logits = layers.head(
      features,
      self.num_classes,
      name='head.fc',
      dropout=self.dropout,
      train=train,
    )
    return outputs.Outputs(features, logits)


def _block(layout: Layout, scope: str, *, stride: int) -> Block:
  hidden = layout.width(f'{scope}.conv1.conv.weight')
  each = layout.shape(f'{scope}.conv2.conv.weight')[1]
  if not each or hidden % each:
    raise ValueError(f'groups of {each} cannot share {hidden} channels')
  squeezed = 0
  if layout.has(f'{scope}.se'):
    squeezed = layout.width(f'{scope}.se.fc1.weight')
  return Block(
    hidden=hidden,
    features=layout.width(f'{scope}.conv3.conv.weight'),
    groups=hidden // each,
    stride=stride,
    squeeze_excite=squeezed,
    shortcut=layout.has(f'{scope}.downsample'),
  )


def build(layout: Layout) -> RegNet:
  """The network whose variables these are.

  Raises:
    ValueError: if they are of no such network.
  """
  stages = tuple(
    tuple(
      _block(layout, f's{stage}.b{number}', stride=2 if number == 1 else 1)
      for number in range(1, layout.count(f's{stage}.b', first=1) + 1)
    )
    for stage in range(1, 5)
  )
  return RegNet(
    width=layout.width('stem.conv.weight'),
    stages=stages,
    num_classes=layout.num_classes,
    dropout=layout.rate('drop_rate'),
    stochastic_depth=layout.rate('drop_path_rate'),
  )
