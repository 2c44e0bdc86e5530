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

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from neucrab_jax.models import outputs, slim

_DROPOUT = 0.2
_WINDOW = 8  # Of the last average, unless the map is smaller.
_MIN_CHANNELS = 16  # slim's min_depth.
# Leaves one cell after five strides without padding.
_MIN_SIZE = 75

# What the blocks over 35×35 cells (for 299 px) differ in: the scopes of branch
# 1, and the channels of branch 3.
_SQUARE = {
  'Mixed_5b': ('Conv2d_0a_1x1', 'Conv2d_0b_5x5', 32),
  'Mixed_5c': ('Conv2d_0b_1x1', 'Conv_1_0c_5x5', 64),
  'Mixed_5d': ('Conv2d_0a_1x1', 'Conv2d_0b_5x5', 64),
}
# Over 17×17: the channels inside branches 1 and 2.
_FACTORED = {
  'Mixed_6b': 128,
  'Mixed_6c': 160,
  'Mixed_6d': 160,
  'Mixed_6e': 192,
}
# Over 8×8: the scope of branch 1's 3×1.
_FORKED = {'Mixed_7b': 'Conv2d_0b_3x1', 'Mixed_7c': 'Conv2d_0c_3x1'}

_Kernel = int | tuple[int, int]


def _max_pool(x: jax.Array) -> jax.Array:
  return nn.max_pool(x, (3, 3), strides=(2, 2), padding='VALID')


def _concatenate(*branches: jax.Array) -> jax.Array:
  return jnp.concatenate(branches, axis=-1)


# Of a map: its scope, channels and kernel, and perhaps stride and padding.
_Conv = Callable[..., jax.Array]


def _chain(
  conv: _Conv,
  x: jax.Array,
  scope: str,
  *layers: tuple[str, int, _Kernel],
) -> jax.Array:
  """Convolutions in a row; a layer is its scope, channels and kernel size."""
  for name, channels, kernel_size in layers:
    x = conv(x, f'{scope}/{name}', channels, kernel_size)
  return x


def _pooled(conv: _Conv, x: jax.Array, block: str, channels: int) -> jax.Array:
  """Branch 3: an average, then a 1×1 convolution."""
  x = slim.average_pool_same(x, 3)
  return conv(x, f'{block}/Branch_3/Conv2d_0b_1x1', channels, 1)


def _stem(conv: _Conv, x: jax.Array) -> jax.Array:
  x = conv(x, 'Conv2d_1a_3x3', 32, 3, 2, 'VALID')
  x = conv(x, 'Conv2d_2a_3x3', 32, 3, 1, 'VALID')
  x = conv(x, 'Conv2d_2b_3x3', 64, 3)
  x = _max_pool(x)
  x = conv(x, 'Conv2d_3b_1x1', 80, 1, 1, 'VALID')
  x = conv(x, 'Conv2d_4a_3x3', 192, 3, 1, 'VALID')
  return _max_pool(x)


def _square(
  conv: _Conv, x: jax.Array, block: str, *, narrow: str, wide: str, pooled: int
) -> jax.Array:
  """Branches of square kernels: 1×1, 5×5, and twice 3×3."""
  return _concatenate(
    _chain(conv, x, f'{block}/Branch_0', ('Conv2d_0a_1x1', 64, 1)),
    _chain(conv, x, f'{block}/Branch_1', (narrow, 48, 1), (wide, 64, 5)),
    _chain(
      conv,
      x,
      f'{block}/Branch_2',
      ('Conv2d_0a_1x1', 64, 1),
      ('Conv2d_0b_3x3', 96, 3),
      ('Conv2d_0c_3x3', 96, 3),
    ),
    _pooled(conv, x, block, pooled),
  )


def _reduce_to_17(conv: _Conv, x: jax.Array) -> jax.Array:
  # The strided scopes say 1x1; the kernels are 3×3.
  inner = _chain(
    conv,
    x,
    'Mixed_6a/Branch_1',
    ('Conv2d_0a_1x1', 64, 1),
    ('Conv2d_0b_3x3', 96, 3),
  )
  return _concatenate(
    conv(x, 'Mixed_6a/Branch_0/Conv2d_1a_1x1', 384, 3, 2, 'VALID'),
    conv(inner, 'Mixed_6a/Branch_1/Conv2d_1a_1x1', 96, 3, 2, 'VALID'),
    _max_pool(x),
  )


