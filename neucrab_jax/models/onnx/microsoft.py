# SPDX-License-Identifier: Apache-2.0
"""Operators of ONNX Runtime's own, which its quantiser and optimiser write."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from neucrab_jax.models.onnx import (
  convolution,
  elementwise,
  normalisation,
  pooling,
  quantised,
)
from neucrab_jax.models.onnx.graph import Node


def _binary(function: Callable[[Any, Any], Any]) -> Callable[..., Any]:
  def apply(
    node: Node, xp: Any, a: Any, a_scale: Any, a_zero: Any, b: Any,
    b_scale: Any, b_zero: Any, y_scale: Any, y_zero: Any = None,
  ) -> Any:  # fmt: skip
    y = function(
      quantised.dequantise(a, a_scale, a_zero),
      quantised.dequantise(b, b_scale, b_zero),
    )
    return _again(y, y_scale, y_zero, a.dtype)

  return apply


def _again(y: Any, scale: Any, zero: Any, dtype: Any) -> Any:
  zero = np.zeros((), dtype) if zero is None else zero
  return quantised.quantise(y, scale, zero, dtype)


def _unary(function: Callable[[Node, Any], Any]) -> Callable[..., Any]:
  def apply(
    node: Node, xp: Any, x: Any, x_scale: Any, x_zero: Any, y_scale: Any,
    y_zero: Any = None,
  ) -> Any:  # fmt: skip
    y = function(node, quantised.dequantise(x, x_scale, x_zero))
    return _again(y, y_scale, y_zero, x.dtype)

  return apply


def _check_channels_first(node: Node) -> None:
  if node.get('channels_last', 0):
    raise ValueError('channels that come last are not known here')


def _global_average(node: Node, x: Any) -> Any:
  _check_channels_first(node)
  return jnp.mean(x, tuple(range(1, x.ndim - 1)), keepdims=True)


def _average(node: Node, x: Any) -> Any:
  _check_channels_first(node)
  return pooling.average(node, x)


def _concat(node: Node, xp: Any, y_scale: Any, y_zero: Any, *inputs: Any):
  parts = [
    quantised.dequantise(*inputs[place : place + 3])
    for place in range(0, len(inputs), 3)
  ]
  y = jnp.concatenate(parts, axis=node.get('axis'))
  return _again(y, y_scale, y_zero, y_zero.dtype)


def _softmax(node: Node, x: Any) -> Any:
  return jax.nn.softmax(x, axis=node.get('axis', -1))


def _gemm(
  node: Node, xp: Any, a: Any, a_scale: Any, a_zero: Any, b: Any, b_scale: Any,
  b_zero: Any, c: Any = None, y_scale: Any = None, y_zero: Any = None,
) -> Any:  # fmt: skip
  scale = a_scale * b_scale
  axis = 0 if node.get('transB', 0) else 1
  wide = b_scale.reshape(-1, 1) if b_scale.size > 1 and not axis else b_scale
  b_zero = b_zero.reshape(-1, 1) if b_zero.size > 1 and not axis else b_zero
  c = None if c is None else quantised.dequantise(c, scale)
  y = convolution.gemm(
    node,
    jnp,
    quantised.dequantise(a, a_scale, a_zero),
    quantised.dequantise(b, wide, b_zero),
    c,
  )
  return y if y_scale is None else _again(y, y_scale, y_zero, a.dtype)


def _fused_conv(
  node: Node, xp: Any, x: Any, kernel: Any, bias: Any = None, more: Any = None
) -> Any:
  y = convolution.convolve(node, x, kernel, bias)
  y = y if more is None else y + more
  kind = node.get('activation', 'Identity')
  numbers = node.get('activation_params', [])
  if kind == 'Clip':
    return jnp.clip(y, *numbers)
  names = {'LeakyRelu': ('alpha',), 'HardSigmoid': ('alpha', 'beta')}
  attributes = dict(zip(names.get(kind, ()), numbers, strict=False))
  inner = Node(kind, node.outputs, node.outputs, attributes, opset=13)
  return elementwise.OPERATORS[kind](inner, jnp, y)


def _quick_gelu(node: Node, xp: Any, x: Any) -> Any:
  return x * jax.nn.sigmoid(node.get('alpha', 1.702) * x)


def _skip_layer(
  node: Node, xp: Any, x: Any, skip: Any, scale: Any, beta: Any = None,
  bias: Any = None,
) -> Any:  # fmt: skip
  total = x + skip if bias is None else x + skip + bias
  # The second and third are for training.
  y = normalisation.layer(node, total, scale, beta)
  return (y, None, None, total)[: len(node.outputs)]


def _fused_matmul(node: Node, xp: Any, a: Any, b: Any) -> Any:
  a = jnp.swapaxes(a, -1, -2) if node.get('transA', 0) else a
  b = jnp.swapaxes(b, -1, -2) if node.get('transB', 0) else b
  return np.float32(node.get('alpha', 1.0)) * convolution.matmul(jnp, a, b)


OPERATORS = {
  'QLinearAdd': _binary(jnp.add),
  'QLinearMul': _binary(jnp.multiply),
  'QLinearGlobalAveragePool': _unary(_global_average),
  'QLinearAveragePool': _unary(_average),
  'QLinearSigmoid': _unary(lambda node, x: jax.nn.sigmoid(x)),
  'QLinearLeakyRelu': _unary(
    lambda node, x: jnp.where(x < 0, node.get('alpha', 0.01) * x, x)
  ),
  'QLinearSoftmax': _unary(_softmax),
  'QLinearConcat': _concat,
  'QGemm': _gemm,
  'QuantizeLinear': quantised.OPERATORS['QuantizeLinear'],
  'DequantizeLinear': quantised.OPERATORS['DequantizeLinear'],
  'FusedConv': _fused_conv,
  'FusedMatMul': _fused_matmul,
  'Gelu': lambda node, xp, x: jax.nn.gelu(x, approximate=False),
  'FastGelu': lambda node, xp, x, bias=0: jax.nn.gelu(x + bias),
  'BiasGelu': lambda node, xp, x, bias: jax.nn.gelu(
    x + bias, approximate=False
  ),
  'QuickGelu': _quick_gelu,
  'SkipLayerNormalization': _skip_layer,
}
