# SPDX-License-Identifier: Apache-2.0
"""Pooling by a few shifted copies of the map.

XLA's reductions, of windows and of whole maps, take several times as long on a
CPU. So with jaxlib 0.10; `experiments.benchmarks.workarounds` tells when they
do not.

Axes: B batch, H, W space, C channels.
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

# Parts of a map that are added to each other, at most.
_MOST_PARTS = 8


def _reduce_windows(
  x: Array,
  *,
  combine: Callable[[Array, Array], Array],
  fill: float,
  size: int,
  stride: int,
  padding: str | Sequence[tuple[int, int]],
) -> Array:
  """Combines what a window of [B, H, W, C] sees, one axis after the other."""
  if isinstance(padding, str):
    padding = jax.lax.padtype_to_pads(
      x.shape[1:3], (size, size), (stride, stride), padding
    )
  rows, columns = padding
  for window, strides, around in (
    ((size, 1), (stride, 1), (rows, (0, 0))),
    ((1, size), (1, stride), ((0, 0), columns)),
  ):
    seen = slim.windows(x, window, strides, around, fill=fill)
    x = functools.reduce(combine, seen)
  return x


def average_pool(
  x: Float[Array, 'B H W C'], size: int
) -> Float[Array, 'B H W C']:
  """Average of [B, H, W, C] over windows, at stride 1 with padding 'SAME'.

  Padding is left out of the mean, as TensorFlow does.
  """
  total, count = (
    _reduce_windows(
      y, combine=jnp.add, fill=0, size=size, stride=1, padding='SAME'
    )
    for y in (x, jnp.ones((1, *x.shape[1:3], 1), x.dtype))
  )
  return total / count


def max_pool(
  x: Float[Array, 'B H W C'],
  size: int,
  stride: int,
  padding: str | Sequence[tuple[int, int]] = 'SAME',
) -> Float[Array, 'B _ _ C']:
  """Maximum of [B, H, W, C] over windows; the gradient goes to the first."""
  plain = functools.partial(
    nn.max_pool,
    window_shape=(size, size),
    strides=(stride, stride),
    padding=padding,  # type: ignore
  )
  shifted = functools.partial(
    _reduce_windows,
    combine=jnp.maximum,
    fill=-jnp.inf,
    size=size,
    stride=stride,
    padding=padding,
  )
  return slim.differentiated_as(plain, shifted)(x)


def windowed_average(
  x: Float[Array, 'B H W C'], largest: int
) -> Float[Array, 'B _ _ C']:
  """slim's last average of [B, H, W, C]: a window that the map may exceed.

  Its stride is 2 and nothing is padded, so that of a map a little larger than
  the window only the upper left part counts.
  """
  window = (min(x.shape[1], largest), min(x.shape[2], largest))
  return nn.avg_pool(x, window, strides=(2, 2), padding='VALID')


def plain_average(x: Float[Array, 'B H W C']) -> Float[Array, 'B C']:
  """As `global_average`, in XLA's order of sums.

  For MobileNet-v3, whose hard gates amplify rounding: with the weights that it
  was compared by, features are 1.5e-5 from PyTorch's, and 2e-5 to 6e-5 by other
  orders (`experiments.parity_torch`).
  """
  return jnp.mean(x, axis=(1, 2))


def _mean_of_parts(x: Array) -> Any:
  """As `plain_average`: parts of the map are added until one is left."""
  b, height, width, channels = x.shape
  places = height * width
  # Summed as `jnp.mean` does it.
  total: Any = x.astype(jnp.promote_types(x.dtype, jnp.float32))
  total = total.reshape(b, places, channels)
  while count := next(
    (n for n in range(_MOST_PARTS, 1, -1) if total.shape[1] % n == 0), 0
  ):
    total = sum(jnp.split(total, count, axis=1))
  # What so few parts cannot be made of, as of 17×17 places.
  return (total.sum(axis=1) / places).astype(x.dtype)


def global_average(x: Float[Array, 'B H W C']) -> Float[Array, 'B C']:
  """Average of [B, H, W, C] over all places."""
  return jax.lax.platform_dependent(
    x,
    cpu=slim.differentiated_as(plain_average, _mean_of_parts),
    default=plain_average,
  )
