# SPDX-License-Identifier: Apache-2.0
"""What the convolutional networks of TF-slim are made of.

Modules and variables are named after slim's scopes; see `checkpoints.naming`.

Axes: B batch, H, W space, C channels.
"""

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from neucrab_jax.models import winograd
from neucrab_jax.typing import Array

# Features are compared to 2e-5, which TF32 and bf16 would not reach.
PRECISION = jax.lax.Precision.HIGHEST

# Of the first convolution: for so many features of so many colours YNNPACK has
# only a slow loop.
_COLOURS, _FEATURES_OF_COLOURS = 3, range(17, 33)

# Of BatchNorm in slim's Inception and MobileNet.
EPSILON = 1e-3
DECAY = 0.9997


def identity(x: Float[Array, '*B']) -> Float[Array, '*B']:
  return x


def windows(
  x: Float[Array, 'B H W C'],
  size: Sequence[int],
  strides: Sequence[int],
  padding: str | Sequence[tuple[int, int]],
  *,
  fill: float = 0,
) -> list[Array]:
  """What each place of an [h, w] window sees of [B, H, W, C], as h·w maps."""
  if isinstance(padding, str):
    padding = jax.lax.padtype_to_pads(x.shape[1:3], size, strides, padding)
  padded = jnp.pad(x, [(0, 0), *padding, (0, 0)], constant_values=fill)
  lasts = [
    (length - side) // stride * stride
    for length, side, stride in zip(
      padded.shape[1:3], size, strides, strict=True
    )
  ]
  return [
    padded[
      :, i : i + lasts[0] + 1 : strides[0], j : j + lasts[1] + 1 : strides[1]
    ]
    for i, j in itertools.product(*map(range, size))
  ]


def differentiated_as(
  plain: Callable[..., Array], fast: Callable[..., Array]
) -> Callable[..., Array]:
  """Calls `fast`, whose gradient is that of `plain`, which is its equal."""
  function = jax.custom_vjp(fast)
  function.defvjp(
    lambda *inputs: (fast(*inputs), inputs),
    lambda inputs, gradient: jax.vjp(plain, *inputs)[1](gradient),
  )
  return function


def _with_a_row_more(
  x: jax.Array,
  kernel: jax.Array,
  padding: Sequence[tuple[int, int]],
  **options: Any,
) -> jax.Array:
  """A convolution at stride 1 that makes one row too many, cut off again.

  On a CPU, XLA leaves convolutions to YNNPACK, but for those whose output is
  larger than their input. These it leaves to Eigen, which was the faster on
  these networks when this was written, with jaxlib 0.10. Backwards it would be
  the slower way. `experiments.benchmarks.workarounds` tells whether it can go;
  the last bits of features then change.
  """
  (above, below), columns = padding
  height = kernel.shape[0]
  enough = (above, max(below, height - above))
  longer = jax.lax.conv_general_dilated(
    x, kernel, (1, 1), (enough, columns), **options
  )
  return longer[:, : above + x.shape[1] + below - height + 1]


def _with_a_colour_more(
  x: jax.Array, kernel: jax.Array, **options: Any
) -> jax.Array:
  """A convolution of colours, of which one more is nothing.

  With it, a CPU takes half to a fifth of the time, which is up to a tenth of
  what a small network takes. So with jaxlib 0.10, see
  `experiments.benchmarks.workarounds`.
  """
  x = jnp.pad(x, [(0, 0), (0, 0), (0, 0), (0, 1)])
  kernel = jnp.pad(kernel, [(0, 0), (0, 0), (0, 1), (0, 0)])
  return jax.lax.conv_general_dilated(x, kernel, **options)


def convolve(
  x: Float[Array, 'B H W C'],
  kernel: Float[Array, 'h w C D'],
  strides: Sequence[int],
  padding: str | Sequence[tuple[int, int]],
  **options: Any,
) -> Float[Array, 'B _ _ D']:
  """As `lax.conv_general_dilated`, in the way that is fast where it runs.

  A 1×1 kernel is a matmul. So is one that is larger than the map, of which XLA
  has only a slow loop on a CPU. So with jaxlib 0.10, see
  `experiments.benchmarks.workarounds`. For 3×3 at stride 1 see `winograd`.
  """
  size = kernel.shape[:2]
  if size == (1, 1) or any(np.greater(size, x.shape[1:3])):
    seen = jnp.concatenate(windows(x, size, strides, padding), axis=-1)
    matrix = kernel.reshape(-1, kernel.shape[-1])
    return jnp.matmul(seen, matrix, precision=options['precision'])
  if isinstance(padding, str):
    pads = jax.lax.padtype_to_pads(x.shape[1:3], size, strides, padding)
    # Of JAX 0.8, they are NumPy's.
    padding = [(int(before), int(after)) for before, after in pads]
  whole = {'window_strides': strides, 'padding': padding, **options}
  conv = functools.partial(jax.lax.conv_general_dilated, **whole)
  if tuple(strides) == (1, 1) and winograd.pays(x.shape, kernel.shape):
    fast = functools.partial(
      winograd.convolve, padding=padding, precision=options['precision']
    )
  elif tuple(strides) == (1, 1):
    fast = functools.partial(_with_a_row_more, padding=padding, **options)
  elif x.shape[-1] == _COLOURS and kernel.shape[-1] in _FEATURES_OF_COLOURS:
    fast = functools.partial(_with_a_colour_more, **whole)
  else:
    return conv(x, kernel)
  return jax.lax.platform_dependent(
    x, kernel, cpu=differentiated_as(conv, fast), default=conv
  )


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
  activation: Callable[[Array], Array] = nn.relu

  @nn.compact
  def __call__(
    self, x: Float[Array, 'B H W _'], *, train: bool
  ) -> Float[Array, 'B _ _ _']:
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


def head(
  x: Float[Array, 'B H W D'],
  num_classes: int | None,
  *,
  name: str,
  dropout: float,
  train: bool,
) -> Float[Array, 'B Z'] | None:
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
  features: Float[Array, 'B D'],
  num_classes: int | None,
  *,
  name: str,
  dropout: float,
  train: bool,
) -> Float[Array, 'B Z'] | None:
  """As `head`, for the [B, D] features of networks with a dense layer."""
  if num_classes is None:
    return None
  x = nn.Dropout(dropout, deterministic=not train)(features)
  return nn.Dense(num_classes, precision=PRECISION, name=name)(x)
