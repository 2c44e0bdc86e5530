# SPDX-License-Identifier: Apache-2.0
"""Operators that reduce, sort or accumulate along axes."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from neucrab_jax.models.onnx import pooling, values
from neucrab_jax.models.onnx.graph import Node

# From this opset on the axes are an input; of ReduceSum earlier.
_AXES_ARE_INPUT = 18
_OF_SUM = 13


def _log_sum_exp(xp: Any, x: Any, **where: Any) -> Any:
  return jax.nn.logsumexp(jnp.asarray(x), **where)


_REDUCTIONS: dict[str, Callable[..., Any]] = {
  'ReduceMean': pooling.mean,
  'ReduceSum': lambda xp, x, **where: xp.sum(x, **where).astype(x.dtype),
  'ReduceProd': lambda xp, x, **where: xp.prod(x, **where).astype(x.dtype),
  'ReduceMax': lambda xp, x, **where: xp.max(x, **where),
  'ReduceMin': lambda xp, x, **where: xp.min(x, **where),
  'ReduceL1': lambda xp, x, **where: xp.sum(xp.abs(x), **where),
  'ReduceL2': lambda xp, x, **where: xp.sqrt(xp.sum(x * x, **where)),
  'ReduceSumSquare': lambda xp, x, **where: xp.sum(x * x, **where),
  'ReduceLogSum': lambda xp, x, **where: xp.log(xp.sum(x, **where)),
  'ReduceLogSumExp': _log_sum_exp,
}


def _reduce(node: Node, xp: Any, x: Any, axes: Any = None) -> Any:
  first = _OF_SUM if node.op == 'ReduceSum' else _AXES_ARE_INPUT
  if node.opset < first:
    axes = node.get('axes')
  elif axes is not None:
    axes = values.ints(node, axes, what='axes')
  if not axes:
    # Without axes, all of them; or none, and what is of each element is done.
    axes = () if node.get('noop_with_empty_axes', 0) else range(x.ndim)
  where = {
    'axis': tuple(values.axis_of(axis, x.ndim) for axis in axes),
    'keepdims': bool(node.get('keepdims', 1)),
  }
  return _REDUCTIONS[node.op](xp, x, **where)


def _arg(node: Node, xp: Any, x: Any) -> Any:
  axis = values.axis_of(node.get('axis', 0), x.ndim)
  find = xp.argmax if node.op == 'ArgMax' else xp.argmin
  if node.get('select_last_index', 0):
    found = x.shape[axis] - 1 - find(xp.flip(x, axis), axis=axis)
  else:
    found = find(x, axis=axis)
  if node.get('keepdims', 1):
    found = xp.expand_dims(found, axis)
  return values.cast(xp, found, 'int64')


def _cumulate(node: Node, xp: Any, x: Any, axis: Any) -> Any:
  (axis,) = values.ints(node, axis, what='axis')
  axis = values.axis_of(axis, x.ndim)
  if node.get('reverse', 0):
    x = xp.flip(x, axis)
  sums = xp.cumsum(x, axis=axis).astype(x.dtype)
  if node.get('exclusive', 0):
    sums = sums - x
  return xp.flip(sums, axis) if node.get('reverse', 0) else sums


def _top(node: Node, xp: Any, x: Any, k: Any = None) -> Any:
  if node.opset < 10:
    count = node.get('k')
  else:
    (count,) = values.ints(node, k, what='number of values')
  axis = values.axis_of(node.get('axis', -1), x.ndim)
  # Stable, so that of equal ones the first comes first.
  keys = -x if node.get('largest', 1) else x
  if jnp.issubdtype(x.dtype, jnp.unsignedinteger):
    keys = -values.cast(xp, x, 'int64') if node.get('largest', 1) else x
  order = xp.argsort(keys, axis=axis, stable=True)
  order = xp.take(order, np.arange(count), axis=axis)
  found = xp.take_along_axis(x, order, axis=axis)
  return found, values.cast(xp, order, 'int64')


OPERATORS = {
  **dict.fromkeys(_REDUCTIONS, _reduce),
  'ArgMax': _arg,
  'ArgMin': _arg,
  'CumSum': _cumulate,
  'TopK': _top,
}
