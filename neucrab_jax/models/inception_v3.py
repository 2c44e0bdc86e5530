# SPDX-License-Identifier: Apache-2.0
"""Inception-v3 in the form of TF-slim.

Modules are named after slim's scopes, where some names are not what one expects
from their neighbours or their kernels. Convolutions have BatchNorm without a
gamma. The stem and the blocks that halve the map are not padded; the last
average's window is at most 8×8. The auxiliary head is left out.

Axes: B batch, H, W space, C channels, D features, Z source classes.

Reference: Szegedy et al., "Rethinking the Inception Architecture for Computer
Vision", CVPR 2016.
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from neucrab_jax.models import inception, outputs, pooling, slim
from neucrab_jax.typing import Array

_DROPOUT = 0.2
_WINDOW = 8  # Of the last average, unless the map is smaller.


def _over_35(narrow: str, wide: str, pooled: int) -> inception.Branches:
  """The branches of a block over 35×35 cells (for images of 299 px)."""
  return (
    [('Conv2d_0a_1x1', 64, 1)],
    [(narrow, 48, 1), (wide, 64, 5)],
    [('Conv2d_0a_1x1', 64, 1), ('Conv2d_0b_3x3', 96, 3),
     ('Conv2d_0c_3x3', 96, 3)],
    [inception.average, ('Conv2d_0b_1x1', pooled, 1)],
  )  # fmt: skip


def _over_17(inner: int) -> inception.Branches:
  return (
    [('Conv2d_0a_1x1', 192, 1)],
    [('Conv2d_0a_1x1', inner, 1), ('Conv2d_0b_1x7', inner, (1, 7)),
     ('Conv2d_0c_7x1', 192, (7, 1))],
    [('Conv2d_0a_1x1', inner, 1), ('Conv2d_0b_7x1', inner, (7, 1)),
     ('Conv2d_0c_1x7', inner, (1, 7)), ('Conv2d_0d_7x1', inner, (7, 1)),
     ('Conv2d_0e_1x7', 192, (1, 7))],
    [inception.average, ('Conv2d_0b_1x1', 192, 1)],
  )  # fmt: skip


def _over_8(vertical: str) -> inception.Branches:
  return (
    [('Conv2d_0a_1x1', 320, 1)],
    [('Conv2d_0a_1x1', 384, 1),
     inception.Fork(('Conv2d_0b_1x3', 384, (1, 3)), (vertical, 384, (3, 1)))],
    [('Conv2d_0a_1x1', 448, 1), ('Conv2d_0b_3x3', 384, 3),
     inception.Fork(('Conv2d_0c_1x3', 384, (1, 3)),
                    ('Conv2d_0d_3x1', 384, (3, 1)))],
    [inception.average, ('Conv2d_0b_1x1', 192, 1)],
  )  # fmt: skip


_BLOCKS: dict[str, inception.Branches] = {
  'Mixed_5b': _over_35('Conv2d_0a_1x1', 'Conv2d_0b_5x5', 32),
  'Mixed_5c': _over_35('Conv2d_0b_1x1', 'Conv_1_0c_5x5', 64),
  'Mixed_5d': _over_35('Conv2d_0a_1x1', 'Conv2d_0b_5x5', 64),
  # The strided scopes say 1x1; the kernels are 3×3.
  'Mixed_6a': (
    [('Conv2d_1a_1x1', 384, 3, 2, 'VALID')],
    [('Conv2d_0a_1x1', 64, 1), ('Conv2d_0b_3x3', 96, 3),
     ('Conv2d_1a_1x1', 96, 3, 2, 'VALID')],
    [inception.strided_max],
  ),
  'Mixed_6b': _over_17(128),
  'Mixed_6c': _over_17(160),
  'Mixed_6d': _over_17(160),
  'Mixed_6e': _over_17(192),
  'Mixed_7a': (
    [('Conv2d_0a_1x1', 192, 1), ('Conv2d_1a_3x3', 320, 3, 2, 'VALID')],
    [('Conv2d_0a_1x1', 192, 1), ('Conv2d_0b_1x7', 192, (1, 7)),
     ('Conv2d_0c_7x1', 192, (7, 1)), ('Conv2d_1a_3x3', 192, 3, 2, 'VALID')],
    [inception.strided_max],
  ),
  'Mixed_7b': _over_8('Conv2d_0b_3x1'),
  'Mixed_7c': _over_8('Conv2d_0c_3x1'),
}  # fmt: skip


class InceptionV3(nn.Module):
  """Inception-v3.

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
      features [B, D], with D = 2048 at the original width, and logits [B, Z],
      or None without a head.

    Raises:
      ValueError: if the images are too small.
    """
    inception.check_size(images, 'Inception-v3')
    conv = inception.convolutions(self.width, decay=self.decay, train=train)
    x = inception.stem(conv, images)
    for name, branches in _BLOCKS.items():
      x = inception.mixed(conv, x, name, branches)
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
