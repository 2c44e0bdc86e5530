# SPDX-License-Identifier: Apache-2.0
"""Inception-v2 (BN-Inception) in the form of TF-slim.

Modules are named after slim's scopes. What is peculiar to slim: the first
convolution is separable, with eight depthwise filters per colour, and has a
bias and no BatchNorm; the others have BatchNorm without a gamma; everything is
padded 'SAME' but the last average, whose window is at most 7×7.

Axes: B batch, H, W space, C channels, D features, Z source classes.

Reference: Ioffe and Szegedy, "Batch Normalization: Accelerating Deep Network
Training by Reducing Internal Covariate Shift", ICML 2015.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float

from neucrab_jax.models import outputs, pooling, slim
from neucrab_jax.typing import Array

_DROPOUT = 0.2
_WINDOW = 7  # Of the last average, unless the map is smaller.
_MIN_CHANNELS = 16  # slim's min_depth.
_DEPTHWISE_FILTERS = 8

# Channels of a block's convolutions: branch 0; branch 1's 1×1 and 3×3; branch
# 2's 1×1 and both 3×3; branch 3, which follows a pool. Blocks of four halve the
# map: branch 0's 1×1 and 3×3; branch 1's 1×1 and both 3×3.
_BLOCKS = {
  'Mixed_3b': (64, 64, 64, 64, 96, 32),
  'Mixed_3c': (64, 64, 96, 64, 96, 64),
  'Mixed_4a': (128, 160, 64, 96),
  'Mixed_4b': (224, 64, 96, 96, 128, 128),
  'Mixed_4c': (192, 96, 128, 96, 128, 128),
  'Mixed_4d': (160, 128, 160, 128, 160, 96),
  'Mixed_4e': (96, 128, 192, 160, 192, 96),
  'Mixed_5a': (128, 192, 192, 256),
  'Mixed_5b': (352, 192, 320, 160, 224, 128),
  'Mixed_5c': (352, 192, 320, 192, 224, 128),
}


class _SeparableConv(nn.Module):
  """A strided 7×7 depthwise convolution, a 1×1, a bias and ReLU.

  Attributes:
    features: the channels it makes.
    multiplier: depthwise filters per channel.
  """

  features: int
  multiplier: int

  @nn.compact
  def __call__(self, x: Float[Array, 'B H W _']) -> Float[Array, 'B _ _ _']:
    channels = x.shape[-1]
    depthwise = self.param(
      'depthwise_kernel',
      # A filter sees one channel.
      nn.initializers.he_normal(in_axis=(0, 1), out_axis=(2, 3)),
      (7, 7, channels, self.multiplier),
    )
    between = channels * self.multiplier
    pointwise = self.param(
      'pointwise_kernel',
      nn.initializers.he_normal(),
      (1, 1, between, self.features),
    )
    bias = self.param('bias', nn.initializers.zeros, (self.features,))
    # Nothing is between the two: together they are one convolution, which has
    # more arithmetic than both and yet is the faster, above all backwards.
    kernel = jnp.einsum(
      'hwcm,cmo->hwco',
      depthwise,
      pointwise.reshape(channels, self.multiplier, self.features),
      precision=slim.PRECISION,
    )
    x = jax.lax.conv_general_dilated(
      jnp.asarray(x),
      kernel,
      window_strides=(2, 2),
      padding='SAME',
      dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
      precision=slim.PRECISION,
    )
    return nn.relu(x + bias)


class _Mixed(nn.Module):
  """Four branches over the same map, concatenated.

  Attributes:
    channels: of the convolutions, in the order of `_BLOCKS`.
    max_pooled: whether branch 3 takes the maximum, not the average.
    decay: of BatchNorm's moving averages.
  """

  channels: tuple[int, ...]
  max_pooled: bool
  decay: float

  @nn.compact
  def __call__(
    self, x: Float[Array, 'B H W _'], *, train: bool
  ) -> Float[Array, 'B _ _ _']:
    def conv(x, channels, size, name):
      return slim.Conv(channels, size, decay=self.decay, name=name)(
        x, train=train
      )

    c0, c1, c1_wide, c2, c2_wide, c3 = self.channels
    branch_0 = conv(x, c0, 1, 'Branch_0/Conv2d_0a_1x1')
    branch_1 = conv(x, c1, 1, 'Branch_1/Conv2d_0a_1x1')
    branch_1 = conv(branch_1, c1_wide, 3, 'Branch_1/Conv2d_0b_3x3')
    branch_2 = conv(x, c2, 1, 'Branch_2/Conv2d_0a_1x1')
    branch_2 = conv(branch_2, c2_wide, 3, 'Branch_2/Conv2d_0b_3x3')
    branch_2 = conv(branch_2, c2_wide, 3, 'Branch_2/Conv2d_0c_3x3')
    pooled = (
      pooling.max_pool(x, 3, 1)
      if self.max_pooled
      else pooling.average_pool(x, 3)
    )
    branch_3 = conv(pooled, c3, 1, 'Branch_3/Conv2d_0b_1x1')
    return jnp.concatenate([branch_0, branch_1, branch_2, branch_3], axis=-1)


class _Reduction(nn.Module):
  """Three branches that halve the map, concatenated.

  Attributes:
    channels: of the convolutions, in the order of `_BLOCKS`.
    decay: of BatchNorm's moving averages.
  """

  channels: tuple[int, ...]
  decay: float

  @nn.compact
  def __call__(
    self, x: Float[Array, 'B H W _'], *, train: bool
  ) -> Float[Array, 'B _ _ _']:
    def conv(x, channels, size, name, stride=1):
      return slim.Conv(channels, size, stride, decay=self.decay, name=name)(
        x, train=train
      )

    c0, c0_wide, c1, c1_wide = self.channels
    branch_0 = conv(x, c0, 1, 'Branch_0/Conv2d_0a_1x1')
    branch_0 = conv(branch_0, c0_wide, 3, 'Branch_0/Conv2d_1a_3x3', stride=2)
    branch_1 = conv(x, c1, 1, 'Branch_1/Conv2d_0a_1x1')
    branch_1 = conv(branch_1, c1_wide, 3, 'Branch_1/Conv2d_0b_3x3')
    branch_1 = conv(branch_1, c1_wide, 3, 'Branch_1/Conv2d_1a_3x3', stride=2)
    return jnp.concatenate(
      [branch_0, branch_1, pooling.max_pool(x, 3, 2)], axis=-1
    )


class InceptionV2(nn.Module):
  """Inception-v2.

  Attributes:
    num_classes: Z, or None for a network without a head.
    width: of every layer, relative to the original's; no layer has fewer than
      16 channels.
    decay: of BatchNorm's moving averages.
  """

  num_classes: int | None = None
  width: float = 1.0
  decay: float = slim.DECAY

  def _channels(self, original: int) -> int:
    return max(int(original * self.width), _MIN_CHANNELS)

  @nn.compact
  def __call__(
    self, images: Float[Array, 'B H W 3'], *, train: bool = False
  ) -> outputs.Outputs:
    """Maps images to features and, where there is a head, to logits.

    Args:
      images: [B, H, W, 3], in [-1, 1].
      train: whether BatchNorm uses, and updates, the statistics of the batch,
        and dropout is active ahead of the logits.

    Returns:
      features [B, D], with D = 1024 at the original width, and logits [B, Z],
      or None without a head.
    """
    channels = self._channels
    multiplier = min(channels(64) // images.shape[-1], _DEPTHWISE_FILTERS)
    x = _SeparableConv(channels(64), multiplier, name='Conv2d_1a_7x7')(images)
    x = pooling.max_pool(x, 3, 2)
    conv = functools.partial(slim.Conv, decay=self.decay)
    x = conv(channels(64), 1, name='Conv2d_2b_1x1')(x, train=train)
    x = conv(channels(192), 3, name='Conv2d_2c_3x3')(x, train=train)
    x = pooling.max_pool(x, 3, 2)
    for name, block in _BLOCKS.items():
      block = tuple(map(channels, block))
      if len(block) == 4:
        x = _Reduction(block, self.decay, name=name)(x, train=train)
      else:
        # Only the last block takes a maximum.
        x = _Mixed(block, name == 'Mixed_5c', self.decay, name=name)(
          x, train=train
        )
    x = pooling.windowed_average(x, _WINDOW)
    features = jnp.mean(x, axis=(1, 2))
    logits = slim.head(
      x,
      self.num_classes,
      name='Logits/Conv2d_1c_1x1',
      dropout=_DROPOUT,
      train=train,
    )
    return outputs.Outputs(features, logits)
