# SPDX-License-Identifier: Apache-2.0
"""Operators of integers that stand for numbers: x ≈ (q − zero point) · scale.

Sums of products are taken in f32, which is fast everywhere and exact up to 2²⁴;
beyond that it is off by less than what rounding to eight bits loses.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np

from neucrab_jax.models.onnx import convolution, values
from neucrab_jax.models.onnx.graph import Node


def _along(parameter: Any, x: Any, axis: int, block: int = 0) -> Any:
  """A scale or zero point in the shape that it has beside x."""
  if parameter.size == 1:
    return parameter.reshape(())
  axis = values.axis_of(axis, x.ndim)
  if block:
    repeated = jnp.repeat(jnp.asarray(parameter), block, axis=axis)
    return repeated[tuple(slice(size) for size in x.shape)]
  shape = [1] * x.ndim
  shape[axis] = -1
  return parameter.reshape(shape)


def quantise(x: Any, scale: Any, zero: Any, dtype: Any) -> Any:
  """Rounds to the nearest, halves to the even one, and saturates."""
  limits = jnp.iinfo(dtype)
  rounded = jnp.round(x / scale) + jnp.asarray(zero, jnp.float32)
  return jnp.clip(rounded, limits.min, limits.max).astype(dtype)


def dequantise(x: Any, scale: Any, zero: Any = None) -> Any:
  x = jnp.asarray(x).astype(jnp.float32)
  if zero is not None:
    x = x - jnp.asarray(zero).astype(jnp.float32)
  return x * scale


def _quantise(node: Node, xp: Any, x: Any, scale: Any, zero: Any = None) -> Any:
  dtype = 'uint8'
  if zero is not None:
    dtype = zero.dtype
  elif node.get('output_dtype', 0):
    dtype = values.dtype_of(node, node.get('output_dtype'))
  if jnp.issubdtype(dtype, jnp.floating):
    raise ValueError('floats of eight bits are not known here')
  axis, block = node.get('axis', 1), node.get('block_size', 0)
  zero = np.zeros((), dtype) if zero is None else zero
  return quantise(
    x, _along(scale, x, axis, block), _along(zero, x, axis, block), dtype
  )


def _dequantise(
  node: Node, xp: Any, x: Any, scale: Any, zero: Any = None
) -> Any:
  axis, block = node.get('axis', 1), node.get('block_size', 0)
  if zero is not None:
    zero = _along(zero, x, axis, block)
  return dequantise(x, _along(scale, x, axis, block), zero)


def _dynamic(node: Node, xp: Any, x: Any) -> Any:
  low = jnp.minimum(jnp.min(x), 0)
  high = jnp.maximum(jnp.max(x), 0)
  scale = (high - low) / np.float32(255)
  # Of all zeros, any scale will do.
  safe = jnp.where(scale > 0, scale, 1)
  zero = jnp.clip(jnp.round(-low / safe), 0, 255).astype(jnp.uint8)
  return quantise(x, safe, zero, jnp.uint8), scale, zero


def _shifted(x: Any, zero: Any, axis: int | None = None) -> Any:
  """q − zero point, as f32."""
  x = jnp.asarray(x).astype(jnp.float32)
  if zero is None:
    return x
  zero = jnp.asarray(zero).astype(jnp.float32)
  if zero.size > 1 and axis is not None and zero.ndim == 1:
    zero = _along(zero, x, axis)
  return x - (zero.reshape(()) if zero.size == 1 else zero)


def _conv_integer(
  node: Node, xp: Any, x: Any, kernel: Any, x_zero: Any = None,
  kernel_zero: Any = None,
) -> Any:  # fmt: skip
  y = convolution.convolve(
    node, _shifted(x, x_zero), _shifted(kernel, kernel_zero, 0)
  )
  return jnp.round(y).astype(jnp.int32)


def _matmul_integer(
  node: Node, xp: Any, a: Any, b: Any, a_zero: Any = None, b_zero: Any = None
) -> Any:
  # Of the rows of a and of the columns of b.
  y = convolution.matmul(jnp, _shifted(a, a_zero, -2), _shifted(b, b_zero, -1))
  return jnp.round(y).astype(jnp.int32)


def _conv(
  node: Node, xp: Any, x: Any, x_scale: Any, x_zero: Any, kernel: Any,
  kernel_scale: Any, kernel_zero: Any, y_scale: Any, y_zero: Any,
  bias: Any = None,
) -> Any:  # fmt: skip
  y = convolution.convolve(
    node, _shifted(x, x_zero), _shifted(kernel, kernel_zero, 0)
  )
  if bias is not None:
    y = y + bias.astype(jnp.float32)
  scale = x_scale.reshape(()) * kernel_scale.reshape(-1)
  return quantise(y * scale, y_scale, y_zero, y_zero.dtype)


def _matmul(
  node: Node, xp: Any, a: Any, a_scale: Any, a_zero: Any, b: Any, b_scale: Any,
  b_zero: Any, y_scale: Any, y_zero: Any,
) -> Any:  # fmt: skip
  y = convolution.matmul(jnp, _shifted(a, a_zero, -2), _shifted(b, b_zero, -1))
  if a_scale.size > 1 and a_scale.ndim == 1:
    a_scale = a_scale[:, None]
  return quantise(y * (a_scale * b_scale), y_scale, y_zero, y_zero.dtype)


OPERATORS = {
  'QuantizeLinear': _quantise,
  'DequantizeLinear': _dequantise,
  'DynamicQuantizeLinear': _dynamic,
  'ConvInteger': _conv_integer,
  'MatMulInteger': _matmul_integer,
  'QLinearConv': _conv,
  'QLinearMatMul': _matmul,
}
