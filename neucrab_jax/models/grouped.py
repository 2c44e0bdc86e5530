# SPDX-License-Identifier: Apache-2.0
"""Convolution in groups of channels, fast where the network runs.

On a CPU, XLA has a slow loop for groups of few channels. Several of them side
by side are one dense convolution whose kernel is zero between groups: more
arithmetic, and up to eight times as fast. So with jaxlib 0.10.

Axes: B batch, H, W space, C, D channels.
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Float

from neucrab_jax.models import depthwise, slim
from neucrab_jax.typing import Array

# Channels of a group from which on XLA's own is as fast.
_MANY = 16

# Channels of the groups side by side, and how many such convolutions, each of
# which is to be compiled.
_FEWEST, _MOST = 16, 64
_MOST_PARTS = 8

_ORDER = ('NHWC', 'HWIO', 'NHWC')


def _together(groups: int, channels: int) -> int:
  """How many groups of so many channels to convolve at once."""
  if channels >= _MANY:
    return 1
  return next(
    (
      n
      for n in range(2, groups + 1)
      if groups % n == 0
      and _FEWEST <= n * channels <= _MOST
      and groups // n <= _MOST_PARTS
    ),
    1,
  )


def _conv(
  x: Array, kernel: Array, *, groups: int, stride: int, padding
) -> jax.Array:
  return jax.lax.conv_general_dilated(
    jnp.asarray(x),
    jnp.asarray(kernel),
    (stride, stride),
    padding,
    dimension_numbers=_ORDER,
    feature_group_count=groups,
    precision=slim.PRECISION,
  )


def _side_by_side(
  x: Array, kernel: Array, *, groups: int, stride: int, padding
) -> jax.Array:
  height, width, channels, features = kernel.shape
  together = _together(groups, channels)
  if together == 1:
    return _conv(x, kernel, groups=groups, stride=stride, padding=padding)
  parts = groups // together
  each = features // groups
  kernel = kernel.reshape(height, width, channels, parts, together, each)
  # Zero between a group's channels and another's features.
  dense = jnp.einsum('hwcpmd,mn->phwncmd', kernel, jnp.eye(together))
  dense = dense.reshape(parts, height, width, together * channels, -1)
  outputs = [
    slim.convolve(
      part,
      matrix,
      (stride, stride),
      padding,
      dimension_numbers=_ORDER,
      precision=slim.PRECISION,
    )
    for part, matrix in zip(jnp.split(x, parts, -1), dense, strict=True)
  ]
  return jnp.concatenate(outputs, -1)


def grouped_conv(
  x: Float[Array, 'B H W C'],
  kernel: Float[Array, 'h w _ D'],
  *,
  groups: int,
  stride: int,
  padding: depthwise.Padding,
) -> Float[Array, 'B _ _ D']:
  """Convolves each group of channels with a kernel of its own.

  Args:
    x: [B, H, W, C]
    kernel: [h, w, C / groups, D]
    groups: how many.
    stride: of both axes.
    padding: 'SAME' as TensorFlow has it, or pairs.
  """
  options = {'groups': groups, 'stride': stride, 'padding': padding}
  return jax.lax.platform_dependent(
    x,
    kernel,
    cpu=functools.partial(_side_by_side, **options),
    default=functools.partial(_conv, **options),
  )
