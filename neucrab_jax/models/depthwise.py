# SPDX-License-Identifier: Apache-2.0
"""Depthwise convolution, fast where the network runs.

XLA's grouped convolution is 25 to 75 times slower on a CPU than as many shifted
multiply-adds of the same arithmetic; on GPU and TPU it is the faster one. So
with jaxlib 0.10; `experiments.benchmarks.workarounds` tells when it is not.

Axes: B batch, H, W space, C channels, M multiplier.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float

from neucrab_jax.models import slim
from neucrab_jax.typing import Array

# 'SAME' as TensorFlow has it, or what is added before and after each axis.
Padding = str | Sequence[tuple[int, int]]


def _multiply_add(
  x: Array, kernel: Array, stride: int, padding: Padding
) -> Any:
  height, width, channels, multiplier = kernel.shape
  seen = slim.windows(x, (height, width), (stride, stride), padding)
  places = kernel.reshape(-1, channels, multiplier)
  total: Any = sum(
    window[..., None] * place
    for window, place in zip(seen, places, strict=True)
  )
  return total.reshape(*total.shape[:3], channels * multiplier)


# The gradient of so many shifted copies would be as many programs.
_multiply_add_once = jax.custom_vjp(_multiply_add, nondiff_argnums=(2, 3))


def _forward(x: Array, kernel: Array, stride: int, padding: Padding) -> Any:
  return _multiply_add(x, kernel, stride, padding), (x, kernel)


def _backward(
  stride: int, padding: Padding, inputs: tuple[Any, Any], gradient: Any
) -> tuple[Any, Any]:
  """By x, a convolution with the mirrored kernel; by the kernel, a loop."""
  x, kernel = inputs
  size = kernel.shape[:2]
  assert not isinstance(padding, str)
  last = stride - 1
  between = jax.lax.pad(
    gradient,
    jnp.zeros((), gradient.dtype),
    [(0, 0, 0), (0, 0, last), (0, 0, last), (0, 0, 0)],
  )
  around = [
    (side - 1 - before, length + before - spread)
    for side, (before, _), length, spread in zip(
      size, padding, x.shape[1:3], between.shape[1:3], strict=True
    )
  ]
  by_x = _multiply_add(
    jax.lax.pad(
      between,
      jnp.zeros((), gradient.dtype),
      [(0, 0, 0), *((low, high, 0) for low, high in around), (0, 0, 0)],
    ),
    kernel[::-1, ::-1],
    1,
    ((0, 0), (0, 0)),
  )
  padded = jnp.pad(x, [(0, 0), *padding, (0, 0)])
  lengths = between.shape[1:3]

  def by_place(place: jax.Array) -> jax.Array:
    window = jax.lax.dynamic_slice(
      padded,
      (0, place // size[1], place % size[1], 0),
      (len(x), *lengths, x.shape[-1]),
    )
    return jnp.sum(window[:, ::stride, ::stride] * gradient, axis=(0, 1, 2))

  by_kernel = jax.lax.map(by_place, jnp.arange(size[0] * size[1]))
  return by_x, by_kernel.reshape(kernel.shape)


_multiply_add_once.defvjp(_forward, _backward)


def shifted(
  x: Float[Array, 'B H W C'],
  kernel: Float[Array, 'h w C M'],
  *,
  stride: int,
  padding: Padding = 'SAME',
) -> Float[Array, 'B _ _ C*M']:
  """As `depthwise_conv`, a multiply-add for each place of the kernel."""
  size = kernel.shape[:2]
  if kernel.shape[-1] != 1:
    return _multiply_add(x, kernel, stride, padding)
  if isinstance(padding, str):
    padding = jax.lax.padtype_to_pads(
      x.shape[1:3], size, (stride, stride), padding
    )
  return _multiply_add_once(x, kernel, stride, tuple(map(tuple, padding)))


def grouped(
  x: Float[Array, 'B H W C'],
  kernel: Float[Array, 'h w C M'],
  *,
  stride: int,
  padding: Padding = 'SAME',
) -> Float[Array, 'B _ _ C*M']:
  """As `depthwise_conv`, by XLA's own convolution."""
  height, width, channels, multiplier = kernel.shape
  return jax.lax.conv_general_dilated(
    jnp.asarray(x),
    jnp.reshape(kernel, (height, width, 1, channels * multiplier)),
    window_strides=(stride, stride),
    padding=padding,
    dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
    feature_group_count=channels,
    precision=slim.PRECISION,
  )


def depthwise_conv(
  x: Float[Array, 'B H W C'],
  kernel: Float[Array, 'h w C M'],
  *,
  stride: int = 1,
  padding: Padding = 'SAME',
) -> Float[Array, 'B _ _ C*M']:
  """Convolves each channel with M kernels of its own.

  Args:
    x: [B, H, W, C]
    kernel: [h, w, C, M], as TensorFlow stores it.
    stride: of both axes.
    padding: 'SAME' as TensorFlow has it, or pairs.

  Returns:
    [B, _, _, C M]; with 'SAME', [B, ⌈H / stride⌉, ⌈W / stride⌉, C M].
  """
  return jax.lax.platform_dependent(
    x,
    kernel,
    cpu=functools.partial(shifted, stride=stride, padding=padding),
    default=functools.partial(grouped, stride=stride, padding=padding),
  )


class DepthwiseConv(nn.Module):
  """A depthwise convolution with BatchNorm and an activation, as in slim.

  Attributes:
    kernel_size: of both axes.
    stride: of both axes.
    decay: of BatchNorm's moving averages.
    activation: comes last.
  """

  kernel_size: int = 3
  stride: int = 1
  decay: float = slim.DECAY
  activation: Callable[[Array], Array] = nn.relu6

  @nn.compact
  def __call__(
    self, x: Float[Array, 'B H W _'], *, train: bool
  ) -> Float[Array, 'B _ _ _']:
    kernel = self.param(
      'depthwise_kernel',
      # A filter sees one channel.
      nn.initializers.he_normal(in_axis=(0, 1), out_axis=(2, 3)),
      (self.kernel_size, self.kernel_size, x.shape[-1], 1),
    )
    x = depthwise_conv(x, kernel, stride=self.stride)
    x = nn.BatchNorm(
      use_running_average=not train,
      momentum=self.decay,
      epsilon=slim.EPSILON,
      name='BatchNorm',
    )(x)
    return self.activation(x)
