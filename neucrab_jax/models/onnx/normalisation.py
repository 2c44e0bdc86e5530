# SPDX-License-Identifier: Apache-2.0
"""Operators that normalise.

Axes: B batch, C channels, and any number of axes of space.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from neucrab_jax.models.onnx import values
from neucrab_jax.models.onnx.graph import Node


def _per_channel(x: Any, parameter: Any) -> Any:
  return parameter.reshape(-1, *[1] * (x.ndim - 2))


def _batch(
  node: Node, xp: Any, x: Any, scale: Any, bias: Any, mean: Any, variance: Any
) -> Any:
  if node.get('training_mode', 0):
    raise ValueError(
      'it was exported in training mode: export it for inference'
    )
  epsilon = np.float32(node.get('epsilon', 1e-5))
  factor = scale / xp.sqrt(variance + epsilon)
  shift = bias - mean * factor
  # The channels come last; see `layout`.
  return x * factor + shift


def standardise(x: Any, axes: tuple[int, ...], epsilon: float) -> Any:
  """Zero mean and unit variance over axes."""
  mean = jnp.mean(x, axes, keepdims=True)
  variance = jnp.mean(jnp.square(x - mean), axes, keepdims=True)
  return (x - mean) * jax.lax.rsqrt(variance + np.float32(epsilon))


def _instance(node: Node, xp: Any, x: Any, scale: Any, bias: Any) -> Any:
  epsilon = node.get('epsilon', 1e-5)
  x = standardise(x, tuple(range(2, x.ndim)), epsilon)
  return x * _per_channel(x, scale) + _per_channel(x, bias)


def layer(node: Node, x: Any, scale: Any, bias: Any = None) -> Any:
  """Layer normalisation over the last axes."""
  axis = values.axis_of(node.get('axis', -1), x.ndim)
  axes = tuple(range(axis, x.ndim))
  y = standardise(x, axes, node.get('epsilon', 1e-5)) * scale
  return y if bias is None else y + bias


def _layer(node: Node, xp: Any, x: Any, scale: Any, bias: Any = None) -> Any:
  if len([output for output in node.outputs if output]) > 1:
    raise ValueError('its mean and variance as outputs are not known here')
  return layer(node, x, scale, bias)


def _rms(node: Node, xp: Any, x: Any, scale: Any) -> Any:
  axis = values.axis_of(node.get('axis', -1), x.ndim)
  axes = tuple(range(axis, x.ndim))
  epsilon = np.float32(node.get('epsilon', 1e-5))
  square = jnp.mean(jnp.square(x), axes, keepdims=True)
  return x * jax.lax.rsqrt(square + epsilon) * scale


def _group(node: Node, xp: Any, x: Any, scale: Any, bias: Any) -> Any:
  groups, channels = node.get('num_groups'), x.shape[1]
  parts = x.reshape(x.shape[0], groups, -1)
  y = standardise(parts, (2,), node.get('epsilon', 1e-5)).reshape(x.shape)
  if node.opset < 21:
    # There is one of each group.
    scale = jnp.repeat(scale, channels // groups)
    bias = jnp.repeat(bias, channels // groups)
  return y * _per_channel(x, scale) + _per_channel(x, bias)


def _local_response(node: Node, xp: Any, x: Any) -> Any:
  size = node.get('size')
  low = (size - 1) // 2
  pads = [(0, 0)] * x.ndim
  pads[1] = (low, size - 1 - low)
  squares = jnp.pad(jnp.square(x), pads)
  total: Any = sum(squares[:, i : i + x.shape[1]] for i in range(size))
  alpha, beta = node.get('alpha', 1e-4), node.get('beta', 0.75)
  return x / (node.get('bias', 1.0) + alpha / size * total) ** beta


def _lp(node: Node, xp: Any, x: Any) -> Any:
  axis, p = node.get('axis', -1), node.get('p', 2)
  norm = jnp.sum(jnp.abs(x) ** p, axis, keepdims=True) ** np.float32(1 / p)
  return x / norm


def _mean_variance(node: Node, xp: Any, x: Any) -> Any:
  axes = tuple(node.get('axes', (0, 2, 3)))
  mean = jnp.mean(x, axes, keepdims=True)
  deviation = jnp.sqrt(jnp.mean(jnp.square(x - mean), axes, keepdims=True))
  return (x - mean) / (deviation + np.float32(1e-9))


def _softmax(node: Node, xp: Any, x: Any) -> Any:
  function = {
    'Softmax': jax.nn.softmax,
    'LogSoftmax': jax.nn.log_softmax,
    'Hardmax': _hardmax,
  }[node.op]
  x = jnp.asarray(x)
  if node.opset >= 13:
    return function(x, axis=node.get('axis', -1))
  # Over all axes from that one on.
  axis = values.axis_of(node.get('axis', 1), x.ndim)
  flat = x.reshape(math.prod(x.shape[:axis]), -1)
  return function(flat, axis=-1).reshape(x.shape)


def _hardmax(x: Any, axis: int) -> Any:
  found = jnp.argmax(x, axis)
  return jax.nn.one_hot(found, x.shape[axis], axis=axis, dtype=x.dtype)


OPERATORS = {
  'BatchNormalization': _batch,
  'InstanceNormalization': _instance,
  'LayerNormalization': _layer,
  'RMSNormalization': _rms,
  'GroupNormalization': _group,
  'LRN': _local_response,
  'LpNormalization': _lp,
  'MeanVarianceNormalization': _mean_variance,
  'Softmax': _softmax,
  'LogSoftmax': _softmax,
  'Hardmax': _softmax,
}
