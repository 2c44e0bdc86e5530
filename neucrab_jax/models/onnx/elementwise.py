# SPDX-License-Identifier: Apache-2.0
"""Operators of one element at a time: arithmetic, logic, activations."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from neucrab_jax.models.onnx import values
from neucrab_jax.models.onnx.graph import Node

# Called with a node, the namespace of its values, and these.
Operator = Callable[..., Any]


def _named(name: str) -> Operator:
  """The function of that name of NumPy and jax.numpy."""
  return lambda node, xp, *inputs: getattr(xp, name)(*inputs)


def _folded(name: str) -> Operator:
  """The same of two, over any number of inputs."""
  return lambda node, xp, *inputs: functools.reduce(getattr(xp, name), inputs)


def _activation(function: Callable[..., Any], **defaults: float) -> Operator:
  """A function of the input and of the node's attributes."""

  def apply(node: Node, xp: Any, x: Any) -> Any:
    given = {name: node.get(name, value) for name, value in defaults.items()}
    return function(x, **given)

  return apply


def _divide(node: Node, xp: Any, a: Any, b: Any) -> Any:
  if jnp.issubdtype(a.dtype, jnp.integer):
    # Towards zero, as C has it.
    quotient = xp.abs(a) // xp.abs(b)
    return quotient * xp.sign(a) * xp.sign(b)
  return a / b


def _modulo(node: Node, xp: Any, a: Any, b: Any) -> Any:
  return xp.fmod(a, b) if node.get('fmod', 0) else xp.mod(a, b)


def _power(node: Node, xp: Any, x: Any, exponent: Any) -> Any:
  if values.is_host(exponent) and exponent.size == 1:
    number = float(exponent.reshape(()))
    shape = np.broadcast_shapes(x.shape, exponent.shape)
    # Of a whole number, a product, with a derivative at zero.
    power = int(number) if number == int(number) else number
    return xp.broadcast_to(xp.asarray(x**power).astype(x.dtype), shape)
  return xp.power(x, exponent).astype(x.dtype)


def _mean(node: Node, xp: Any, *inputs: Any) -> Any:
  return functools.reduce(xp.add, inputs) / np.float32(len(inputs))


def _clip(node: Node, xp: Any, x: Any, low: Any = None, high: Any = None):
  if node.opset < 11:
    low, high = node.get('min'), node.get('max')
  if low is not None:
    x = xp.maximum(x, xp.asarray(low, x.dtype))
  if high is not None:
    x = xp.minimum(x, xp.asarray(high, x.dtype))
  return x


def _cast(node: Node, xp: Any, x: Any) -> Any:
  dtype = values.dtype_of(node, node.get('to'))
  if dtype.startswith(('int', 'uint')) and jnp.issubdtype(
    x.dtype, jnp.floating
  ):
    x = xp.trunc(x)
  return values.cast(xp, x, dtype)


def _cast_like(node: Node, xp: Any, x: Any, like: Any) -> Any:
  return values.cast(xp, x, str(like.dtype))


def _identity(node: Node, xp: Any, x: Any, *unused: Any) -> Any:
  return x


def _dropout(node: Node, xp: Any, x: Any, *unused: Any) -> Any:
  return x, xp.ones(x.shape, bool)


def _infinite(node: Node, xp: Any, x: Any) -> Any:
  found = xp.isinf(x)
  if not node.get('detect_negative', 1):
    found &= x > 0
  if not node.get('detect_positive', 1):
    found &= x < 0
  return found


def _prelu(node: Node, xp: Any, x: Any, slope: Any) -> Any:
  if slope.ndim == 1 and x.ndim > 2 and slope.shape[0] == x.shape[1]:
    # As old exporters wrote it: of each channel.
    slope = slope.reshape(1, -1, *[1] * (x.ndim - 2))
  return xp.where(x < 0, slope * x, x)


def _gelu(node: Node, xp: Any, x: Any) -> Any:
  kind = node.get('approximate', 'none')
  return jax.nn.gelu(jnp.asarray(x), approximate=kind == 'tanh')


def _hard_sigmoid(x: Any, alpha: float, beta: float) -> Any:
  return jnp.clip(alpha * x + beta, 0, 1)


