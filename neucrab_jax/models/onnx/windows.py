# SPDX-License-Identifier: Apache-2.0
"""What convolutions and pools share: where their windows are.

Axes: B batch, C channels, and any number of axes of space.
"""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from neucrab_jax.models.onnx.graph import Node


@dataclasses.dataclass(frozen=True)
class Windows:
  """Where the windows of an operator are.

  Attributes:
    size: of a window, along each axis of space.
    strides: from one window to the next.
    dilations: from one place of a window to the next.
    pads: before and after, along each axis.
    more: what is padded after that, for a last window that is cut.
    counts: of windows.
  """

  size: tuple[int, ...]
  strides: tuple[int, ...]
  dilations: tuple[int, ...]
  pads: tuple[tuple[int, int], ...]
  more: tuple[int, ...]
  counts: tuple[int, ...]

  @property
  def all_pads(self) -> list[tuple[int, int]]:
    return [
      (low, high + more)
      for (low, high), more in zip(self.pads, self.more, strict=True)
    ]


def _pads(
  node: Node, space: Sequence[int], extents: Sequence[int],
  strides: Sequence[int],
) -> list[tuple[int, int]]:  # fmt: skip
  how = node.get('auto_pad', 'NOTSET')
  rank = len(space)
  if how == 'VALID':
    return [(0, 0)] * rank
  if how in ('SAME_UPPER', 'SAME_LOWER'):
    pads = []
    for side, extent, stride in zip(space, extents, strides, strict=True):
      total = max((-(-side // stride) - 1) * stride + extent - side, 0)
      pair = total // 2, total - total // 2
      pads.append(pair if how == 'SAME_UPPER' else pair[::-1])
    return pads
  given = node.get('pads') or [0] * (2 * rank)
  return list(zip(given[:rank], given[rank:], strict=True))


def find(node: Node, space: Sequence[int], size: Sequence[int]) -> Windows:
  """Where the windows of a node are.

  Args:
    node: a convolution or a pool.
    space: the sides of the map.
    size: of a window.

  Raises:
    ValueError: if there is no window.
  """
  rank = len(space)
  strides = node.get('strides') or [1] * rank
  dilations = node.get('dilations') or [1] * rank
  extents = [
    (side - 1) * dilation + 1
    for side, dilation in zip(size, dilations, strict=True)
  ]
  pads = _pads(node, space, extents, strides)
  counts, more = [], []
  for side, extent, stride, (low, high) in zip(
    space, extents, strides, pads, strict=True
  ):
    room = side + low + high - extent
    count = room // stride + 1
    if node.get('ceil_mode', 0):
      count = -(-room // stride) + 1
      # None that begins behind the map and what is padded before it.
      count -= (count - 1) * stride >= side + low
    if count < 1:
      raise ValueError(f'a window of {list(size)} does not fit {list(space)}')
    counts.append(count)
    more.append(max((count - 1) * stride + extent - side - low - high, 0))
  return Windows(
    *map(tuple, (size, strides, dilations, pads, more, counts))  # type: ignore
  )


def places(x: Any, windows: Windows, *, fill: float) -> list[Any]:
  """What each place of the windows sees of [B, *space, C], as such maps."""
  pads = [(0, 0), *windows.all_pads, (0, 0)]
  padded = jnp.pad(x, pads, constant_values=fill)
  seen = []
  for place in itertools.product(*map(range, windows.size)):
    chosen = [slice(None)]
    for index, dilation, stride, count in zip(
      place, windows.dilations, windows.strides, windows.counts, strict=True
    ):
      first = index * dilation
      chosen.append(slice(first, first + (count - 1) * stride + 1, stride))
    seen.append(padded[tuple(chosen)])
  return seen


def covered(windows: Windows, space: Sequence[int], *, pads: bool) -> Any:
  """How many places of each window are on the map, or on its padding too.

  Returns:
    [*counts, 1]
  """
  total = np.ones((), np.float32)
  for axis, side in enumerate(space):
    low, high = windows.pads[axis]
    first = np.arange(windows.counts[axis]) * windows.strides[axis] - low
    within = np.arange(windows.size[axis]) * windows.dilations[axis]
    positions = first[:, None] + within
    least, most = (-low, side + high) if pads else (0, side)
    number = ((positions >= least) & (positions < most)).sum(1)
    total = total[..., None] * number.astype(np.float32)
  return jnp.asarray(total)[..., None]
