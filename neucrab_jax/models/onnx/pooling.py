# SPDX-License-Identifier: Apache-2.0
"""Pools; maps come and go with their channels last, see `layout`.

Axes: B batch, C channels, and any number of axes of space.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from neucrab_jax.models import pooling
from neucrab_jax.models.onnx import windows
from neucrab_jax.models.onnx.graph import Node

# As maps of what each place sees, small windows are the faster on a CPU.
_SMALL = 64


def _space(x: Any) -> tuple[int, ...]:
  return tuple(range(1, x.ndim - 1))


def mean(xp: Any, x: Any, *, axis: tuple[int, ...], keepdims: bool) -> Any:
  """The mean along axes; that of whole maps in the way that is fast."""
  is_float = jnp.issubdtype(x.dtype, jnp.floating)
  if xp is not jnp or not is_float or x.ndim != 4 or sorted(axis) != [1, 2]:
    return xp.mean(x, axis=axis, keepdims=keepdims).astype(x.dtype)
  found = pooling.global_average(jnp.asarray(x))
  return found[:, None, None] if keepdims else found


def _global_average(node: Node, xp: Any, x: Any) -> Any:
  return mean(xp, x, axis=_space(x), keepdims=True)


def _max(node: Node, xp: Any, x: Any) -> Any:
  if len([output for output in node.outputs if output]) > 1:
    raise ValueError('the places of the maxima are not known here')
  where = windows.find(node, x.shape[1:-1], node.get('kernel_shape'))
  is_float = jnp.issubdtype(x.dtype, jnp.floating)
  least = -jnp.inf if is_float else jnp.iinfo(x.dtype).min
  x = jnp.asarray(x)
  if math.prod(where.size) <= _SMALL:
    seen = windows.places(x, where, fill=least)
    return functools.reduce(jnp.maximum, seen)
  return jax.lax.reduce_window(
    x,
    jnp.asarray(least, x.dtype),
    jax.lax.max,
    window_dimensions=(1, *where.size, 1),
    window_strides=(1, *where.strides, 1),
    padding=[(0, 0), *where.all_pads, (0, 0)],
    window_dilation=(1, *where.dilations, 1),
  )


def _sum(x: Any, where: windows.Windows) -> jax.Array:
  if math.prod(where.size) <= _SMALL:
    return functools.reduce(jnp.add, windows.places(x, where, fill=0))
  return jax.lax.reduce_window(
    x,
    jnp.zeros((), x.dtype),
    jax.lax.add,
    window_dimensions=(1, *where.size, 1),
    window_strides=(1, *where.strides, 1),
    padding=[(0, 0), *where.all_pads, (0, 0)],
    window_dilation=(1, *where.dilations, 1),
  )


def average(node: Node, x: Any) -> jax.Array:
  """The average of each window, by the attributes of a node."""
  x = jnp.asarray(x)
  size = node.get('kernel_shape')
  where = windows.find(node, x.shape[1:-1], size)
  if tuple(size) == x.shape[1:-1] and not any(map(sum, where.all_pads)):
    return jnp.mean(x, _space(x), keepdims=True)
  pads = bool(node.get('count_include_pad', 0))
  return _sum(x, where) / windows.covered(where, x.shape[1:-1], pads=pads)


def _lp(node: Node, xp: Any, x: Any) -> Any:
  p = node.get('p', 2)
  where = windows.find(node, x.shape[1:-1], node.get('kernel_shape'))
  return _sum(jnp.abs(x) ** p, where) ** (1 / p)


def _global_lp(node: Node, xp: Any, x: Any) -> Any:
  p = node.get('p', 2)
  return jnp.sum(jnp.abs(x) ** p, _space(x), keepdims=True) ** np.float32(1 / p)


OPERATORS = {
  'MaxPool': _max,
  'AveragePool': lambda node, xp, x: average(node, x),
  'LpPool': _lp,
  'GlobalAveragePool': _global_average,
  'GlobalMaxPool': lambda node, xp, x: xp.max(x, _space(x), keepdims=True),
  'GlobalLpPool': _global_lp,
}
