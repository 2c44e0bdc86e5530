# SPDX-License-Identifier: Apache-2.0
"""Operators of ONNX with inputs, to be compared with its own reference."""

import dataclasses
from typing import Any

import numpy as np
from onnx import TensorProto, helper

_RNG = np.random.default_rng(0)


def normal(*shape):
  return _RNG.standard_normal(shape).astype(np.float32)


def uniform(low, high, *shape):
  return _RNG.uniform(low, high, shape).astype(np.float32)


def ints(*values):
  return np.array(values, np.int64)


def whole(low, high, *shape, dtype='int64'):
  return _RNG.integers(low, high, shape).astype(dtype)


@dataclasses.dataclass(frozen=True)
class Case:
  """One operator.

  Attributes:
    op: its type.
    given: inputs that are given with a call.
    known: inputs that are in the graph, by place.
    opsets: with which it means the same.
    outputs: how many.
    attributes: of the node.
  """

  op: str
  given: tuple[Any, ...] = ()
  known: dict[int, Any] = dataclasses.field(default_factory=dict)
  opsets: tuple[int, ...] = (9, 21)
  outputs: int = 1
  attributes: dict[str, Any] = dataclasses.field(default_factory=dict)

  def model(self, opset, *, domain=''):
    """The model of that one operator, and its inputs by name."""
    inputs, values, tensors = [], {}, []
    given = list(self.given)
    for place in range(len(given) + len(self.known)):
      name = f'x{place}'
      if place not in self.known:
        values[name] = given.pop(0)
      elif self.known[place] is None:
        name = ''
      else:
        array = np.asarray(self.known[place])
        tensors.append(_tensor(name, array))
      inputs.append(name)
    outputs = [f'y{place}' for place in range(self.outputs)]
    node = helper.make_node(
      self.op, inputs, outputs, name='node', domain=domain, **self.attributes
    )
    graph = helper.make_graph(
      [node],
      'g',
      [
        helper.make_tensor_value_info(name, _kind(value), value.shape)
        for name, value in values.items()
      ],
      [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, None)
        for n in outputs
      ],
      tensors,
    )
    opsets = [helper.make_opsetid('', opset)]
    if domain:
      opsets.append(helper.make_opsetid(domain, 1))
    return helper.make_model(graph, opset_imports=opsets), values


def _kind(array):
  return helper.np_dtype_to_tensor_dtype(array.dtype)


def _tensor(name, array):
  return helper.make_tensor(
    name, _kind(array), array.shape, array.tobytes(), raw=True
  )


def case(op, *given, known=None, opsets=None, outputs=1, **attributes):
  return Case(op, given, known or {}, opsets or (9, 21), outputs, attributes)


_UNARY = {
  op: uniform(low, high, 3, 4)
  for op, (low, high) in {
    'Abs': (-2, 2), 'Neg': (-2, 2), 'Exp': (-2, 2), 'Log': (0.1, 2),
    'Sqrt': (0, 2), 'Reciprocal': (0.5, 2), 'Floor': (-3, 3), 'Ceil': (-3, 3),
    'Sign': (-2, 2), 'Sin': (-2, 2), 'Cos': (-2, 2), 'Tan': (-1, 1),
    'Asin': (-1, 1), 'Acos': (-1, 1), 'Atan': (-2, 2), 'Sinh': (-2, 2),
    'Cosh': (-2, 2), 'Tanh': (-2, 2), 'Asinh': (-2, 2), 'Acosh': (1, 3),
    'Atanh': (-0.9, 0.9), 'Erf': (-2, 2), 'Relu': (-2, 2), 'Sigmoid': (-2, 2),
    'Softplus': (-2, 2), 'Softsign': (-2, 2), 'LeakyRelu': (-2, 2),
    'Elu': (-2, 2), 'Selu': (-2, 2), 'HardSigmoid': (-4, 4),
    'Identity': (-2, 2), 'Shrink': (-2, 2), 'ThresholdedRelu': (-2, 2),
  }.items()
}  # fmt: skip

_REDUCTIONS = ('ReduceMean', 'ReduceSum', 'ReduceProd', 'ReduceMax',
               'ReduceMin', 'ReduceL1', 'ReduceL2', 'ReduceSumSquare',
               'ReduceLogSum', 'ReduceLogSumExp')  # fmt: skip


def _reductions():
  x = uniform(0.5, 2, 2, 3, 4)
  for op in _REDUCTIONS:
    by_sum = op == 'ReduceSum'
    old = (9, 11) if by_sum else (9, 13, 17)
    new = (13, 18, 21) if by_sum else (18, 21)
    yield case(op, x, axes=[1], opsets=old)
    yield case(op, x, axes=[-1, 0], keepdims=0, opsets=old)
    yield case(op, x, opsets=old)
    yield case(op, x, known={1: ints(1, 2)}, opsets=new)
    yield case(op, x, known={1: ints(-1)}, keepdims=0, opsets=new)
    yield case(op, x, opsets=new)
    yield case(op, x, noop_with_empty_axes=1, opsets=new)


