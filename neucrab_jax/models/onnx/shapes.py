# SPDX-License-Identifier: Apache-2.0
"""Operators that change shapes, or move elements."""

import math
from typing import Any

import jax.numpy as jnp
import numpy as np

from neucrab_jax.models.onnx import values
from neucrab_jax.models.onnx.graph import Node


def _shape(node: Node, xp: Any, x: Any) -> Any:
  shape = np.array(x.shape, np.int64)
  return shape[slice(node.get('start'), node.get('end'))]


def _size(node: Node, xp: Any, x: Any) -> Any:
  return np.array(x.size, np.int64)


def _constant(node: Node, xp: Any) -> Any:
  for name, dtype in (
    ('value', None),
    ('value_int', np.int64),
    ('value_ints', np.int64),
    ('value_float', np.float32),
    ('value_floats', np.float32),
  ):
    if name in node.attributes:
      return np.asarray(node.get(name), dtype)
  raise ValueError('it is neither a tensor nor a number')


def _reshape(node: Node, xp: Any, x: Any, shape: Any) -> Any:
  sizes = values.ints(node, shape, what='new shape')
  if not node.get('allowzero', 0):
    sizes = [
      x.shape[place] if size == 0 else size for place, size in enumerate(sizes)
    ]
  if -1 not in sizes and math.prod(sizes) != x.size:
    raise ValueError(f'{list(x.shape)} has no form of {sizes}')
  return x.reshape(sizes)


def _flatten(node: Node, xp: Any, x: Any) -> Any:
  axis = node.get('axis', 1)
  axis = axis + x.ndim if axis < 0 else axis
  return x.reshape(math.prod(x.shape[:axis]), -1)


def _axes(node: Node, axes: Any) -> list[int] | None:
  """Axes of an attribute, or as of opset 13 of an input."""
  if node.opset < 13:
    return node.get('axes')
  return None if axes is None else values.ints(node, axes, what='axes')


def _squeeze(node: Node, xp: Any, x: Any, axes: Any = None) -> Any:
  given = _axes(node, axes)
  if given is None:
    return xp.squeeze(x)
  return xp.squeeze(x, tuple(values.axis_of(axis, x.ndim) for axis in given))


def _unsqueeze(node: Node, xp: Any, x: Any, axes: Any = None) -> Any:
  return xp.expand_dims(x, tuple(_axes(node, axes) or ()))


def _transpose(node: Node, xp: Any, x: Any) -> Any:
  return xp.transpose(x, node.get('perm'))


def _concat(node: Node, xp: Any, *inputs: Any) -> Any:
  return xp.concatenate(inputs, axis=node.get('axis'))


