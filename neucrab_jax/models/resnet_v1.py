# SPDX-License-Identifier: Apache-2.0
"""Residual networks (ResNet-v1) in the form of TF-slim.

As in its ResNet-v2, a block strides in its *last* unit, in the 3×3 convolution,
a strided convolution pads explicitly and symmetrically, and an identity
shortcut strides by subsampling. Here BatchNorm follows each convolution, that
of a projection shortcut too.

Axes: B batch, H, W space, D features, Z source classes.

Reference: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016.
"""

import functools
from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from neucrab_jax.models import outputs, pooling, slim
from neucrab_jax.typing import Array

# slim's resnet_arg_scope: batch_norm_epsilon and batch_norm_decay.
_EPSILON = 1e-5
_DECAY = 0.997

# An outer width is this many inner ones.
_EXPANSION = 4


def _conv(
  features: int,
  kernel_size: int,
  stride: int = 1,
  *,
  decay: float,
  name: str,
  **options,
) -> slim.Conv:
  """A convolution with slim's explicit padding."""
  before = (kernel_size - 1) // 2
  after = kernel_size - 1 - before
  return slim.Conv(
    features,
    kernel_size,
    stride,
    padding=((before, after), (before, after)),
    use_scale=True,
    epsilon=_EPSILON,
    decay=decay,
    name=name,
    **options,
  )


class _Bottleneck(nn.Module):
  """A residual unit: 1×1, 3×3 and 1×1 convolutions around a shortcut."""

  width: int
  stride: int
  decay: float

  @nn.compact
  def __call__(
    self, x: Float[Array, 'B H W _'], *, train: bool
  ) -> Float[Array, 'B _ _ _']:
    depth = _EXPANSION * self.width
    conv = functools.partial(_conv, decay=self.decay)
    if x.shape[-1] == depth:
      shortcut = x[:, :: self.stride, :: self.stride]
    else:
      shortcut = conv(
        depth, 1, self.stride, name='shortcut', activation=slim.identity
      )(x, train=train)
    x = conv(self.width, 1, name='conv1')(x, train=train)
    x = conv(self.width, 3, self.stride, name='conv2')(x, train=train)
    x = conv(depth, 1, name='conv3', activation=slim.identity)(x, train=train)
    return nn.relu(shortcut + x)


class ResNetV1(nn.Module):
  """A ResNet-v1 with bottleneck units.

  Attributes:
    units: how many units each block has.
    width: the inner width of the first block; it doubles with every block.
    num_classes: Z, or None for a network without a head.
    decay: of BatchNorm's moving averages.
  """

  units: Sequence[int]
  width: int = 64
  num_classes: int | None = None
  decay: float = _DECAY

  @nn.compact
  def __call__(
    self, images: Float[Array, 'B H W 3'], *, train: bool = False
  ) -> outputs.Outputs:
    """Maps images to features and, where there is a head, to logits.

    Args:
      images: [B, H, W, 3], in the network's value range.
      train: whether BatchNorm uses, and updates, the statistics of the batch.

    Returns:
      features [B, D], with D = 4 · width · 2^(blocks − 1), and logits [B, Z],
      or None without a head.
    """
    conv = functools.partial(_conv, decay=self.decay)
    x = conv(self.width, 7, 2, name='conv1')(images, train=train)
    x = pooling.max_pool(x, 3, 2)
    for block, count in enumerate(self.units, start=1):
      for unit in range(1, count + 1):
        strides = unit == count and block < len(self.units)
        x = _Bottleneck(
          width=self.width * 2 ** (block - 1),
          stride=2 if strides else 1,
          decay=self.decay,
          name=f'block{block}/unit_{unit}/bottleneck_v1',
        )(x, train=train)
    features = jnp.mean(x, axis=(1, 2))
    logits = None
    if self.num_classes is not None:
      logits = conv(
        self.num_classes,
        1,
        name='logits',
        normalize=False,
        activation=slim.identity,
      )(features[:, None, None, :], train=train)[:, 0, 0, :]
    return outputs.Outputs(features, logits)