def _shrink(x: Any, lambd: float, bias: float) -> Any:
  return jnp.where(x < -lambd, x + bias, jnp.where(x > lambd, x - bias, 0))


def _selu(x: Any, alpha: float, gamma: float) -> Any:
  return gamma * jax.nn.elu(x, alpha)


def _shift(node: Node, xp: Any, a: Any, b: Any) -> Any:
  left = node.get('direction') == 'LEFT'
  return xp.left_shift(a, b) if left else xp.right_shift(a, b)


OPERATORS: dict[str, Operator] = {
  **{
    op: _named(name)
    for op, name in {
      'Abs': 'abs',
      'Neg': 'negative',
      'Exp': 'exp',
      'Log': 'log',
      'Sqrt': 'sqrt',
      'Reciprocal': 'reciprocal',
      'Floor': 'floor',
      'Ceil': 'ceil',
      'Round': 'round',
      'Sign': 'sign',
      'Sin': 'sin',
      'Cos': 'cos',
      'Tan': 'tan',
      'Asin': 'arcsin',
      'Acos': 'arccos',
      'Atan': 'arctan',
      'Sinh': 'sinh',
      'Cosh': 'cosh',
      'Tanh': 'tanh',
      'Asinh': 'arcsinh',
      'Acosh': 'arccosh',
      'Atanh': 'arctanh',
      'IsNaN': 'isnan',
      'Not': 'logical_not',
      'And': 'logical_and',
      'Or': 'logical_or',
      'Xor': 'logical_xor',
      'Equal': 'equal',
      'Less': 'less',
      'LessOrEqual': 'less_equal',
      'Greater': 'greater',
      'GreaterOrEqual': 'greater_equal',
      'BitwiseAnd': 'bitwise_and',
      'BitwiseOr': 'bitwise_or',
      'BitwiseXor': 'bitwise_xor',
      'BitwiseNot': 'bitwise_not',
      'Add': 'add',
      'Sub': 'subtract',
      'Mul': 'multiply',
      'Where': 'where',
    }.items()
  },
  'Sum': _folded('add'),
  'Max': _folded('maximum'),
  'Min': _folded('minimum'),
  'Mean': _mean,
  'Div': _divide,
  'Mod': _modulo,
  'Pow': _power,
  'Clip': _clip,
  'Cast': _cast,
  'CastLike': _cast_like,
  'Identity': _identity,
  'Dropout': _dropout,
  'IsInf': _infinite,
  'PRelu': _prelu,
  'Gelu': _gelu,
  'BitShift': _shift,
  # A choice, for what `pytorch.activations.relu` says.
  'Relu': lambda node, xp, x: xp.where(x <= 0, xp.zeros((), x.dtype), x),
  'Erf': _activation(jax.scipy.special.erf),
  'Sigmoid': _activation(jax.nn.sigmoid),
  'Softplus': _activation(jax.nn.softplus),
  'Softsign': _activation(jax.nn.soft_sign),
  'Mish': _activation(jax.nn.mish),
  'LeakyRelu': _activation(
    lambda x, alpha: jnp.where(x < 0, alpha * x, x), alpha=0.01
  ),
  'Elu': _activation(lambda x, alpha: jax.nn.elu(x, alpha), alpha=1.0),
  'Celu': _activation(lambda x, alpha: jax.nn.celu(x, alpha), alpha=1.0),
  'Selu': _activation(
    _selu, alpha=1.67326319217681884765625, gamma=1.05070102214813232421875
  ),
  'ThresholdedRelu': _activation(
    lambda x, alpha: jnp.where(x > alpha, x, 0), alpha=1.0
  ),
  'HardSigmoid': _activation(_hard_sigmoid, alpha=0.2, beta=0.5),
  'HardSwish': lambda node, xp, x: x * _hard_sigmoid(x, 1 / 6, 0.5),
  'Swish': _activation(
    lambda x, alpha: x * jax.nn.sigmoid(alpha * x), alpha=1.0
  ),
  'Shrink': _activation(_shrink, lambd=0.5, bias=0.0),
}
