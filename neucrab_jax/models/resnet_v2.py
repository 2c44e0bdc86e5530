# SPDX-License-Identifier: Apache-2.0
"""Pre-activation residual networks (ResNet-v2) in the form of TF-slim.

Modules are named after TF-slim's scopes, so that a reader of its checkpoints is
one generic rule. What is peculiar to slim: a block strides in its *last* unit,
in the 3×3 convolution; a strided convolution pads explicitly and symmetrically;
an identity shortcut strides by subsampling; a projection shortcut reads the
pre-activation and has a bias but no BatchNorm.

Axes: B batch, H, W space, D features, Z source classes.

Reference: He et al., "Identity Mappings in Deep Residual Networks", ECCV 2016.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from neucrab_jax.models import outputs, pooling, slim
from neucrab_jax.typing import Array

# slim's resnet_arg_scope: batch_norm_epsilon and batch_norm_decay.
_EPSILON = 1e-5
_DECAY = 0.997


class _BatchNormRelu(nn.Module):
  """BatchNorm, then ReLU."""

  decay: float

  @nn.compact
  def __call__(
    self, x: Float[Array, 'B H W _'], *, train: bool
  ) -> Float[Array, 'B _ _ _']:
    norm = nn.BatchNorm(
      use_running_average=not train, momentum=self.decay, epsilon=_EPSILON
    )
    # The statistics belong to this scope itself, as in slim.
    nn.share_scope(self, norm)
    return nn.relu(norm(x))


class _Conv(nn.Module):
  """Convolution with slim's explicit padding, followed by BatchNorm or a bias.

  The BatchNorm is a child of the convolution's own scope, as in slim.
  """

  features: int
  kernel_size: int
  decay: float
  stride: int = 1
  normalize: bool = False

  @nn.compact
  def __call__(
    self, x: Float[Array, 'B H W _'], *, train: bool
  ) -> Float[Array, 'B _ _ _']:
    before = (self.kernel_size - 1) // 2
    after = self.kernel_size - 1 - before
    conv = nn.Conv(
      self.features,
      (self.kernel_size, self.kernel_size),
      strides=self.stride,
      padding=((before, after), (before, after)),
      use_bias=not self.normalize,
      kernel_init=nn.initializers.he_normal(),
      precision=slim.PRECISION,
      conv_general_dilated=slim.convolve,
    )
    nn.share_scope(self, conv)
    x = conv(x)
    if self.normalize:
      x = _BatchNormRelu(self.decay, name='BatchNorm')(x, train=train)
    return x


class _Bottleneck(nn.Module):
  """A residual unit: 1×1, 3×3 and 1×1 convolutions around a shortcut."""

  width: int
  depth: int
  stride: int
  decay: float

  @nn.compact
  def __call__(
    self, x: Float[Array, 'B H W _'], *, train: bool
  ) -> Float[Array, 'B _ _ _']:
    preact = _BatchNormRelu(self.decay, name='preact')(x, train=train)
    if x.shape[-1] == self.depth:
      shortcut = x[:, :: self.stride, :: self.stride]
    else:
      shortcut = _Conv(self.depth, 1, self.decay, self.stride, name='shortcut')(
        preact, train=train
      )
    x = _Conv(self.width, 1, self.decay, normalize=True, name='conv1')(
      preact, train=train
    )
    x = _Conv(
      self.width, 3, self.decay, self.stride, normalize=True, name='conv2'
    )(x, train=train)
    x = _Conv(self.depth, 1, self.decay, name='conv3')(x, train=train)
    return shortcut + x


class ResNetV2(nn.Module):
  """A ResNet-v2 with bottleneck units.

  Attributes:
    units: how many units each block has.
    width: the inner width of the first block; it doubles with every block.
    expansion: the outer width of a unit, in units of its inner width.
    num_classes: Z, or None for a network without a head.
    root_kernel: size of the first convolution, of stride 2.
    root_pool: whether a 3×3/2 max-pool follows it.
    decay: of the moving averages of BatchNorm.
  """

  units: Sequence[int]
  width: int = 64
  expansion: int = 4
  num_classes: int | None = None
  root_kernel: int = 7
  root_pool: bool = True
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
      features [B, D], with D = expansion · width · 2^(blocks − 1), and logits
      [B, Z], or None without a head.
    """
    x = _Conv(
      self.width,
      self.root_kernel,
      self.decay,
      stride=2,
      name='conv1',
    )(images, train=train)
    if self.root_pool:
      x = pooling.max_pool(x, 3, 2)
    for block, count in enumerate(self.units, start=1):
      width = self.width * 2 ** (block - 1)
      for unit in range(1, count + 1):
        strides = unit == count and block < len(self.units)
        x = _Bottleneck(
          width=width,
          depth=self.expansion * width,
          stride=2 if strides else 1,
          decay=self.decay,
          name=f'block{block}/unit_{unit}/bottleneck_v2',
        )(x, train=train)
    x = _BatchNormRelu(self.decay, name='postnorm')(x, train=train)
    features = jnp.mean(x, axis=(1, 2))
    logits = None
    if self.num_classes is not None:
      logits = _Conv(self.num_classes, 1, self.decay, name='logits')(
        features[:, None, None, :], train=train
      )[:, 0, 0, :]
    return outputs.Outputs(features, logits)
