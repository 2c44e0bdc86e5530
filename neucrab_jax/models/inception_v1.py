# SPDX-License-Identifier: Apache-2.0
"""Inception-v1 (GoogLeNet) in the form of TF-slim.

Modules are named after slim's scopes. What is peculiar to slim: convolutions
have BatchNorm without a gamma; both wider convolutions of a block are 3×3,
where the paper has a 5×5; everything is padded 'SAME' but the last average,
whose window is 7×7 at any image size, so that small images have no features.

Axes: B batch, H, W space, C channels, D features, Z source classes.

Reference: Szegedy et al., "Going Deeper with Convolutions", CVPR 2015.
"""

import functools

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from neucrab_jax.models import outputs, pooling, slim
from neucrab_jax.typing import Array

_DROPOUT = 0.2
_WINDOW = 7  # Of the last average.
_STRIDE = 32  # Of the whole network.
_MIN_SIZE = (_WINDOW - 1) * _STRIDE + 1

# Channels of a block's convolutions: branch 0; branch 1's 1×1 and 3×3; branch
# 2's 1×1 and 3×3; branch 3, which follows a max-pool.
_BLOCKS = {
  'Mixed_3b': (64, 96, 128, 16, 32, 32),
  'Mixed_3c': (128, 128, 192, 32, 96, 64),
  'Mixed_4b': (192, 96, 208, 16, 48, 64),
  'Mixed_4c': (160, 112, 224, 24, 64, 64),
  'Mixed_4d': (128, 128, 256, 24, 64, 64),
  'Mixed_4e': (112, 144, 288, 32, 64, 64),
  'Mixed_4f': (256, 160, 320, 32, 128, 128),
  'Mixed_5b': (256, 160, 320, 32, 128, 128),
  'Mixed_5c': (384, 192, 384, 48, 128, 128),
}

# Max-pools ahead of a block, by the size of their window.
_POOLED = {'Mixed_3b': 3, 'Mixed_4b': 3, 'Mixed_5b': 2}


class _Mixed(nn.Module):
  """Four branches over the same map, concatenated.

  Attributes:
    channels: of the convolutions, in the order of `_BLOCKS`.
    wide: the name of branch 2's 3×3 convolution.
    decay: of BatchNorm's moving averages.
  """

  channels: tuple[int, ...]
  wide: str
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
    branch_2 = conv(branch_2, c2_wide, 3, f'Branch_2/{self.wide}')
    branch_3 = conv(pooling.max_pool(x, 3, 1), c3, 1, 'Branch_3/Conv2d_0b_1x1')
    return jnp.concatenate([branch_0, branch_1, branch_2, branch_3], axis=-1)


class InceptionV1(nn.Module):
  """Inception-v1.

  Attributes:
    num_classes: Z, or None for a network without a head.
    width: of every layer, relative to the original's.
    decay: of BatchNorm's moving averages.
  """

  num_classes: int | None = None
  width: float = 1.0
  decay: float = slim.DECAY

  def _channels(self, original: int) -> int:
    return max(int(original * self.width), 1)

  @nn.compact
  def __call__(
    self, images: Float[Array, 'B H W 3'], *, train: bool = False
  ) -> outputs.Outputs:
    """Maps images to features and, where there is a head, to logits.

    Args:
      images: [B, H, W, 3], in [-1, 1]; H and W of 193 or more.
      train: whether BatchNorm uses, and updates, the statistics of the batch,
        and dropout is active ahead of the logits.

    Returns:
      features [B, D], with D = 1024 at the original width, and logits [B, Z],
      or None without a head.

    Raises:
      ValueError: if the images are too small.
    """
    height, width = images.shape[1:3]
    if min(height, width) < _MIN_SIZE:
      raise ValueError(
        f'Inception-v1 cannot take images of {height}×{width}: its last '
        f'average needs {_MIN_SIZE}×{_MIN_SIZE} or more.'
      )
    channels = self._channels
    conv = functools.partial(slim.Conv, decay=self.decay)
    x = conv(channels(64), 7, stride=2, name='Conv2d_1a_7x7')(
      images, train=train
    )
    x = pooling.max_pool(x, 3, 2)
    x = conv(channels(64), 1, name='Conv2d_2b_1x1')(x, train=train)
    x = conv(channels(192), 3, name='Conv2d_2c_3x3')(x, train=train)
    for name, block in _BLOCKS.items():
      if name in _POOLED:
        x = pooling.max_pool(x, _POOLED[name], 2)
      # The checkpoints have one scope that is misnamed.
      wide = 'Conv2d_0a_3x3' if name == 'Mixed_5b' else 'Conv2d_0b_3x3'
      x = _Mixed(tuple(map(channels, block)), wide, self.decay, name=name)(
        x, train=train
      )
    x = nn.avg_pool(x, (_WINDOW, _WINDOW), strides=(1, 1), padding='VALID')
    features = jnp.mean(x, axis=(1, 2))
    logits = slim.head(
      x,
      self.num_classes,
      name='Logits/Conv2d_0c_1x1',
      dropout=_DROPOUT,
      train=train,
    )
    return outputs.Outputs(features, logits)
