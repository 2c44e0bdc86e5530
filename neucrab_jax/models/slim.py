# SPDX-License-Identifier: Apache-2.0
"""What the convolutional networks of TF-slim are made of.

Modules and variables are named after slim's scopes; see `checkpoints.naming`.

Axes: B batch, H, W space, C channels.
"""

from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

# Features are compared to 2e-5, which TF32 and bf16 would not reach.
PRECISION = jax.lax.Precision.HIGHEST

# Of BatchNorm in slim's Inception and MobileNet.
EPSILON = 1e-3
DECAY = 0.9997


def identity(x: jax.Array) -> jax.Array:
  return x


def convolve(
  x: jax.Array,
  kernel: jax.Array,
  strides: Sequence[int],
  padding: str | Sequence[tuple[int, int]],
  **options: Any,
) -> jax.Array:
  """As `lax.conv_general_dilated`; a 1×1 kernel by a matmul, which it is.

  On a CPU, XLA's convolutions take longer for the same.
  """
  if kernel.shape[:2] != (1, 1):
    return jax.lax.conv_general_dilated(x, kernel, strides, padding, **options)
  seen = x[:, :: strides[0], :: strides[1]]
  return jnp.matmul(seen, kernel[0, 0], precision=options['precision'])


class Conv(nn.Module):
  """A convolution with BatchNorm, or with a bias, and an activation.

  The BatchNorm is a child of the convolution's own scope, as in slim.

  Attributes:
    features: the channels it makes.
    kernel_size: height and width, or both at once.
    stride: of both axes.
    padding: 'SAME', 'VALID', or pairs.
    normalize: with BatchNorm and no bias, or the other way round.
    use_scale: whether BatchNorm has a gamma.
    epsilon: of BatchNorm.
    decay: of BatchNorm's moving averages.
    activation: comes last.
  """

  features: int
  kernel_size: int | tuple[int, int]
  stride: int = 1
  padding: str | Sequence[tuple[int, int]] = 'SAME'
  normalize: bool = True
  use_scale: bool = False
  epsilon: float = EPSILON
  decay: float = DECAY
  activation: Callable[[jax.Array], jax.Array] = nn.relu

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
    kernel_size = self.kernel_size
    if isinstance(kernel_size, int):
      kernel_size = (kernel_size, kernel_size)
    conv = nn.Conv(
      self.features,
      kernel_size,
      strides=self.stride,
      padding=self.padding,
      use_bias=not self.normalize,
      kernel_init=nn.initializers.he_normal(),
      precision=PRECISION,
      conv_general_dilated=convolve,
    )
    nn.share_scope(self, conv)
    x = conv(x)
    if self.normalize:
      x = nn.BatchNorm(
        use_running_average=not train,
        momentum=self.decay,
        epsilon=self.epsilon,
        use_scale=self.use_scale,
        name='BatchNorm',
      )(x)
    return self.activation(x)


def average_pool_same(x: jax.Array, size: int) -> jax.Array:
  """Average of [B, H, W, C] over windows, at stride 1.

  Padding is left out of the mean, as TensorFlow does.
  """
  return nn.avg_pool(
    x, (size, size), strides=(1, 1), padding='SAME', count_include_pad=False
  )


def windowed_average(x: jax.Array, largest: int) -> jax.Array:
  """slim's last average of [B, H, W, C]: a window that the map may exceed.

  Its stride is 2 and nothing is padded, so that of a map a little larger than
  the window only the upper left part counts.
  """
  window = (min(x.shape[1], largest), min(x.shape[2], largest))
  return nn.avg_pool(x, window, strides=(2, 2), padding='VALID')


def head(
  x: jax.Array,
  num_classes: int | None,
  *,
  name: str,
  dropout: float,
  train: bool,
) -> jax.Array | None:
  """Dropout and a 1×1 convolution, averaged: [B, H, W, D] to [B, Z] logits.

  To be called within a module's own `__call__`; None without classes.
  """
  if num_classes is None:
    return None
  x = nn.Dropout(dropout, deterministic=not train)(x)
  x = Conv(num_classes, 1, normalize=False, activation=identity, name=name)(
    x, train=train
  )
  return jnp.mean(x, axis=(1, 2))


def dense_head(
  features: jax.Array,
  num_classes: int | None,
  *,
  name: str,
  dropout: float,
  train: bool,
) -> jax.Array | None:
  """As `head`, for the [B, D] features of networks with a dense layer."""
  if num_classes is None:
    return None
  x = nn.Dropout(dropout, deterministic=not train)(features)
  return nn.Dense(num_classes, precision=PRECISION, name=name)(x)
