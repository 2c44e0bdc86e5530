# SPDX-License-Identifier: Apache-2.0
"""The discriminator of BigGAN in the form of compare_gan.

Modules are named after its scopes. There is no BatchNorm; every kernel is
divided by an estimate of its largest singular value, in inference too, by one
step of power iteration from a stored vector. Features are the sum, not the
mean, over space. The original's own output, whether an image is real, is left
out: it tells no classes apart.

Axes: B batch, H, W space, C channels, D features, Z source classes.

Reference: Brock et al., "Large Scale GAN Training for High Fidelity Natural
Image Synthesis", ICLR 2019; spectral normalisation as in Miyato et al.,
"Spectral Normalization for Generative Adversarial Networks", ICLR 2018,
algorithm 1; the attention of Zhang et al., "Self-Attention Generative
Adversarial Networks", ICML 2019.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float

from neucrab_jax.models import outputs, pooling, slim
from neucrab_jax.typing import Array

_EPSILON = 1e-12  # Of normalising a vector: its least squared length.


def _normalize(x: Array) -> Array:
  return x * jax.lax.rsqrt(jnp.maximum(jnp.sum(x**2), _EPSILON))


def _power_iteration(matrix: Array, u: Array) -> tuple[Array, Array]:
  """One step towards the largest singular value.

  Args:
    matrix: [M, N].
    u: [M, 1], about the first left singular vector, or [1, N], the right one.

  Returns:
    The singular value, and the new u.
  """
  left = u.shape[0] == matrix.shape[0]
  one = matrix.T if left else matrix
  u = u.reshape(-1)
  v = _normalize(jnp.matmul(one, u, precision=slim.PRECISION))
  u = _normalize(jnp.matmul(one.T, v, precision=slim.PRECISION))
  u, v = jax.lax.stop_gradient((u, v))
  value = v @ jnp.matmul(one, u, precision=slim.PRECISION)
  return value, u.reshape((-1, 1) if left else (1, -1))


class _SpectralConv(nn.Module):
  """A convolution whose kernel has a largest singular value of about one."""

  features: int
  kernel_size: int
  use_bias: bool = True

  @nn.compact
  def __call__(
    self, x: Float[Array, 'B H W _'], *, train: bool
  ) -> Float[Array, 'B _ _ _']:
    shape = (self.kernel_size, self.kernel_size, x.shape[-1], self.features)
    kernel = self.param('kernel', nn.initializers.normal(0.02), shape)
    matrix = kernel.reshape(-1, self.features)
    rows, columns = matrix.shape
    u: nn.Variable[Array] = self.variable(
      'batch_stats',
      'kernel/u_var',
      lambda: jax.random.normal(
        self.make_rng('params'), (rows, 1) if rows <= columns else (1, columns)
      ),
    )
    norm, updated = _power_iteration(matrix, u.value)
    if train and not self.is_initializing():
      u.value = updated
    x = slim.convolve(
      x,
      kernel / norm,
      strides=(1, 1),
      padding='SAME',
      dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
      precision=slim.PRECISION,
    )
    if self.use_bias:
      x = x + self.param('bias', nn.initializers.zeros, (self.features,))
    return x


def _halve(x: Array) -> Array:
  return nn.avg_pool(
    x, (2, 2), strides=(2, 2), padding='SAME', count_include_pad=False
  )


class _Attention(nn.Module):
  """Adds what other places of the map, at half the resolution, have to say."""

  @nn.compact
  def __call__(
    self, x: Float[Array, 'B H W _'], *, train: bool
  ) -> Float[Array, 'B _ _ _']:
    batch, height, width, channels = x.shape

    def conv(x, name, features):
      return _SpectralConv(features, 1, use_bias=False, name=name)(
        x, train=train
      )

    def pooled(x):
      return pooling.max_pool(x, 2, 2, 'VALID')

    def flat(x):
      return x.reshape(batch, -1, x.shape[-1])

    theta = flat(conv(x, 'conv2d_theta', channels // 8))
    phi = flat(pooled(conv(x, 'conv2d_phi', channels // 8)))
    g = flat(pooled(conv(x, 'conv2d_g', channels // 2)))
    attention = nn.softmax(
      jnp.einsum('bic,bjc->bij', theta, phi, precision=slim.PRECISION)
    )
    y = jnp.einsum('bij,bjc->bic', attention, g, precision=slim.PRECISION)
    y = y.reshape(batch, height, width, channels // 2)
    sigma = self.param('sigma', nn.initializers.zeros, ())
    return x + sigma * conv(y, 'conv2d_attn_g', channels)


class _Block(nn.Module):
  """A residual block; unless it is the last one, it halves the map."""

  features: int
  last: bool

  @nn.compact
  def __call__(
    self, x: Float[Array, 'B H W _'], *, train: bool
  ) -> Float[Array, 'B _ _ _']:
    scale = 'same' if self.last else 'down'
    y = nn.relu(x)
    y = _SpectralConv(self.features, 3, name='same_conv1')(y, train=train)
    y = nn.relu(y)
    y = _SpectralConv(self.features, 3, name=f'{scale}_conv2')(y, train=train)
    if not self.last:
      y = _halve(y)
    if x.shape[-1] == self.features:
      return y  # Then there is no shortcut at all.
    shortcut = _SpectralConv(self.features, 1, name=f'{scale}_conv_shortcut')(
      x, train=train
    )
    return y + (shortcut if self.last else _halve(shortcut))


class BigGANDiscriminator(nn.Module):
  """The discriminator, as a feature extractor.

  Attributes:
    width: the channels of the first block.
    multiples: of that, the channels of each block; those for 128 px.
    num_classes: Z, or None for a network without a head.
  """

  width: int = 96
  multiples: Sequence[int] = (1, 2, 4, 8, 16, 16)
  num_classes: int | None = None

  @nn.compact
  def __call__(
    self, images: Float[Array, 'B H W 3'], *, train: bool = False
  ) -> outputs.Outputs:
    """Maps images to features and, where there is a head, to logits.

    Args:
      images: [B, H, W, 3], in [0, 1]; H and W of 4 or more.
      train: whether the estimates of singular values are updated.

    Returns:
      features [B, D], with D = width · the last of `multiples`, and logits
      [B, Z], or None without a head.

    Raises:
      ValueError: if the images are too small.
    """
    height, width = images.shape[1:3]
    if min(height, width) < 4:
      raise ValueError(
        f'The BigGAN discriminator cannot take images of {height}×{width}: '
        'its attention needs 4×4 or more.'
      )
    x = images
    for index, multiple in enumerate(self.multiples, start=1):
      last = index == len(self.multiples)
      x = _Block(self.width * multiple, last, name=f'B{index}')(x, train=train)
      if index == 1:
        x = _Attention(name='non_local_block')(x, train=train)
    features = jnp.sum(nn.relu(x), axis=(1, 2))
    logits = slim.dense_head(
      features, self.num_classes, name='classes', dropout=0.0, train=train
    )
    return outputs.Outputs(features, logits)