def _split(node: Node, xp: Any, x: Any, sizes: Any = None) -> Any:
  axis = values.axis_of(node.get('axis', 0), x.ndim)
  if node.opset < 13:
    given = node.get('split')
  else:
    given = None if sizes is None else values.ints(node, sizes, what='sizes')
  if given is None:
    count = node.get('num_outputs', len(node.outputs))
    size = -(-x.shape[axis] // count)
    given = [size] * (count - 1)
    given.append(x.shape[axis] - sum(given))
  return tuple(xp.split(x, np.cumsum(given)[:-1].tolist(), axis=axis))


def _bounds(start: int, end: int, step: int, size: int) -> slice:
  """A slice as ONNX means it, whose ends may be as far as int64 goes."""
  start, end = (v + size if v < 0 else v for v in (start, end))
  if step > 0:
    return slice(min(max(start, 0), size), min(max(end, 0), size), step)
  start = min(max(start, 0), size - 1)
  end = min(max(end, -1), size - 1)
  return slice(start, None if end < 0 else end, step)


def _slice(
  node: Node, xp: Any, x: Any, starts: Any = None, ends: Any = None,
  axes: Any = None, steps: Any = None,
) -> Any:  # fmt: skip
  if node.opset < 10:
    first, last = node.get('starts'), node.get('ends')
    along = node.get('axes')
  else:
    first = values.ints(node, starts, what='beginning')
    last = values.ints(node, ends, what='end')
    along = None if axes is None else values.ints(node, axes, what='axes')
  along = list(range(len(first))) if along is None else along
  by = [1] * len(first)
  if steps is not None:
    by = values.ints(node, steps, what='steps')
  chosen = [slice(None)] * x.ndim
  for axis, start, end, step in zip(along, first, last, by, strict=True):
    axis = values.axis_of(axis, x.ndim)
    chosen[axis] = _bounds(start, end, step, x.shape[axis])
  return x[tuple(chosen)]


def _gather(node: Node, xp: Any, x: Any, indices: Any) -> Any:
  axis = values.axis_of(node.get('axis', 0), x.ndim)
  return xp.take(x, indices, axis=axis)


def _gather_elements(node: Node, xp: Any, x: Any, indices: Any) -> Any:
  axis = values.axis_of(node.get('axis', 0), x.ndim)
  indices = xp.where(indices < 0, indices + x.shape[axis], indices)
  # Along other axes there may be fewer indices than elements.
  cut = tuple(
    slice(None) if a == axis else slice(size)
    for a, size in enumerate(indices.shape)
  )
  return xp.take_along_axis(x[cut], indices, axis=axis)


def _gather_nd(node: Node, xp: Any, x: Any, indices: Any) -> Any:
  batched = node.get('batch_dims', 0)
  depth = indices.shape[-1]
  places = tuple(indices[..., place] for place in range(depth))
  # Batch axes are indexed by themselves.
  own = tuple(
    np.arange(x.shape[axis]).reshape(
      [-1 if a == axis else 1 for a in range(indices.ndim - 1)]
    )
    for axis in range(batched)
  )
  return x[(*own, *places)]


_COMBINE = {'none': 'set', 'add': 'add', 'mul': 'multiply', 'max': 'max',
            'min': 'min'}  # fmt: skip


def _put(node: Node, xp: Any, x: Any, places: Any, updates: Any) -> Any:
  """Sets or combines elements of a copy."""
  how = _COMBINE[node.get('reduction', 'none')]
  if xp is np and how == 'set':
    x = x.copy()
    x[places] = updates
    return x
  return getattr(jnp.asarray(x).at[places], how)(updates)


def _scatter_nd(node: Node, xp: Any, x: Any, indices: Any, updates: Any) -> Any:
  places = tuple(indices[..., place] for place in range(indices.shape[-1]))
  return _put(node, xp, x, places, updates)


def _scatter_elements(
  node: Node, xp: Any, x: Any, indices: Any, updates: Any
) -> Any:
  axis = values.axis_of(node.get('axis', 0), x.ndim)
  grid = list(np.indices(indices.shape))
  grid[axis] = xp.where(indices < 0, indices + x.shape[axis], indices)
  return _put(node, xp, x, tuple(grid), updates)


def _expand(node: Node, xp: Any, x: Any, shape: Any) -> Any:
  sizes = values.ints(node, shape, what='new shape')
  shape = np.broadcast_shapes(x.shape, tuple(sizes))
  values.check_size(shape)
  return xp.broadcast_to(x, shape)


def _tile(node: Node, xp: Any, x: Any, repeats: Any) -> Any:
  times = values.ints(node, repeats, what='number of repeats')
  values.check_size([s * t for s, t in zip(x.shape, times, strict=True)], xp)
  return xp.tile(x, times)


_PAD_MODES = {'constant': 'constant', 'reflect': 'reflect', 'edge': 'edge',
              'wrap': 'wrap'}  # fmt: skip


def _pad(
  node: Node, xp: Any, x: Any, pads: Any = None, fill: Any = None,
  axes: Any = None,
) -> Any:  # fmt: skip
  if node.opset < 11:
    given, value = node.get('pads'), node.get('value', 0.0)
  else:
    given = values.ints(node, pads, what='padding')
    value = 0 if fill is None else fill.reshape(())
  along = list(range(x.ndim))
  if axes is not None:
    along = values.ints(node, axes, what='axes')
  widths = [(0, 0)] * x.ndim
  for place, axis in enumerate(along):
    pair = given[place], given[place + len(along)]
    widths[values.axis_of(axis, x.ndim)] = pair
  # Negative ones cut off.
  x = x[
    tuple(
      slice(max(-low, 0), size - max(-high, 0))
      for (low, high), size in zip(widths, x.shape, strict=True)
    )
  ]
  widths = [(max(low, 0), max(high, 0)) for low, high in widths]
  values.check_size(
    [sum(pair) + size for pair, size in zip(widths, x.shape, strict=True)], xp
  )
  mode = _PAD_MODES[node.get('mode', 'constant')]
  if mode != 'constant':
    return xp.pad(x, widths, mode=mode)
  return xp.pad(x, widths, constant_values=value)


def _fill(node: Node, xp: Any, shape: Any) -> Any:
  sizes = values.ints(node, shape, what='shape')
  value = np.asarray(node.get('value', np.zeros(1, np.float32))).reshape(())
  values.check_size(sizes)
  # Without memory of its own.
  return np.broadcast_to(value, sizes)


def _range(node: Node, xp: Any, start: Any, limit: Any, delta: Any) -> Any:
  known = [values.host(node, v, what='ends') for v in (start, limit, delta)]
  low, high, step = (v.reshape(()).item() for v in known)
  if not step:
    raise ValueError('its step is 0')
  values.check_size([max(math.ceil((high - low) / step), 0)], np)
  return np.arange(low, high, step).astype(known[0].dtype)


def _one_hot(node: Node, xp: Any, x: Any, depth: Any, pair: Any) -> Any:
  (size,) = values.ints(node, depth, what='depth')
  axis = values.axis_of(node.get('axis', -1), x.ndim + 1)
  index = xp.expand_dims(xp.where(x < 0, x + size, x), axis)
  shape = [1] * (x.ndim + 1)
  shape[axis] = size
  hot = index == np.arange(size).reshape(shape)
  return xp.where(hot, pair[1], pair[0])


def _eye(node: Node, xp: Any, x: Any) -> Any:
  values.check_size(x.shape, np)
  dtype = values.dtype_of(node, node.get('dtype', 1))
  return np.eye(*x.shape, k=node.get('k', 0), dtype=dtype)


def _triangle(node: Node, xp: Any, x: Any, k: Any = None) -> Any:
  diagonal = 0 if k is None else values.ints(node, k, what='diagonal')[0]
  cut = xp.triu if node.get('upper', 1) else xp.tril
  return cut(x, diagonal)


def _nonzero(node: Node, xp: Any, x: Any) -> Any:
  known = values.host(node, x, what='number of places')
  return np.stack(np.nonzero(known)).astype(np.int64)


def _depth_to_space(node: Node, xp: Any, x: Any) -> Any:
  side = node.get('blocksize')
  b, c, height, width = x.shape
  if node.get('mode', 'DCR') == 'DCR':
    x = x.reshape(b, side, side, c // side**2, height, width)
    x = xp.transpose(x, (0, 3, 4, 1, 5, 2))
  else:
    x = x.reshape(b, c // side**2, side, side, height, width)
    x = xp.transpose(x, (0, 1, 4, 2, 5, 3))
  return x.reshape(b, c // side**2, height * side, width * side)


def _space_to_depth(node: Node, xp: Any, x: Any) -> Any:
  side = node.get('blocksize')
  b, c, height, width = x.shape
  x = x.reshape(b, c, height // side, side, width // side, side)
  x = xp.transpose(x, (0, 3, 5, 1, 2, 4))
  return x.reshape(b, c * side**2, height // side, width // side)


OPERATORS = {
  'Shape': _shape,
  'Size': _size,
  'Constant': _constant,
  'Reshape': _reshape,
  'Flatten': _flatten,
  'Squeeze': _squeeze,
  'Unsqueeze': _unsqueeze,
  'Transpose': _transpose,
  'Concat': _concat,
  'Split': _split,
  'Slice': _slice,
  'Gather': _gather,
  'GatherElements': _gather_elements,
  'GatherND': _gather_nd,
  'ScatterND': _scatter_nd,
  'ScatterElements': _scatter_elements,
  'Scatter': _scatter_elements,
  'Expand': _expand,
  'Tile': _tile,
  'Pad': _pad,
  'ConstantOfShape': _fill,
  'Range': _range,
  'OneHot': _one_hot,
  'EyeLike': _eye,
  'Trilu': _triangle,
  'NonZero': _nonzero,
  'DepthToSpace': _depth_to_space,
  'SpaceToDepth': _space_to_depth,
}
