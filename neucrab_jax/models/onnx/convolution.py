# SPDX-License-Identifier: Apache-2.0
"""Convolutions and products of matrices.

Maps come and go with their channels last; see `layout`.

Axes: B batch, C channels, D channels that come out, G groups.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from neucrab_jax.models import slim
from neucrab_jax.models.onnx import windows
from neucrab_jax.models.onnx.graph import Node

# Features are compared to 1e-4, which TF32 and bf16 would not reach.
PRECISION = jax.lax.Precision.HIGHEST


def _numbers(rank: int) -> tuple[str, str, str]:
  space = 'DHW'[-rank:]
  return f'N{space}C', f'OI{space}', f'N{space}C'


def _plain(
  x: Any, kernel: Any, where: windows.Windows, *, groups: int
) -> jax.Array:
  return jax.lax.conv_general_dilated(
    x,
    kernel,
    window_strides=where.strides,
    padding=where.all_pads,
    rhs_dilation=where.dilations,
    dimension_numbers=_numbers(x.ndim - 2),
    feature_group_count=groups,
    precision=PRECISION,
  )


def _by_places(
  x: Any, kernel: Any, where: windows.Windows, *, groups: int
) -> jax.Array:
  """As `_plain`, a product for each place of the kernel.

  XLA's grouped convolution is 25 to 75 times slower on a CPU; see
  `models.depthwise`.
  """
  inside, outside = kernel.shape[1], kernel.shape[0] // groups
  seen = windows.places(x, where, fill=0)
  taps = jnp.moveaxis(kernel.reshape(groups, outside, inside, -1), -1, 0)
  # Put in that order once: read across, the products are twice as slow.
  taps = jax.lax.optimization_barrier(taps)
  total: Any = 0
  for place, map_ in enumerate(seen):
    if inside == 1:
      # Each channel by numbers of its own.
      total = total + map_[..., None] * taps[place, :, :, 0]
    else:
      parts = map_.reshape(*map_.shape[:-1], groups, inside)
      total = total + jnp.einsum(
        '...gc,gdc->...gd', parts, taps[place], precision=PRECISION
      )
  return total.reshape(*total.shape[:-2], groups * outside)


def convolve(node: Node, x: Any, kernel: Any, bias: Any = None) -> Any:
  """A convolution by the attributes of a node.

  Args:
    node: of a convolution of any kind.
    x: [B, *space, C] f32.
    kernel: [D, C / G, *size] f32.
    bias: [D] or None.

  Returns:
    [B, *space, D]
  """
  x, kernel = jnp.asarray(x), jnp.asarray(kernel)
  groups, channels = node.get('group', 1), x.shape[-1]
  if channels != kernel.shape[1] * groups or kernel.shape[0] % groups:
    raise ValueError(
      f'a kernel of {list(kernel.shape)} in {groups} groups does not fit '
      f'{channels} channels'
    )
  where = windows.find(node, x.shape[1:-1], kernel.shape[2:])
  if groups > 1:
    y = jax.lax.platform_dependent(
      x,
      kernel,
      cpu=lambda x, k: _by_places(x, k, where, groups=groups),
      default=lambda x, k: _plain(x, k, where, groups=groups),
    )
  elif set(where.size) == set(where.strides) == {1} and not any(
    map(sum, where.all_pads)
  ):
    matrix = kernel.reshape(kernel.shape[:2])
    y = jnp.einsum('...c,dc->...d', x, matrix, precision=PRECISION)
  elif x.ndim == 4 and set(where.dilations) == {1}:
    y = slim.convolve(
      x,
      jnp.transpose(kernel, (2, 3, 1, 0)),
      where.strides,
      where.all_pads,
      dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
      precision=PRECISION,
    )
  else:
    y = _plain(x, kernel, where, groups=1)
  return y if bias is None else y + jnp.asarray(bias)


def _conv(node: Node, xp: Any, x: Any, kernel: Any, bias: Any = None) -> Any:
  return convolve(node, x, kernel, bias)


def _transposed_pads(
  node: Node, space: Any, extents: Any, strides: Any, extra: Any
) -> list[tuple[int, int]]:
  """What is cut off a transposed convolution before and after."""
  rank = len(space)
  wanted = node.get('output_shape')
  how = node.get('auto_pad', 'NOTSET')
  if wanted is None and how.startswith('SAME'):
    wanted = [
      side * stride for side, stride in zip(space, strides, strict=True)
    ]
  if wanted is None:
    given = node.get('pads') or [0] * (2 * rank)
    return list(zip(given[:rank], given[rank:], strict=True))
  pads = []
  for axis in range(rank):
    full = (space[axis] - 1) * strides[axis] + extra[axis] + extents[axis]
    total = max(full - wanted[-rank:][axis], 0)
    pair = total // 2, total - total // 2
    pads.append(pair if how == 'SAME_UPPER' else pair[::-1])
  return pads


def _conv_transpose(
  node: Node, xp: Any, x: Any, kernel: Any, bias: Any = None
) -> Any:
  x, kernel = jnp.asarray(x), jnp.asarray(kernel)
  rank, groups = x.ndim - 2, node.get('group', 1)
  strides = node.get('strides') or [1] * rank
  dilations = node.get('dilations') or [1] * rank
  extra = node.get('output_padding') or [0] * rank
  extents = [
    (side - 1) * dilation + 1
    for side, dilation in zip(kernel.shape[2:], dilations, strict=True)
  ]
  pads = _transposed_pads(node, x.shape[1:-1], extents, strides, extra)
  # [C, D / G, *size] to [D, C / G, *size], turned around.
  inside, outside = kernel.shape[0] // groups, kernel.shape[1]
  turned = jnp.flip(kernel, tuple(range(2, 2 + rank)))
  turned = turned.reshape(groups, inside, outside, *kernel.shape[2:])
  turned = jnp.swapaxes(turned, 1, 2)
  turned = turned.reshape(groups * outside, inside, *kernel.shape[2:])
  y = jax.lax.conv_general_dilated(
    x,
    turned,
    window_strides=[1] * rank,
    padding=[
      (extent - 1 - low, extent - 1 - high + more)
      for extent, (low, high), more in zip(extents, pads, extra, strict=True)
    ],
    lhs_dilation=strides,
    rhs_dilation=dilations,
    dimension_numbers=_numbers(rank),
    feature_group_count=groups,
    precision=PRECISION,
  )
  return y if bias is None else y + bias


def matmul(xp: Any, a: Any, b: Any) -> Any:
  if xp is np:
    return np.matmul(a, b)
  return jnp.matmul(a, b, precision=PRECISION)


def gemm(node: Node, xp: Any, a: Any, b: Any, c: Any = None) -> Any:
  a = a.T if node.get('transA', 0) else a
  b = b.T if node.get('transB', 0) else b
  y = np.float32(node.get('alpha', 1.0)) * matmul(xp, a, b)
  return y if c is None else y + np.float32(node.get('beta', 1.0)) * c


def _einsum(node: Node, xp: Any, *inputs: Any) -> Any:
  return jnp.einsum(node.get('equation'), *inputs, precision=PRECISION)


OPERATORS = {
  'Conv': _conv,
  'ConvTranspose': _conv_transpose,
  'MatMul': lambda node, xp, a, b: matmul(xp, a, b),
  'Gemm': gemm,
  'Einsum': _einsum,
}
