# SPDX-License-Identifier: Apache-2.0
"""The block of MobileNet-v2 and -v3: wide inside, narrow between blocks.

Named after slim's scopes, where it is an `expanded_conv`.

Axes: B batch, H, W space, C channels.

Reference: Sandler et al., "MobileNetV2: Inverted Residuals and Linear
Bottlenecks", CVPR 2018, figure 4; squeeze-and-excite as in Howard et al.,
"Searching for MobileNetV3", ICCV 2019, figure 4.
"""

import functools
from collections.abc import Callable

import flax.linen as nn
from jaxtyping import Float

from neucrab_jax.models import depthwise, pooling, slim
from neucrab_jax.typing import Array

DROPOUT = 0.2

# Of BatchNorm's moving averages in slim's MobileNet-v2 and -v3.
DECAY = 0.997

_DIVISOR = 8  # Of every number of channels.

# slim's sixth: five digits, and not what its hard-swish has.
_GATE = 0.16667

Activation = Callable[[Array], Array]


def channels(original: float) -> int:
  """The nearest multiple of 8 that is at least 90 % of it, and at least 8."""
  rounded = max(_DIVISOR, int(original + _DIVISOR / 2) // _DIVISOR * _DIVISOR)
  return rounded + _DIVISOR * (rounded < 0.9 * original)


def conv(
  features: int, kernel_size: int, *, decay: float, name: str, **options
) -> slim.Conv:
  """A convolution with all of slim's BatchNorm."""
  return slim.Conv(
    features, kernel_size, use_scale=True, decay=decay, name=name, **options
  )


class _SqueezeExcite(nn.Module):
  """Scales each channel by what all channels say on average."""

  @nn.compact
  def __call__(
    self, x: Float[Array, 'B H W _'], *, train: bool
  ) -> Float[Array, 'B _ _ _']:
    width = x.shape[-1]
    gate = pooling.global_average(x)[:, None, None]
    gate = slim.Conv(channels(width / 4), 1, normalize=False, name='Conv')(
      gate, train=train
    )
    gate = slim.Conv(
      width, 1, normalize=False, activation=slim.identity, name='Conv_1'
    )(gate, train=train)
    return x * (nn.relu6(gate + 3) * _GATE)


class InvertedResidual(nn.Module):
  """Expands, filters each channel, and projects without an activation.

  Attributes:
    features: the channels it makes.
    expansion: inner channels per channel it is given; with one there is no
      convolution to expand.
    kernel_size: of the depthwise convolution.
    stride: of the depthwise convolution; at stride 1 and equal channels, the
      input is added.
    squeeze_excite: whether the inner channels are gated.
    activation: of the inner channels.
    decay: of BatchNorm's moving averages.
  """

  features: int
  expansion: float
  kernel_size: int = 3
  stride: int = 1
  squeeze_excite: bool = False
  activation: Activation = nn.relu6
  decay: float = DECAY

  @nn.compact
  def __call__(
    self, x: Float[Array, 'B H W _'], *, train: bool
  ) -> Float[Array, 'B _ _ _']:
    normed = functools.partial(conv, decay=self.decay)
    y = x
    if self.expansion != 1:
      inner = channels(x.shape[-1] * self.expansion)
      y = normed(inner, 1, name='expand', activation=self.activation)(
        y, train=train
      )
    y = depthwise.DepthwiseConv(
      self.kernel_size,
      self.stride,
      decay=self.decay,
      activation=self.activation,
      name='depthwise',
    )(y, train=train)
    if self.squeeze_excite:
      y = _SqueezeExcite(name='squeeze_excite')(y, train=train)
    y = normed(self.features, 1, name='project', activation=slim.identity)(
      y, train=train
    )
    return x + y if y.shape == x.shape else y
