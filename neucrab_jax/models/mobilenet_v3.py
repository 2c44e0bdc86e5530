# SPDX-License-Identifier: Apache-2.0
"""MobileNet-v3, small and large, in the form of TF-slim.

Modules are named after slim's scopes. Everything is padded 'SAME'; after the
average over the whole map comes one more convolution, without BatchNorm, whose
channels are the features.

Axes: B batch, H, W space, D features, Z source classes.

Reference: Howard et al., "Searching for MobileNetV3", ICCV 2019, tables 1
and 2.
"""

import dataclasses
import functools
from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from neucrab_jax.models import inverted_residual, outputs, slim
from neucrab_jax.typing import Array


def _hard_swish(x: Array) -> Array:
  return x * nn.relu6(x + 3) * (1 / 6)


@dataclasses.dataclass(frozen=True)
class Block:
  """One inverted residual."""

  kernel_size: int
  expansion: float
  features: int
  squeeze_excite: bool
  swish: bool  # or else ReLU
  stride: int = 1


SMALL = (
  Block(3, 1, 16, True, False, 2),
  Block(3, 72 / 16, 24, False, False, 2),
  Block(3, 88 / 24, 24, False, False),
  Block(5, 4, 40, True, True, 2),
  Block(5, 6, 40, True, True),
  Block(5, 6, 40, True, True),
  Block(5, 3, 48, True, True),
  Block(5, 3, 48, True, True),
  Block(5, 6, 96, True, True, 2),
  Block(5, 6, 96, True, True),
  Block(5, 6, 96, True, True),
)

LARGE = (
  Block(3, 1, 16, False, False),
  Block(3, 4, 24, False, False, 2),
  Block(3, 3, 24, False, False),
  Block(5, 3, 40, True, False, 2),
  Block(5, 3, 40, True, False),
  Block(5, 3, 40, True, False),
  Block(3, 6, 80, False, True, 2),
  Block(3, 2.5, 80, False, True),
  Block(3, 2.3, 80, False, True),
  Block(3, 2.3, 80, False, True),
  Block(3, 6, 112, True, True),
  Block(3, 6, 112, True, True),
  Block(5, 6, 160, True, True, 2),
  Block(5, 6, 160, True, True),
  Block(5, 6, 160, True, True),
)


class MobileNetV3(nn.Module):
  """MobileNet-v3.

  Attributes:
    blocks: `SMALL` or `LARGE`.
    last: the features at the original width and below.
    num_classes: Z, or None for a network without a head.
    width: of every layer, relative to the original's; but the last one is never
      narrower than that.
    decay: of BatchNorm's moving averages.
  """

  blocks: Sequence[Block]
  last: int
  num_classes: int | None = None
  width: float = 1.0
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

    def channels(original: float) -> int:
      return inverted_residual.channels(original * self.width)

    conv = functools.partial(inverted_residual.conv, decay=self.decay)
    x = conv(channels(16), 3, stride=2, activation=_hard_swish, name='Conv')(
      images, train=train
    )
    for index, block in enumerate(self.blocks):
      x = inverted_residual.InvertedResidual(
        channels(block.features),
        block.expansion,
        block.kernel_size,
        block.stride,
        block.squeeze_excite,
        _hard_swish if block.swish else nn.relu,
        decay=self.decay,
        name=f'expanded_conv_{index}' if index else 'expanded_conv',
      )(x, train=train)
    x = conv(
      channels(6 * self.blocks[-1].features),
      1,
      activation=_hard_swish,
      name='Conv_1',
    )(x, train=train)
    x = jnp.mean(x, axis=(1, 2), keepdims=True)
    x = slim.Conv(
      max(self.last, channels(self.last)),
      1,
      normalize=False,
      activation=_hard_swish,
      name='Conv_2',
    )(x, train=train)
    logits = slim.head(
      x,
      self.num_classes,
      name='Logits/Conv2d_1c_1x1',
      dropout=inverted_residual.DROPOUT,
      train=train,
    )
    return outputs.Outputs(x[:, 0, 0, :], logits)


Small = functools.partial(MobileNetV3, SMALL, last=1024)
Large = functools.partial(MobileNetV3, LARGE, last=1280)