def _elementwise():
  a, b = normal(2, 3, 4), normal(3, 1)
  for op in ('Add', 'Sub', 'Mul', 'Div'):
    yield case(op, a, b)
    yield case(op, whole(-9, 9, 5), whole(1, 5, 5))
  for op in ('Max', 'Min', 'Mean', 'Sum'):
    yield case(op, a, b, normal(4))
    yield case(op, a)
  for op in ('And', 'Or', 'Xor'):
    yield case(op, a > 0, b > 0)
  for op in ('Less', 'Greater', 'Equal'):
    yield case(op, np.round(a), np.round(b), opsets=(11, 13, 21))
  for op in ('LessOrEqual', 'GreaterOrEqual'):
    yield case(op, np.round(a), np.round(b), opsets=(12, 16, 21))
  for op in ('BitwiseAnd', 'BitwiseOr', 'BitwiseXor'):
    yield case(
      op, whole(0, 99, 5, dtype='int32'), whole(0, 99, 5, dtype='int32'),
      opsets=(18, 21),
    )  # fmt: skip
  yield case('BitwiseNot', whole(0, 99, 5, dtype='int32'), opsets=(18, 21))
  for direction in ('LEFT', 'RIGHT'):
    yield case(
      'BitShift', whole(0, 99, 5, dtype='uint8'),
      whole(0, 4, 5, dtype='uint8'), direction=direction, opsets=(11, 21),
    )  # fmt: skip
  yield case('Mod', whole(-9, 9, 9), whole(1, 5, 9), opsets=(10, 13, 21))
  yield case('Mod', a, b, fmod=1, opsets=(10, 13, 21))
  yield case('Pow', uniform(0.5, 2, 3, 4), normal(4), opsets=(9, 13, 21))
  for power in (2.0, 0.5, -1.0):
    known = {1: np.array(power, np.float32)}
    yield case('Pow', uniform(0.5, 2, 3), known=known, opsets=(9, 13, 21))
  yield case('Round', np.arange(-5, 6, dtype=np.float32) / 2, opsets=(11, 21))
  yield case('Not', a > 0)
  yield case('Where', a > 0, a, b)
  yield case('IsNaN', np.array([1, np.nan, np.inf], np.float32))
  odd = np.array([1, np.nan, np.inf, -np.inf], np.float32)
  yield case('IsInf', odd, opsets=(10, 20))
  yield case('IsInf', odd, detect_negative=0, opsets=(10, 20))
  yield case('IsInf', odd, detect_positive=0, opsets=(10, 20))
  yield case('PRelu', a, known={1: normal(3, 1)})
  yield case('PRelu', a, normal(4))
  yield case('Celu', a, alpha=0.7, opsets=(12, 21))
  yield case('HardSwish', 4 * a, opsets=(14, 21))
  yield case('Mish', a, opsets=(18, 21))
  yield case('Gelu', a, opsets=(20, 21))
  yield case('Gelu', a, approximate='tanh', opsets=(20, 21))
  yield case('LeakyRelu', a, alpha=0.3)
  yield case('HardSigmoid', a, alpha=0.5, beta=0.4)
  yield case('Shrink', a, lambd=0.7, bias=0.2)
  yield case('Selu', a, alpha=1.1, gamma=1.2)
  yield case('Clip', a, min=-0.5, max=0.7, opsets=(9,))
  yield case('Clip', a, opsets=(9, 11, 21))
  for known in ({1: np.float32(-0.5)}, {1: None, 2: np.float32(0.7)}):
    yield case('Clip', a, known=known, opsets=(11, 13, 21))
  for kind in (TensorProto.INT32, TensorProto.BOOL, TensorProto.FLOAT):
    yield case('Cast', 3 * a, to=kind)
  yield case('CastLike', 3 * a, whole(0, 2, 1, dtype='int32'), opsets=(15, 21))
  yield case('Dropout', a, opsets=(10, 12, 21))
  for exclusive in (0, 1):
    for reverse in (0, 1):
      yield case(
        'CumSum', a, known={1: np.array(1)}, exclusive=exclusive,
        reverse=reverse, opsets=(11, 14, 21),
      )  # fmt: skip
  for op in ('ArgMax', 'ArgMin'):
    yield case(op, np.round(a), axis=1)
    yield case(op, np.round(a), axis=-1, keepdims=0)
    yield case(
      op, np.round(a), axis=1, select_last_index=1, opsets=(12, 13, 21)
    )
  for op in ('Softmax', 'LogSoftmax', 'Hardmax'):
    # Of older ones the reference doesn't know that axes behind are one.
    for axis in ({}, {'axis': 1}, {'axis': -1}):
      yield case(op, a, opsets=(13, 21), **axis)
    yield case(op, a, axis=-1, opsets=(9,))


def by_element():
  """Operators of one element at a time, and those that reduce."""
  yield from (case(op, x) for op, x in _UNARY.items())
  yield from _elementwise()
  yield from _reductions()
