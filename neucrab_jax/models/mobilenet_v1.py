# SPDX-License-Identifier: Apache-2.0
"""MobileNet-v1 in the form of TF-slim.

Modules are named after slim's scopes. Everything is padded 'SAME'; the last
average's window is at most 7×7.

Axes: B batch, H, W space, D features, Z source classes.

Reference: Howard et al., "MobileNets: Efficient Convolutional Neural Networks
for Mobile Vision Applications", arXiv 1704.04861, 2017.
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from neucrab_jax.models import depthwise, outputs, pooling, slim
from neucrab_jax.typing import Array

_DROPOUT = 0.001
_WINDOW = 7  # Of the last average, unless the map is smaller.
_MIN_CHANNELS = 8  # slim's min_depth.

# Stride and channels of each depthwise separable convolution.
_LAYERS = (
  (1, 64),
  (2, 128),
  (1, 128),
  (2, 256),
  (1, 256),
  (2, 512),
  *[(1, 512)] * 5,
  (2, 1024),
  (1, 1024),
)


class MobileNetV1(nn.Module):
  """MobileNet-v1.

  Attributes:
    num_classes: Z, or None for a network without a head.
    width: of every layer, relative to the original's; no layer has fewer than
      8 channels.
    decay: of BatchNorm's moving averages.
  """

  num_classes: int | None = None
  width: float = 1.0
  decay: float = slim.DECAY

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

    def conv(x, name, channels, kernel_size, stride=1):
      return slim.Conv(
        max(int(channels * self.width), _MIN_CHANNELS),
        kernel_size,
        stride,
        use_scale=True,
        decay=self.decay,
        activation=nn.relu6,
        name=name,
      )(x, train=train)

    x = conv(images, 'Conv2d_0', 32, 3, 2)
    for i, (stride, channels) in enumerate(_LAYERS, start=1):
      x = depthwise.DepthwiseConv(
        stride=stride, decay=self.decay, name=f'Conv2d_{i}_depthwise'
      )(x, train=train)
      x = conv(x, f'Conv2d_{i}_pointwise', channels, 1)
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
