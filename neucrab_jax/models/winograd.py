# SPDX-License-Identifier: Apache-2.0
"""3×3 convolutions at stride 1, with four ninths of the multiplications.

XLA's convolution runs at the peak of a CPU, so that only less arithmetic is
faster: 2×2 places of the output are 16 products of sums of 4×4 places of the
input with sums of the kernel, instead of 36. Results then differ by 7e-7 of the
largest, as they do by the order of a sum.

Axes: B batch, H, W space, C channels, D channels that come out, T tiles of 2×2.

Reference: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks",
CVPR 2016, F(2×2, 3×3).
"""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from neucrab_jax.typing import Array

_KERNEL, _TILE, _SEEN = 3, 2, 4

# Of the input, of the kernel, and of the products, along one axis.
_INPUT = ((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1))
_WEIGHTS = ((1, 0, 0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0, 0, 1))
_OUTPUT = ((1, 1, 1, 0), (0, 1, -1, -1))

# With fewer places along an axis, tiles jut out far, and the sums of the kernel
# take longer than what they save.
_FEWEST_PLACES = 10
# Multiplications saved for each number of a map that is summed: C D / (C + D).
_FEWEST_SAVED = 32
# Multiplications and additions: less than that is not worth the compilation,
# which takes 0.1 s longer.
_LEAST_WORK = 4e8
# Of all sums of the input: with more, they wait for the memory.
_MOST_BYTES = 1 << 25


def pays(shape: Sequence[int], kernel: Sequence[int]) -> bool:
  """Whether it is faster on a CPU than a plain convolution at stride 1.

  So with jaxlib 0.10, see `experiments.benchmarks.workarounds`.

  Args:
    shape: of the input, [B, H, W, C].
    kernel: its shape, [h, w, C, D].
  """
  b, height, width, channels = shape
  made = kernel[-1]
  return (
    tuple(kernel[:2]) == (_KERNEL, _KERNEL)
    # One image alone is what `counting` counts, as others do, by the plain sum.
    and b > 1
    and min(height, width) >= _FEWEST_PLACES
    and channels * made >= _FEWEST_SAVED * (channels + made)
    and 2 * b * height * width * math.prod(kernel) >= _LEAST_WORK
    and 4 * 4 * b * height * width * channels <= _MOST_BYTES
  )


def _sums(rows: Any, parts: Sequence[Any]) -> list[Any]:
  """For each row, the sum of parts times 1, 0 or -1."""
  found = []
  for row in rows:
    total: Any = None
    for sign, part in zip(row, parts, strict=True):
      if sign:
        part = part if sign > 0 else -part
        total = part if total is None else total + part
    found.append(total)
  return found


def _every_second(x: Any, axis: int, count: int) -> list[Any]:
  """What each place of all tiles sees along an axis."""
  last = _TILE * (count - 1) + 1
  return [
    jax.lax.slice_in_dim(x, i, i + last, _TILE, axis) for i in range(_SEEN)
  ]


def convolve(
  x: Float[Array, 'B H W C'],
  kernel: Float[Array, '3 3 C D'],
  padding: Sequence[tuple[int, int]],
  *,
  precision: Any,
) -> Float[Array, 'B _ _ D']:
  """As `lax.conv_general_dilated` at stride 1.

  Args:
    x: [B, H, W, C]
    kernel: [3, 3, C, D]
    padding: two pairs, before and after, along H and W.
    precision: of the products.
  """
  b, *_, channels = x.shape
  made = kernel.shape[-1]
  sides = [
    length + sum(pair) - _KERNEL + 1
    for length, pair in zip(x.shape[1:3], padding, strict=True)
  ]
  rows, columns = (-(-side // _TILE) for side in sides)
  whole = [
    (low, high + _TILE * count - side)
    for (low, high), count, side in zip(
      padding, (rows, columns), sides, strict=True
    )
  ]
  padded = jnp.pad(x, [(0, 0), *whole, (0, 0)])
  # One axis after the other, the first kept: so there are few sums, and short
  # programs to compile.
  seen = jnp.stack(_sums(_INPUT, _every_second(padded, 1, rows)))
  seen = jax.lax.optimization_barrier(seen)
  seen = _sums(_INPUT, _every_second(seen, 3, columns))
  # Of columns, then rows.
  sums = np.einsum('jq,ip->jipq', _WEIGHTS, _WEIGHTS).astype('f4')
  flat = kernel.reshape(-1, channels * made)
  made_of = []
  for part, some in zip(seen, sums.reshape(_SEEN, _SEEN, -1), strict=True):
    weights = jnp.matmul(some, flat, precision=precision)
    products = jnp.einsum(
      'itc,icd->itd',
      jax.lax.optimization_barrier(part.reshape(_SEEN, -1, channels)),
      weights.reshape(_SEEN, channels, made),
      precision=precision,
    ).reshape(_SEEN, b, rows, columns, made)
    made_of.append(jnp.stack(_sums(_OUTPUT, list(products)), axis=2))
  made_of = jax.lax.optimization_barrier(made_of)
  y = jnp.stack(_sums(_OUTPUT, made_of), axis=4)
  y = y.reshape(b, _TILE * rows, _TILE * columns, made)
  return y[:, : sides[0], : sides[1]]
