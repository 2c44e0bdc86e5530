# SPDX-License-Identifier: Apache-2.0
"""Inception-v4 in the form of TF-slim.

Modules are named after slim's scopes. Convolutions have BatchNorm without a
gamma. The stem and the blocks that halve the map are not padded; the last
average is over the whole map. The auxiliary head is left out.

Axes: B batch, H, W space, C channels, D features, Z source classes.

Reference: Szegedy et al., "Inception-v4, Inception-ResNet and the Impact of
Residual Connections on Learning", AAAI 2017.
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from neucrab_jax.models import inception, outputs, slim
from neucrab_jax.typing import Array

_DROPOUT = 0.2

# For images of 299 px over 35×35, 17×17 and 8×8 cells.
_OVER_35: inception.Branches = (
  [('Conv2d_0a_1x1', 96, 1)],
  [('Conv2d_0a_1x1', 64, 1), ('Conv2d_0b_3x3', 96, 3)],
  [('Conv2d_0a_1x1', 64, 1), ('Conv2d_0b_3x3', 96, 3),
   ('Conv2d_0c_3x3', 96, 3)],
  [inception.average, ('Conv2d_0b_1x1', 96, 1)],
)  # fmt: skip
_OVER_17: inception.Branches = (
  [('Conv2d_0a_1x1', 384, 1)],
  [('Conv2d_0a_1x1', 192, 1), ('Conv2d_0b_1x7', 224, (1, 7)),
   ('Conv2d_0c_7x1', 256, (7, 1))],
  [('Conv2d_0a_1x1', 192, 1), ('Conv2d_0b_7x1', 192, (7, 1)),
   ('Conv2d_0c_1x7', 224, (1, 7)), ('Conv2d_0d_7x1', 224, (7, 1)),
   ('Conv2d_0e_1x7', 256, (1, 7))],
  [inception.average, ('Conv2d_0b_1x1', 128, 1)],
)  # fmt: skip
_OVER_8: inception.Branches = (
  [('Conv2d_0a_1x1', 256, 1)],
  [('Conv2d_0a_1x1', 384, 1),
   inception.Fork(('Conv2d_0b_1x3', 256, (1, 3)),
                  ('Conv2d_0c_3x1', 256, (3, 1)))],
  [('Conv2d_0a_1x1', 384, 1), ('Conv2d_0b_3x1', 448, (3, 1)),
   ('Conv2d_0c_1x3', 512, (1, 3)),
   inception.Fork(('Conv2d_0d_1x3', 256, (1, 3)),
                  ('Conv2d_0e_3x1', 256, (3, 1)))],
  [inception.average, ('Conv2d_0b_1x1', 256, 1)],
)  # fmt: skip

_BLOCKS: dict[str, inception.Branches] = {
  'Mixed_3a': (
    [inception.strided_max],
    [('Conv2d_0a_3x3', 96, 3, 2, 'VALID')],
  ),
  'Mixed_4a': (
    [('Conv2d_0a_1x1', 64, 1), ('Conv2d_1a_3x3', 96, 3, 1, 'VALID')],
    [('Conv2d_0a_1x1', 64, 1), ('Conv2d_0b_1x7', 64, (1, 7)),
     ('Conv2d_0c_7x1', 64, (7, 1)), ('Conv2d_1a_3x3', 96, 3, 1, 'VALID')],
  ),
  'Mixed_5a': (
    [('Conv2d_1a_3x3', 192, 3, 2, 'VALID')],
    [inception.strided_max],
  ),
  **{f'Mixed_5{letter}': _OVER_35 for letter in 'bcde'},
  'Mixed_6a': (
    [('Conv2d_1a_3x3', 384, 3, 2, 'VALID')],
    [('Conv2d_0a_1x1', 192, 1), ('Conv2d_0b_3x3', 224, 3),
     ('Conv2d_1a_3x3', 256, 3, 2, 'VALID')],
    [inception.strided_max],
  ),
  **{f'Mixed_6{letter}': _OVER_17 for letter in 'bcdefgh'},
  'Mixed_7a': (
    [('Conv2d_0a_1x1', 192, 1), ('Conv2d_1a_3x3', 192, 3, 2, 'VALID')],
    [('Conv2d_0a_1x1', 256, 1), ('Conv2d_0b_1x7', 256, (1, 7)),
     ('Conv2d_0c_7x1', 320, (7, 1)), ('Conv2d_1a_3x3', 320, 3, 2, 'VALID')],
    [inception.strided_max],
  ),
  **{f'Mixed_7{letter}': _OVER_8 for letter in 'bcd'},
}  # fmt: skip


class InceptionV4(nn.Module):
  """Inception-v4.

  Attributes:
    num_classes: Z, or None for a network without a head.
    width: of every layer, relative to the original's; no layer has fewer than
      16 channels.
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
      images: [B, H, W, 3], in [-1, 1]; H and W of 75 or more.
      train: whether BatchNorm uses, and updates, the statistics of the batch,
        and dropout is active ahead of the logits.

    Returns:
      features [B, D], with D = 1536 at the original width, and logits [B, Z],
      or None without a head.

    Raises:
      ValueError: if the images are too small.
    """
    inception.check_size(images, 'Inception-v4')
    conv = inception.convolutions(self.width, decay=self.decay, train=train)
    x = conv(images, 'Conv2d_1a_3x3', 32, 3, 2, 'VALID')
    x = conv(x, 'Conv2d_2a_3x3', 32, 3, 1, 'VALID')
    x = conv(x, 'Conv2d_2b_3x3', 64, 3)
    for name, branches in _BLOCKS.items():
      x = inception.mixed(conv, x, name, branches)
    features = jnp.mean(x, axis=(1, 2))
    logits = slim.dense_head(
      features,
      self.num_classes,
      name='Logits/Logits',
      dropout=_DROPOUT,
      train=train,
    )
    return outputs.Outputs(features, logits)
