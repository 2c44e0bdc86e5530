# SPDX-License-Identifier: Apache-2.0
"""What networks in PyTorch's layout are made of.

A module has the name that the checkpoint's scope has, dots included, so that a
variable's path joined by dots is its name there; only the last part differs:
`kernel` and `scale` are PyTorch's `weight`, `mean` and `var` its
`running_mean` and `running_var`.

Axes: B batch, H, W space, C, D channels.
"""

from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen import initializers
from jaxtyping import Float

from neucrab_jax.models import depthwise, grouped, pooling, slim
from neucrab_jax.models.pytorch.activations import Activation, gelu
from neucrab_jax.typing import Array

# torch.nn.BatchNorm2d's; its momentum is the share of what is new.
EPSILON = 1e-5
DECAY = 0.9

_ORDER = ('NHWC', 'HWIO', 'NHWC')


class Conv(nn.Module):
  """A convolution as PyTorch has it: padded on both sides alike.

  Attributes:
    features: the channels it makes.
    kernel_size: of both axes.
    stride: of both axes.
    padding: 'SAME' as TensorFlow has it, pairs, or None for half a kernel.
    groups: of channels, which don't see each other.
    use_bias: whether there is one.
  """

  features: int
  kernel_size: int = 1
  stride: int = 1
  padding: depthwise.Padding | None = None
  groups: int = 1
  use_bias: bool = False

  @nn.compact
  def __call__(self, x: Float[Array, 'B H W _']) -> Float[Array, 'B _ _ _']:
    size, channels = self.kernel_size, x.shape[-1]
    padding = self.padding
    if padding is None:
      padding = ((size // 2, size // 2), (size // 2, size // 2))
    kernel = self.param(
      'kernel',
      initializers.he_normal(),
      (size, size, channels // self.groups, self.features),
      jnp.float32,
    )
    if self.groups == channels == self.features:
      kernel = kernel.reshape(size, size, channels, 1)
      x = depthwise.depthwise_conv(
        x, kernel, stride=self.stride, padding=padding
      )
    elif self.groups > 1:
      x = grouped.grouped_conv(
        x, kernel, groups=self.groups, stride=self.stride, padding=padding
      )
    else:
      x = slim.convolve(
        x,
        kernel,
        (self.stride, self.stride),
        padding,
        dimension_numbers=_ORDER,
        precision=slim.PRECISION,
      )
    if self.use_bias:
      x = x + self.param(
        'bias', initializers.zeros, (self.features,), jnp.float32
      )
    return x


class PatchConv(nn.Module):
  """A convolution whose stride is its kernel: a product with each patch.

  What is less than a patch, at the right and below, is left out.

  Attributes:
    features: the channels it makes.
    size: of a patch's sides.
    use_bias: whether there is one.
  """

  features: int
  size: int
  use_bias: bool = True

  @nn.compact
  def __call__(self, x: Float[Array, 'B H W C']) -> Float[Array, 'B _ _ _']:
    b, height, width, channels = x.shape
    size = self.size
    rows, columns = height // size, width // size
    if not rows or not columns:
      raise ValueError(
        f'of {height}×{width} places there is no patch of {size}×{size}'
      )
    x = x[:, : rows * size, : columns * size]
    x = x.reshape(b, rows, size, columns, size, channels).swapaxes(2, 3)
    kernel = self.param(
      'kernel',
      initializers.lecun_normal(),
      (size, size, channels, self.features),
      jnp.float32,
    )
    flat = jnp.matmul(
      x.reshape(b * rows * columns, -1),
      kernel.reshape(-1, self.features),
      precision=slim.PRECISION,
    )
    if self.use_bias:
      flat = flat + self.param(
        'bias', initializers.zeros, (self.features,), jnp.float32
      )
    return flat.reshape(b, rows, columns, self.features)


class BatchNorm(nn.Module):
  """torch.nn.BatchNorm2d: it keeps the unbiased variance of a batch.

  Attributes:
    decay: of its moving averages.
    epsilon: added to the variance.
  """

  decay: float = DECAY
  epsilon: float = EPSILON

  @nn.compact
  def __call__(
    self, x: Float[Array, 'B H W C'], *, train: bool
  ) -> Float[Array, 'B H W C']:
    width = x.shape[-1]
    scale = self.param('scale', initializers.ones, (width,), jnp.float32)
    bias = self.param('bias', initializers.zeros, (width,), jnp.float32)
    means = self.variable(
      'batch_stats', 'mean', jnp.zeros, (width,), jnp.float32
    )
    variances = self.variable(
      'batch_stats', 'var', jnp.ones, (width,), jnp.float32
    )
    mean, variance = means.value, variances.value
    if train:
      mean = jnp.mean(x, axis=(0, 1, 2))
      variance = jnp.mean(jnp.square(x - mean), axis=(0, 1, 2))
      if not self.is_initializing():
        count = x.size // width
        unbiased = variance * (count / max(count - 1, 1))
        fresh = 1 - self.decay
        means.value = self.decay * means.value + fresh * mean
        variances.value = self.decay * variances.value + fresh * unbiased
    scale = scale * (1 / jnp.sqrt(variance + self.epsilon))
    return x * scale + (bias - mean * scale)


class LayerNorm(nn.Module):
  """A layer norm over the last axis.

  Its mean is a product with a vector: so what comes in is computed once and
  kept, where XLA would compute it anew for the mean, the variance and what
  comes out, on a CPU in a loop thirty times as slow. So with jaxlib 0.10.

  Attributes:
    epsilon: added to the variance.
  """

  epsilon: float

  @nn.compact
  def __call__(self, x: Float[Array, '*B C']) -> Float[Array, '*B C']:
    width = x.shape[-1]
    scale = self.param('scale', initializers.ones, (width,), jnp.float32)
    bias = self.param('bias', initializers.zeros, (width,), jnp.float32)
    flat = x.reshape(-1, width)
    ones = jnp.full((width, 1), 1 / width, x.dtype)
    flat = flat - jnp.matmul(flat, ones, precision=slim.PRECISION)
    variance = jnp.mean(jnp.square(flat), axis=-1, keepdims=True)
    flat = flat * jax.lax.rsqrt(variance + self.epsilon) * scale + bias
    return flat.reshape(x.shape)


def layer_norm(epsilon: float, name: str) -> LayerNorm:
  return LayerNorm(epsilon, name=name)


class Dense(nn.Module):
  """A linear layer over the last axis.

  Attributes:
    features: the channels it makes.
    use_bias: whether there is one.
  """

  features: int
  use_bias: bool = True

  @nn.compact
  def __call__(self, x: Float[Array, '*B C']) -> Float[Array, '*B _']:
    kernel = self.param(
      'kernel',
      initializers.lecun_normal(),
      (x.shape[-1], self.features),
      jnp.float32,
    )
    # Of two axes, the product is the faster one on a CPU.
    flat = jnp.matmul(
      x.reshape(-1, x.shape[-1]), kernel, precision=slim.PRECISION
    )
    if self.use_bias:
      flat = flat + self.param(
        'bias', initializers.zeros, (self.features,), jnp.float32
      )
    return flat.reshape(*x.shape[:-1], self.features)


class StochasticDepth(nn.Module):
  """Leaves a branch of some examples out in training, all of it at once.

  Attributes:
    rate: of the examples without it.
  """

  rate: float

  @nn.compact
  def __call__(self, x: Float[Array, 'B *R'], *, train: bool) -> Any:
    each = tuple(range(1, x.ndim))
    return nn.Dropout(self.rate, broadcast_dims=each)(
      x, deterministic=not train
    )


class Scale(nn.Module):
  """Scales each channel by a number of its own.

  Attributes:
    variable: what the checkpoint calls it.
  """

  variable: str = 'gamma'

  @nn.compact
  def __call__(self, x: Float[Array, '*B C']) -> Float[Array, '*B C']:
    return x * self.param(
      self.variable, initializers.ones, (x.shape[-1],), jnp.float32
    )


class Mlp(nn.Module):
  """Two dense layers.

  Attributes:
    hidden: channels between them.
    activation: after the first.
    dropout: after both.
    gated: whether half of the hidden channels gate the others, the first half
      by `activation`.
  """

  hidden: int
  activation: Activation = gelu
  dropout: float = 0.0
  gated: bool = False

  @nn.compact
  def __call__(
    self, x: Float[Array, '*B C'], *, train: bool
  ) -> Float[Array, '*B C']:
    width = x.shape[-1]
    x = Dense(self.hidden, name='fc1')(x)
    if self.gated:
      gate, x = jnp.split(x, 2, axis=-1)
      x = self.activation(gate) * x
    else:
      x = self.activation(x)
    x = nn.Dropout(self.dropout)(x, deterministic=not train)
    x = Dense(width, name='fc2')(x)
    return nn.Dropout(self.dropout)(x, deterministic=not train)


class SqueezeExcite(nn.Module):
  """Scales each channel by what all channels say on average.

  Attributes:
    hidden: channels between its two layers.
    names: of the two.
    activation: after the first.
    gate: after the second.
    average: from a map to what they read.
  """

  hidden: int
  names: tuple[str, str] = ('fc1', 'fc2')
  activation: Activation = nn.relu
  gate: Activation = nn.sigmoid
  average: Callable[[Array], Any] = pooling.global_average

  @nn.compact
  def __call__(self, x: Float[Array, 'B H W C']) -> Float[Array, 'B H W C']:
    first, second = self.names
    y = self.average(x)[:, None, None]
    y = Conv(self.hidden, use_bias=True, name=first)(y)
    y = Conv(x.shape[-1], use_bias=True, name=second)(self.activation(y))
    return x * self.gate(y)


def head(
  features: Float[Array, 'B D'],
  num_classes: int | None,
  *,
  name: str,
  dropout: float,
  train: bool,
  use_bias: bool = True,
) -> Float[Array, 'B Z'] | None:
  """Logits, or None without classes; called within a module's own call."""
  if num_classes is None:
    return None
  x = nn.Dropout(dropout)(features, deterministic=not train)
  return Dense(num_classes, use_bias=use_bias, name=name)(x)


def depth_rates(most: float, depths: Sequence[int]) -> list[list[float]]:
  """Rates of stochastic depth that grow with the block, by stage."""
  count = sum(depths)
  rates = [most * i / max(count - 1, 1) for i in range(count)]
  starts = [sum(depths[:i]) for i in range(len(depths))]
  return [rates[s : s + d] for s, d in zip(starts, depths, strict=True)]
