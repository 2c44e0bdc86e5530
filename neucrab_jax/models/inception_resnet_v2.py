# SPDX-License-Identifier: Apache-2.0
"""Inception-ResNet-v2 in the form of TF-slim.

Modules are named after slim's scopes. Convolutions have BatchNorm without a
gamma, but for the one that ends a residual block: it has a bias, and its result
is scaled before it is added. The stem and the blocks that halve the map are not
padded. The auxiliary head is left out.

Axes: B batch, H, W space, C channels, D features, Z source classes.

Reference: Szegedy et al., "Inception-v4, Inception-ResNet and the Impact of
Residual Connections on Learning", AAAI 2017.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from neucrab_jax.models import inception, outputs, slim
from neucrab_jax.typing import Array

_DROPOUT = 0.2

_MIXED_5B: inception.Branches = (
  [('Conv2d_1x1', 96, 1)],
  [('Conv2d_0a_1x1', 48, 1), ('Conv2d_0b_5x5', 64, 5)],
  [('Conv2d_0a_1x1', 64, 1), ('Conv2d_0b_3x3', 96, 3),
   ('Conv2d_0c_3x3', 96, 3)],
  [inception.average, ('Conv2d_0b_1x1', 64, 1)],
)  # fmt: skip
_MIXED_6A: inception.Branches = (
  [('Conv2d_1a_3x3', 384, 3, 2, 'VALID')],
  [('Conv2d_0a_1x1', 256, 1), ('Conv2d_0b_3x3', 256, 3),
   ('Conv2d_1a_3x3', 384, 3, 2, 'VALID')],
  [inception.strided_max],
)  # fmt: skip
_MIXED_7A: inception.Branches = (
  [('Conv2d_0a_1x1', 256, 1), ('Conv2d_1a_3x3', 384, 3, 2, 'VALID')],
  [('Conv2d_0a_1x1', 256, 1), ('Conv2d_1a_3x3', 288, 3, 2, 'VALID')],
  [('Conv2d_0a_1x1', 256, 1), ('Conv2d_0b_3x3', 288, 3),
   ('Conv2d_1a_3x3', 320, 3, 2, 'VALID')],
  [inception.strided_max],
)  # fmt: skip

# Of the residual blocks, for images of 299 px over 35×35, 17×17 and 8×8 cells.
_BLOCK35: inception.Branches = (
  [('Conv2d_1x1', 32, 1)],
  [('Conv2d_0a_1x1', 32, 1), ('Conv2d_0b_3x3', 32, 3)],
  [('Conv2d_0a_1x1', 32, 1), ('Conv2d_0b_3x3', 48, 3),
   ('Conv2d_0c_3x3', 64, 3)],
)  # fmt: skip
_BLOCK17: inception.Branches = (
  [('Conv2d_1x1', 192, 1)],
  [('Conv2d_0a_1x1', 128, 1), ('Conv2d_0b_1x7', 160, (1, 7)),
   ('Conv2d_0c_7x1', 192, (7, 1))],
)  # fmt: skip
_BLOCK8: inception.Branches = (
  [('Conv2d_1x1', 192, 1)],
  [('Conv2d_0a_1x1', 192, 1), ('Conv2d_0b_1x3', 224, (1, 3)),
   ('Conv2d_0c_3x1', 256, (3, 1))],
)  # fmt: skip


class InceptionResNetV2(nn.Module):
  """Inception-ResNet-v2.

  Attributes:
    num_classes: Z, or None for a network without a head.
    width: of every layer, relative to the original's; no layer has fewer than
      16 channels.
    repeats: how many residual blocks there are of each size, the last one, of
      scale 1, not counted.
    decay: of BatchNorm's moving averages.
  """

  num_classes: int | None = None
  width: float = 1.0
  repeats: Sequence[int] = (10, 20, 9)
  decay: float = slim.DECAY

  @nn.compact
  def __call__(
    self, images: Float[Array, 'B H W 3'], *, train: bool = False
  ) -> outputs.Outputs:
    """Maps images to features and, where there is a head, to logits.

    Args:
      images: [B, H, W, 3], in [-1, 1]; H and W of 75 or more.
      train: whether BatchNorm uses, and updates, the statistics of the batch,
        and dropout is active ahead of the logits.

    Returns:
      features [B, D], with D = 1536 at the original width, and logits [B, Z],
      or None without a head.

    Raises:
      ValueError: if the images are too small.
    """
    inception.check_size(images, 'Inception-ResNet-v2')
    conv = inception.convolutions(self.width, decay=self.decay, train=train)

    def residual(x, scope, branches, scale):
      y = inception.mixed(conv, x, scope, branches)
      y = slim.Conv(
        x.shape[-1],
        1,
        normalize=False,
        activation=slim.identity,
        name=f'{scope}/Conv2d_1x1',
      )(y, train=train)
      return x + scale * y

    def repeat(x, scope, branches, scale, count):
      for i in range(1, count + 1):
        x = nn.relu(residual(x, f'{scope}_{i}', branches, scale))
      return x

    over_35, over_17, over_8 = self.repeats
    x = inception.stem(conv, images)
    x = inception.mixed(conv, x, 'Mixed_5b', _MIXED_5B)
    x = repeat(x, 'Repeat/block35', _BLOCK35, 0.17, over_35)
    x = inception.mixed(conv, x, 'Mixed_6a', _MIXED_6A)
    x = repeat(x, 'Repeat_1/block17', _BLOCK17, 0.10, over_17)
    x = inception.mixed(conv, x, 'Mixed_7a', _MIXED_7A)
    x = repeat(x, 'Repeat_2/block8', _BLOCK8, 0.20, over_8)
    x = residual(x, 'Block8', _BLOCK8, 1.0)
    x = conv(x, 'Conv2d_7b_1x1', 1536, 1)
    features = jnp.mean(x, axis=(1, 2))
    logits = slim.dense_head(
      features,
      self.num_classes,
      name='Logits/Logits',
      dropout=_DROPOUT,
      train=train,
    )
    return outputs.Outputs(features, logits)
