# SPDX-License-Identifier: Apache-2.0
"""MobileNet-v2 in the form of TF-slim.

Modules are named after slim's scopes. Everything is padded 'SAME'; the last
average is over the whole map. A narrower network keeps the 1280 channels of the
last convolution.

Axes: B batch, H, W space, D features, Z source classes.

Reference: Sandler et al., "MobileNetV2: Inverted Residuals and Linear
Bottlenecks", CVPR 2018.
"""

import functools

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from neucrab_jax.models import inverted_residual, outputs, slim
from neucrab_jax.typing import Array

# Expansion, channels, repeats and stride of the first: table 2 of the paper.
_BLOCKS = (
  (1, 16, 1, 1),
  (6, 24, 2, 2),
  (6, 32, 3, 2),
  (6, 64, 4, 2),
  (6, 96, 3, 1),
  (6, 160, 3, 2),
  (6, 320, 1, 1),
)


class MobileNetV2(nn.Module):
  """MobileNet-v2.

  Attributes:
    num_classes: Z, or None for a network without a head.
    width: of every layer, relative to the original's; but the last one is never
      narrower than `last`.
    last: the features at the original width and below.
    decay: of BatchNorm's moving averages.
  """

  num_classes: int | None = None
  width: float = 1.0
  last: int = 1280
  decay: float = inverted_residual.DECAY

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
      features [B, D], with D = `last` at the original width and below, and
      logits [B, Z], or None without a head.
    """

    def channels(original: int) -> int:
      return inverted_residual.channels(original * self.width)

    conv = functools.partial(inverted_residual.conv, decay=self.decay)
    x = conv(channels(32), 3, stride=2, activation=nn.relu6, name='Conv')(
      images, train=train
    )
    index = 0
    for expansion, width, repeats, first_stride in _BLOCKS:
      for repeat in range(repeats):
        x = inverted_residual.InvertedResidual(
          channels(width),
          expansion,
          stride=1 if repeat else first_stride,
          decay=self.decay,
          name=f'expanded_conv_{index}' if index else 'expanded_conv',
        )(x, train=train)
        index += 1
    last = max(self.last, channels(self.last))
    x = conv(last, 1, activation=nn.relu6, name='Conv_1')(x, train=train)
    x = jnp.mean(x, axis=(1, 2), keepdims=True)
    logits = slim.head(
      x,
      self.num_classes,
      name='Logits/Conv2d_1c_1x1',
      dropout=inverted_residual.DROPOUT,
      train=train,
    )
    return outputs.Outputs(x[:, 0, 0, :], logits)
