# SPDX-License-Identifier: Apache-2.0
"""Maps whose channels are last in memory, though ONNX has them second.

Convolutions are two to four times faster with channels last. So they give their
maps that way, and what comes between them takes them so; whatever else reads
one gets it as ONNX means it.

Axes: B batch, C channels, and any number of axes of space.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from neucrab_jax.models.onnx import elementwise, values
from neucrab_jax.models.onnx.graph import Node

Operator = Callable[..., Any]


@dataclasses.dataclass(frozen=True)
class Maps:
  """A value [B, C, *space], as an array [B, *space, C]."""

  array: Any

  @property
  def ndim(self) -> int:
    return self.array.ndim

  @property
  def shape(self) -> tuple[int, ...]:
    batch, *space, channels = self.array.shape
    return (batch, channels, *space)

  @property
  def size(self) -> int:
    return self.array.size


# They take maps with channels last, by place, and give them so.
_OF_MAPS = {
  **dict.fromkeys(
    (
      'Conv',
      'ConvTranspose',
      'ConvInteger',
      'QLinearConv',
      'BatchNormalization',
      'MaxPool',
      'AveragePool',
      'LpPool',
      'GlobalAveragePool',
      'GlobalMaxPool',
      'GlobalLpPool',
      'QLinearGlobalAveragePool',
      'QLinearAveragePool',
    ),
    (0,),
  ),
  'FusedConv': (0, 3),
}
# They go by element, whatever the axes are.
_BY_ELEMENT = {
  *elementwise.OPERATORS,
  'QLinearAdd',
  'QLinearMul',
  'QLinearSigmoid',
  'QLinearLeakyRelu',
  'QuantizeLinear',
  'DequantizeLinear',
  'QuickGelu',
}
# The same if all inputs but the first are single numbers.
_BY_SCALE = {'QuantizeLinear', 'DequantizeLinear', 'PRelu'}
# They read no more than a shape.
_OF_SHAPE = {'Shape', 'Size'}


def plain(value: Any) -> Any:
  """The value as ONNX means it."""
  return jnp.moveaxis(value.array, -1, 1) if isinstance(value, Maps) else value


def _last(value: Any) -> Any:
  """The array of a value with its channels last."""
  if isinstance(value, Maps):
    return value.array
  if value is None or value.ndim < 3:
    return value
  return jnp.moveaxis(jnp.asarray(value), 1, -1)


def _wrapped(found: Any) -> Any:
  if isinstance(found, tuple):
    return tuple(map(_wrapped, found))
  return Maps(found) if found.ndim > 2 else found


def _axes(rank: int) -> list[int]:
  """Where each axis of a value is in memory."""
  return [0, rank - 1, *range(1, rank - 1)]


def _beside(value: Any, rank: int) -> Any:
  """What is computed with maps, in a shape that fits theirs."""
  if value is None or isinstance(value, Maps):
    return _last(value)
  if value.size == 1:
    return value.reshape(())
  shape = (1,) * (rank - value.ndim) + tuple(value.shape)
  xp = np if values.is_host(value) else jnp
  return xp.moveaxis(value.reshape(shape), 1, -1)


def _by_element(node: Node, operator: Operator, inputs: Sequence[Any]) -> Any:
  """Applies an operator by element; None if the shapes don't allow it."""
  rank = max(v.ndim for v in inputs if isinstance(v, Maps))
  given = [value for value in inputs if value is not None]
  if any(
    value.ndim > rank or (isinstance(value, Maps) and value.ndim < rank)
    for value in given
  ):
    return None
  if node.op in _BY_SCALE and any(value.size > 1 for value in given[1:]):
    return None
  arrays = [_beside(value, rank) for value in inputs]
  return _wrapped(operator(node, jnp, *arrays))