def _factored(
  conv: _Conv, x: jax.Array, block: str, *, inner: int
) -> jax.Array:
  """Branches of 7×7 kernels, each factored into 1×7 and 7×1."""
  return _concatenate(
    _chain(conv, x, f'{block}/Branch_0', ('Conv2d_0a_1x1', 192, 1)),
    _chain(
      conv,
      x,
      f'{block}/Branch_1',
      ('Conv2d_0a_1x1', inner, 1),
      ('Conv2d_0b_1x7', inner, (1, 7)),
      ('Conv2d_0c_7x1', 192, (7, 1)),
    ),
    _chain(
      conv,
      x,
      f'{block}/Branch_2',
      ('Conv2d_0a_1x1', inner, 1),
      ('Conv2d_0b_7x1', inner, (7, 1)),
      ('Conv2d_0c_1x7', inner, (1, 7)),
      ('Conv2d_0d_7x1', inner, (7, 1)),
      ('Conv2d_0e_1x7', 192, (1, 7)),
    ),
    _pooled(conv, x, block, 192),
  )


def _reduce_to_8(conv: _Conv, x: jax.Array) -> jax.Array:
  branch_0 = conv(x, 'Mixed_7a/Branch_0/Conv2d_0a_1x1', 192, 1)
  branch_1 = _chain(
    conv,
    x,
    'Mixed_7a/Branch_1',
    ('Conv2d_0a_1x1', 192, 1),
    ('Conv2d_0b_1x7', 192, (1, 7)),
    ('Conv2d_0c_7x1', 192, (7, 1)),
  )
  return _concatenate(
    conv(branch_0, 'Mixed_7a/Branch_0/Conv2d_1a_3x3', 320, 3, 2, 'VALID'),
    conv(branch_1, 'Mixed_7a/Branch_1/Conv2d_1a_3x3', 192, 3, 2, 'VALID'),
    _max_pool(x),
  )


def _forked(
  conv: _Conv, x: jax.Array, block: str, *, vertical: str
) -> jax.Array:
  """Branches that end in a 1×3 beside a 3×1."""
  branch_1 = conv(x, f'{block}/Branch_1/Conv2d_0a_1x1', 384, 1)
  branch_2 = _chain(
    conv,
    x,
    f'{block}/Branch_2',
    ('Conv2d_0a_1x1', 448, 1),
    ('Conv2d_0b_3x3', 384, 3),
  )
  return _concatenate(
    conv(x, f'{block}/Branch_0/Conv2d_0a_1x1', 320, 1),
    conv(branch_1, f'{block}/Branch_1/Conv2d_0b_1x3', 384, (1, 3)),
    conv(branch_1, f'{block}/Branch_1/{vertical}', 384, (3, 1)),
    conv(branch_2, f'{block}/Branch_2/Conv2d_0c_1x3', 384, (1, 3)),
    conv(branch_2, f'{block}/Branch_2/Conv2d_0d_3x1', 384, (3, 1)),
    _pooled(conv, x, block, 192),
  )


class InceptionV3(nn.Module):
  """Inception-v3.

  Attributes:
    num_classes: Z, or None for a network without a head.
    width: of every layer, relative to the original's; no layer has fewer than
      16 channels.
  """

  num_classes: int | None = None
  width: float = 1.0

  @nn.compact
  def __call__(
    self, images: jax.Array, *, train: bool = False
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
    height, width = images.shape[1:3]
    if min(height, width) < _MIN_SIZE:
      raise ValueError(
        f'Inception-v3 cannot take images of {height}×{width}: its unpadded '
        f'strides need {_MIN_SIZE}×{_MIN_SIZE} or more.'
      )

    def conv(x, name, channels, kernel_size, stride=1, padding='SAME'):
      channels = max(int(channels * self.width), _MIN_CHANNELS)
      return slim.Conv(channels, kernel_size, stride, padding, name=name)(
        x, train=train
      )

    x = _stem(conv, images)
    for name, (narrow, wide, pooled) in _SQUARE.items():
      x = _square(conv, x, name, narrow=narrow, wide=wide, pooled=pooled)
    x = _reduce_to_17(conv, x)
    for name, inner in _FACTORED.items():
      x = _factored(conv, x, name, inner=inner)
    x = _reduce_to_8(conv, x)
    for name, vertical in _FORKED.items():
      x = _forked(conv, x, name, vertical=vertical)
    window = (min(x.shape[1], _WINDOW), min(x.shape[2], _WINDOW))
    x = nn.avg_pool(x, window, strides=(2, 2), padding='VALID')
    features = jnp.mean(x, axis=(1, 2))
    logits = None
    if self.num_classes is not None:
      x = nn.Dropout(_DROPOUT, deterministic=not train)(x)
      x = slim.Conv(
        self.num_classes,
        1,
        normalize=False,
        activation=slim.identity,
        name='Logits/Conv2d_1c_1x1',
      )(x, train=train)
      logits = jnp.mean(x, axis=(1, 2))
    return outputs.Outputs(features, logits)
