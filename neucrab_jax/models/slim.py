# SPDX-License-Identifier: Apache-2.0
"""What the convolutional networks of TF-slim are made of.

Modules and variables are named after slim's scopes; see `checkpoints.naming`.

Axes: B batch, H, W space, C channels.
"""

from collections.abc import Callable, Sequence

import flax.linen as nn
import jax

# Features are compared to 2e-5, which TF32 and bf16 would not reach.
PRECISION = jax.lax.Precision.HIGHEST

# Of BatchNorm in slim's Inception and MobileNet.
EPSILON = 1e-3
DECAY = 0.9997


def identity(x: jax.Array) -> jax.Array:
  return x


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