def _along_axis(node: Node, operator: Operator, inputs: Sequence[Any]) -> Any:
  """Concatenates or splits maps."""
  first = inputs[0]
  axis = values.axis_of(node.get('axis', 0), first.ndim)
  moved = dataclasses.replace(
    node, attributes={**node.attributes, 'axis': _axes(first.ndim)[axis]}
  )
  if node.op == 'Split':
    return _wrapped(operator(moved, jnp, first.array, *inputs[1:]))
  return _wrapped(operator(moved, jnp, *map(_last, inputs)))


def _transpose(node: Node, operator: Operator, inputs: Sequence[Any]) -> Any:
  (x,) = inputs
  order = node.get('perm') or list(range(x.ndim))[::-1]
  return jnp.transpose(x.array, [_axes(x.ndim)[axis] for axis in order])


def _reduce(node: Node, operator: Operator, inputs: Sequence[Any]) -> Any:
  """Reduces maps over space; None if it is over something else."""
  x, *more = inputs
  axes = node.get('axes')
  if more and more[0] is not None:
    axes = values.ints(node, more[0], what='axes')
  space = set(range(2, x.ndim))
  if not axes or {values.axis_of(axis, x.ndim) for axis in axes} != space:
    return None
  # By the attribute, as old opsets have it.
  moved = dataclasses.replace(
    node,
    attributes={**node.attributes, 'axes': list(range(1, x.ndim - 1))},
    opset=min(node.opset, 11),
  )
  found = operator(moved, jnp, x.array)
  return Maps(found) if node.get('keepdims', 1) else found


def _pad(node: Node, operator: Operator, inputs: Sequence[Any]) -> Any:
  """Pads maps; None if it is said for some axes."""
  x, *more = inputs
  if len(more) > 2 and more[2] is not None:
    return None
  old = node.opset < 11
  widths = node.get('pads') if old else values.ints(node, more[0], what='pads')
  rank = x.ndim
  order = [0, *range(2, rank), 1]
  moved = [widths[a] for a in order] + [widths[rank + a] for a in order]
  if old:
    node = dataclasses.replace(
      node, attributes={**node.attributes, 'pads': moved}
    )
    return Maps(operator(node, jnp, x.array))
  return Maps(operator(node, jnp, x.array, np.array(moved), *more[1:2]))


_HANDLERS: dict[str, Callable[[Node, Operator, Sequence[Any]], Any]] = {
  'Concat': _along_axis,
  'Split': _along_axis,
  'Transpose': _transpose,
  'ReduceMean': _reduce,
  'ReduceSum': _reduce,
  'ReduceMax': _reduce,
  'Pad': _pad,
  **dict.fromkeys(_BY_ELEMENT, _by_element),
}


def _makes_maps(node: Node, inputs: Sequence[Any]) -> bool:
  """Whether a transposition is of channels that are last, and come second."""
  if node.op != 'Transpose' or values.is_host(inputs[0]):
    return False
  rank = inputs[0].ndim
  order = [0, rank - 1, *range(1, rank - 1)]
  return rank > 2 and node.get('perm') == order


def call(node: Node, operator: Operator, inputs: Sequence[Any]) -> Any:
  """Applies an operator to values in whatever layout is the faster.

  Args:
    node: of the operator.
    operator: takes arrays as ONNX means them, but for maps of those that
      convolve or pool: these it takes and gives with their channels last.
    inputs: values, None for what is left out.
  """
  if node.op in _OF_MAPS and inputs[0].ndim > 2:
    places = _OF_MAPS[node.op]
    arrays = [
      _last(value) if place in places else plain(value)
      for place, value in enumerate(inputs)
    ]
    return _wrapped(operator(node, jnp, *arrays))
  if isinstance(inputs[0] if inputs else None, Maps) or any(
    isinstance(value, Maps) for value in inputs
  ):
    if node.op in _OF_SHAPE:
      return operator(node, np, inputs[0])
    handler = _HANDLERS.get(node.op)
    found = handler(node, operator, inputs) if handler else None
    if found is not None:
      return found
  elif inputs and _makes_maps(node, inputs):
    return Maps(inputs[0])
  arrays = [plain(value) for value in inputs]
  return operator(node, values.namespace(arrays), *arrays)
