# SPDX-License-Identifier: Apache-2.0
"""DenseNet: each layer sees what all layers of its block before it made.

Modules are named after timm's scopes, which are torchvision's.

Axes: B batch, H, W space, C channels, D features, Z classes.

Reference: Huang et al., "Densely Connected Convolutional Networks", CVPR 2017.
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from neucrab_jax.models import outputs, pooling
from neucrab_jax.models.pytorch import layers
from neucrab_jax.models.pytorch.layout import Layout
from neucrab_jax.typing import Array


class _Layer(nn.Module):
  """What a layer adds to the channels that it sees."""

  hidden: int
  growth: int
  decay: float

  @nn.compact
  def __call__(
    self, x: Float[Array, 'B H W _'], *, train: bool
  ) -> Float[Array, 'B H W _']:
    for number, (features, size) in enumerate(
      ((self.hidden, 1), (self.growth, 3)), start=1
    ):
      x = layers.BatchNorm(self.decay, name=f'norm{number}')(x, train=train)
      x = layers.Conv(features, size, name=f'conv{number}')(nn.relu(x))
    return x


class DenseNet(nn.Module):
  """A DenseNet.

  Attributes:
    width: channels of the stem.
    stem_kernel: its size.
    blocks: how many layers each has.
    growth: channels that a layer adds.
    hidden: channels within a layer.
    transitions: channels between blocks.
    num_classes: Z, or None for a network without a head.
    decay: of BatchNorm's moving averages.
    dropout: before the head.
  """

  width: int
  stem_kernel: int
  blocks: tuple[int, ...]
  growth: int
  hidden: int
  transitions: tuple[int, ...]
  num_classes: int | None = None
  decay: float = layers.DECAY
  dropout: float = 0.0

  @nn.compact
  def __call__(
    self, images: Float[Array, 'B H W 3'], *, train: bool = False
  ) -> outputs.Outputs:
    """Maps images to features and, where there is a head, to logits.

    Args:
      images: [B, H, W, 3], in the network's value range.
      train: whether BatchNorm uses, and updates, the statistics of the batch.
    """

    def normed(x, name):
      name = f'features.{name}'
      x = layers.BatchNorm(self.decay, name=name)(x, train=train)
      return nn.relu(x)

    x = layers.Conv(self.width, self.stem_kernel, 2, name='features.conv0')(
      images
    )
    x = pooling.max_pool(normed(x, 'norm0'), 3, 2, ((1, 1), (1, 1)))
    for number, depth in enumerate(self.blocks, start=1):
      for layer in range(1, depth + 1):
        name = f'features.denseblock{number}.denselayer{layer}'
        made = _Layer(self.hidden, self.growth, self.decay, name=name)(
          x, train=train
        )
        x = jnp.concatenate([x, made], axis=-1)
      if number < len(self.blocks):
        scope = f'transition{number}'
        x = layers.Conv(
          self.transitions[number - 1], name=f'features.{scope}.conv'
        )(normed(x, f'{scope}.norm'))
        x = nn.avg_pool(x, (2, 2), (2, 2))
    features = jnp.mean(normed(x, 'norm5'), axis=(1, 2))
    logits = layers.head(
      features,
      self.num_classes,
      name='classifier',
      dropout=self.dropout,
      train=train,
    )
    return outputs.Outputs(features, logits)


def build(layout: Layout) -> DenseNet:
  """The network whose variables these are.

  Raises:
    ValueError: if they are of no such network.
  """
  blocks = layout.count('features.denseblock', first=1)
  first = 'features.denseblock1.denselayer1'
  return DenseNet(
    width=layout.width('features.conv0.weight'),
    stem_kernel=layout.kernel_size('features.conv0.weight'),
    blocks=tuple(
      layout.count(f'features.denseblock{number}.denselayer', first=1)
      for number in range(1, blocks + 1)
    ),
    growth=layout.width(f'{first}.conv2.weight'),
    hidden=layout.width(f'{first}.conv1.weight'),
    transitions=tuple(
      layout.width(f'features.transition{number}.conv.weight')
      for number in range(1, blocks)
    ),
    num_classes=layout.num_classes,
    dropout=layout.rate('drop_rate'),
  )
