# SPDX-License-Identifier: Apache-2.0
"""What Inception-v3, -v4 and Inception-ResNet-v2 are made of.

A block is a table: for each of its branches the layers in their order. A layer
is a convolution (its scope, channels and kernel size, and perhaps stride and
padding), a function such as a pool, or a `Fork`.

Axes: B batch, H, W space, C channels.
"""

from collections.abc import Callable, Sequence

import jax.numpy as jnp
from jaxtyping import Float

from neucrab_jax.models import pooling, slim
from neucrab_jax.typing import Array

# What the five unpadded strides of the three networks leave one cell of.
MIN_SIZE = 75

_MIN_CHANNELS = 16  # slim's min_depth.


class Fork(tuple):
  """Convolutions beside each other, over the same map."""

  def __new__(cls, *layers):
    return super().__new__(cls, layers)


Function = Callable[[Array], Array]
Layer = tuple | Function
Branches = Sequence[Sequence[Layer]]

# Of a map, its scope, channels and kernel size, and perhaps stride and padding.
Conv = Callable[..., Array]


def check_size(images: Float[Array, 'B H W 3'], network: str) -> None:
  """Refuses images that would leave nothing.

  Raises:
    ValueError: if the images are too small.
  """
  height, width = images.shape[1:3]
  if min(height, width) < MIN_SIZE:
    raise ValueError(
      f'{network} cannot take images of {height}×{width}: its unpadded strides '
      f'need {MIN_SIZE}×{MIN_SIZE} or more.'
    )


def convolutions(width: float, *, decay: float, train: bool) -> Conv:
  """The convolutions of a network, to be called in its own `__call__`.

  Args:
    width: of every layer, relative to the original's; no layer has fewer than
      16 channels.
    decay: see `slim.Conv`, like all that follow.
    train: whether BatchNorm uses, and updates, the statistics of the batch.
  """

  def conv(x, name, channels, kernel_size, stride=1, padding='SAME'):
    channels = max(int(channels * width), _MIN_CHANNELS)
    return slim.Conv(
      channels, kernel_size, stride, padding, decay=decay, name=name
    )(x, train=train)

  return conv


def average(x: Float[Array, 'B H W C']) -> Float[Array, 'B H W C']:
  return pooling.average_pool(x, 3)


def strided_max(x: Float[Array, 'B H W C']) -> Float[Array, 'B _ _ C']:
  return pooling.max_pool(x, 3, 2, 'VALID')


def stem(conv: Conv, x: Float[Array, 'B H W 3']) -> Float[Array, 'B _ _ _']:
  """Of Inception-v3 and Inception-ResNet-v2."""
  x = conv(x, 'Conv2d_1a_3x3', 32, 3, 2, 'VALID')
  x = conv(x, 'Conv2d_2a_3x3', 32, 3, 1, 'VALID')
  x = conv(x, 'Conv2d_2b_3x3', 64, 3)
  x = strided_max(x)
  x = conv(x, 'Conv2d_3b_1x1', 80, 1, 1, 'VALID')
  x = conv(x, 'Conv2d_4a_3x3', 192, 3, 1, 'VALID')
  return strided_max(x)


def mixed(
  conv: Conv, x: Float[Array, 'B H W C'], scope: str, branches: Branches
) -> Float[Array, 'B _ _ _']:
  """The branches of a block over the same map, concatenated."""

  def apply(x: Array, scope: str, layer: Layer) -> Array:
    if isinstance(layer, Fork):
      prongs = [apply(x, scope, prong) for prong in layer]
      return jnp.concatenate(prongs, axis=-1)
    if callable(layer):
      return layer(x)
    name, *arguments = layer
    return conv(x, f'{scope}/{name}', *arguments)

  results = []
  for index, layers in enumerate(branches):
    y = x
    for layer in layers:
      y = apply(y, f'{scope}/Branch_{index}', layer)
    results.append(y)
  return jnp.concatenate(results, axis=-1)
