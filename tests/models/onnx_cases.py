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


def _shapes():
  x = normal(2, 3, 4)
  yield case('Shape', x)
  yield case('Shape', x, start=1, end=-1, opsets=(15, 21))
  yield case('Size', x)
  yield case('Reshape', x, known={1: ints(0, -1)})
  yield case('Reshape', x, known={1: ints(4, 6)})
  yield case('Reshape', x[:0], known={1: ints(0, 12)}, allowzero=1,
             opsets=(14, 21))  # fmt: skip
  for axis in (0, 1, 2, -1):
    yield case('Flatten', x, axis=axis, opsets=(11, 13, 21))
  one = normal(1, 3, 1)
  yield case('Squeeze', one)
  yield case('Squeeze', one, axes=[0], opsets=(9, 11))
  yield case('Squeeze', one, known={1: ints(-1)}, opsets=(13, 21))
  yield case('Unsqueeze', x, axes=[0, 3], opsets=(9, 11))
  yield case('Unsqueeze', x, known={1: ints(1, -1)}, opsets=(13, 21))
  yield case('Transpose', x)
  yield case('Transpose', x, perm=[1, 2, 0])
  yield case('Concat', x, normal(2, 1, 4), axis=1)
  yield case('Concat', x, normal(2, 3, 2), axis=-1, opsets=(11, 13, 21))
  yield case('Split', x, axis=2, split=[1, 3], outputs=2, opsets=(9, 11))
  yield case('Split', x, axis=2, outputs=2, opsets=(9, 13))
  yield case('Split', x, known={1: ints(1, 3)}, axis=2, outputs=2,
             opsets=(13, 18, 21))  # fmt: skip
  yield case('Split', normal(7), num_outputs=3, outputs=3, opsets=(18, 21))
  yield case('Slice', x, starts=[0, 1], ends=[2, 1000], axes=[0, 2],
             opsets=(9,))  # fmt: skip
  far = np.iinfo(np.int64)
  for starts, ends, axes, steps in (
    ([1], [far.max], [1], [1]),
    ([-1], [far.min], [2], [-1]),
    ([-2, 0], [-1, 4], [1, 2], [1, 2]),
    ([5], [-9], [2], [-2]),
  ):
    known = {
      1: ints(*starts), 2: ints(*ends), 3: ints(*axes), 4: ints(*steps)
    }  # fmt: skip
    yield case('Slice', x, known=known, opsets=(10, 11, 13, 21))
  yield case('Slice', x, known={1: ints(0, 1), 2: ints(1, 2)},
             opsets=(10, 13, 21))  # fmt: skip
  for axis in (0, 1, -1):
    yield case('Gather', x, known={1: ints([0, 1], [1, -1])}, axis=axis,
               opsets=(11, 13, 21))  # fmt: skip
  yield case('Gather', x, whole(0, 2, 3), axis=1)
  yield case('GatherElements', x, whole(-3, 3, 2, 2, 4), axis=1,
             opsets=(11, 13, 21))  # fmt: skip
  yield case('GatherND', x, whole(0, 2, 2, 2), opsets=(11, 13, 21))
  yield case('GatherND', x, whole(0, 3, 2, 1), batch_dims=1,
             opsets=(12, 13, 21))  # fmt: skip
  yield case('ScatterND', x, known={1: ints([0], [1]), 2: normal(2, 3, 4)},
             opsets=(11, 13, 21))  # fmt: skip
  yield case('ScatterElements', x, whole(0, 3, 2, 1, 4), normal(2, 1, 4),
             axis=1, opsets=(11, 13, 21))  # fmt: skip
  yield case('Expand', normal(3, 1), known={1: ints(2, 1, 4)})
  yield case('Tile', x, known={1: ints(1, 2, 3)})
  yield case('Pad', x, pads=[0, 1, 2, 0, 0, 1], value=0.5, opsets=(9,))
  yield case('Pad', x, pads=[0, 1, 2, 0, 0, 1], mode='reflect', opsets=(9,))
  pads = ints(0, 1, 2, 0, 0, 1)
  for mode in ('constant', 'reflect', 'edge'):
    yield case('Pad', x, known={1: pads}, mode=mode, opsets=(11, 13, 21))
  yield case('Pad', x, known={1: pads}, mode='wrap', opsets=(19, 21))
  yield case('Pad', x, known={1: pads, 2: np.float32(2)}, opsets=(11, 18))
  yield case('Pad', x, known={1: ints(1, 2), 2: None, 3: ints(-1)},
             opsets=(18, 21))  # fmt: skip
  yield case('ConstantOfShape', known={0: ints(2, 3)})
  yield case('Range', known={0: np.array(1), 1: np.array(9), 2: np.array(3)},
             opsets=(11, 21))  # fmt: skip
  pair = np.array([0, 2], np.float32)
  yield case('OneHot', whole(-3, 3, 4), known={1: np.array(3), 2: pair},
             opsets=(11, 21))  # fmt: skip
  yield case('OneHot', whole(0, 3, 4), known={1: np.array(3), 2: pair}, axis=0,
             opsets=(11, 21))  # fmt: skip
  yield case('EyeLike', x[0], k=1, opsets=(9, 21))
  yield case('Trilu', x, opsets=(14, 21))
  yield case('Trilu', x, known={1: np.array(1)}, upper=0, opsets=(14, 21))
  yield case('TopK', x, k=2, axis=2, outputs=2, opsets=(9,))
  yield case('TopK', np.round(x), known={1: ints(2)}, axis=1, outputs=2,
             opsets=(11, 21))  # fmt: skip
  yield case('TopK', x, known={1: ints(2)}, largest=0, outputs=2,
             opsets=(11, 21))  # fmt: skip
  yield case('NonZero', known={0: np.array([[1, 0], [2, 3]])})
  maps = normal(2, 8, 2, 3)
  yield case('DepthToSpace', maps, blocksize=2)
  yield case('DepthToSpace', maps, blocksize=2, mode='CRD', opsets=(11, 21))
  yield case('SpaceToDepth', normal(2, 3, 4, 6), blocksize=2)


def _networks():
  x = normal(2, 4, 7, 6)
  for attributes in (
    {},
    {'strides': [2, 2], 'pads': [1, 0, 1, 2]},
    {'dilations': [2, 1], 'strides': [1, 2]},
    {'auto_pad': 'SAME_UPPER', 'strides': [2, 2]},
    {'auto_pad': 'SAME_LOWER', 'strides': [2, 2]},
    {'auto_pad': 'VALID'},
  ):
    yield case('Conv', x, known={1: normal(5, 4, 3, 2), 2: normal(5)},
               **attributes)  # fmt: skip
    yield case('Conv', x, known={1: normal(4, 1, 3, 2)}, group=4, **attributes)
    yield case('Conv', x, known={1: normal(6, 2, 3, 2)}, group=2, **attributes)
  yield case('Conv', x, known={1: normal(8, 1, 3, 3), 2: normal(8)}, group=4)
  yield case('Conv', normal(2, 3, 8), known={1: normal(4, 3, 3)})
  yield case('Conv', normal(1, 2, 3, 4, 5), known={1: normal(3, 2, 2, 2, 2)})
  for attributes in (
    {},
    {'strides': [2, 2]},
    {'strides': [2, 2], 'pads': [1, 1, 1, 1], 'output_padding': [1, 1]},
    {'dilations': [2, 2]},
  ):
    known = {1: normal(4, 3, 3, 3), 2: normal(3)}
    yield case('ConvTranspose', x[:1], known=known, opsets=(11, 21),
               **attributes)  # fmt: skip
  a, b = normal(3, 4), normal(4, 5)
  yield case('MatMul', a, b)
  yield case('MatMul', normal(2, 1, 3, 4), normal(6, 4, 5))
  yield case('Gemm', a, known={1: b, 2: normal(5)})
  yield case('Gemm', a, known={1: b.T, 2: normal(3, 1)}, transB=1, alpha=0.5,
             beta=2.0)  # fmt: skip
  yield case('Gemm', a.T, known={1: b}, transA=1, opsets=(11, 13, 21))
  yield case('Einsum', a, b, equation='ij,jk->ki', opsets=(12, 21))
  pools = (
    {'kernel_shape': [3, 2]},
    {'kernel_shape': [3, 3], 'strides': [2, 2], 'pads': [1, 1, 1, 1]},
    {'kernel_shape': [2, 2], 'strides': [2, 2], 'ceil_mode': 1},
    {'kernel_shape': [3, 3], 'strides': [2, 2], 'auto_pad': 'SAME_UPPER'},
    {'kernel_shape': [7, 6]},
  )
  for attributes in pools:
    yield case('MaxPool', x, opsets=(10, 12, 21), **attributes)
    yield case('AveragePool', x, opsets=(10, 11, 19, 21), **attributes)
  yield case('MaxPool', x, kernel_shape=[2, 2], dilations=[2, 2],
             opsets=(10, 12, 21))  # fmt: skip
  yield case('AveragePool', x, opsets=(10, 11, 19), **pools[1],
             count_include_pad=1)  # fmt: skip
  yield case('AveragePool', x, kernel_shape=[2, 2], dilations=[2, 2],
             opsets=(19, 21))  # fmt: skip
  yield case('LpPool', x, opsets=(11, 18), **pools[0])
  yield case('GlobalAveragePool', x)
  yield case('GlobalMaxPool', x)
  parameters = {place: uniform(0.5, 2, 4) for place in range(1, 5)}
  yield case('BatchNormalization', x, known=parameters, epsilon=1e-2,
             opsets=(14, 15, 21))  # fmt: skip
  two = {place: uniform(0.5, 2, 4) for place in (1, 2)}
  yield case('InstanceNormalization', x, known=two)
  yield case('LayerNormalization', x, known={1: normal(6), 2: normal(6)},
             opsets=(17, 21))  # fmt: skip
  yield case('LayerNormalization', x, known={1: normal(7, 6)}, axis=2,
             epsilon=1e-2, opsets=(17, 21))  # fmt: skip
  yield case('GroupNormalization', x, known={1: normal(4), 2: normal(4)},
             num_groups=2, opsets=(21,))  # fmt: skip
  yield case('LRN', normal(4, 4, 3, 3), size=3, alpha=0.1, beta=0.5, bias=2.0)
  yield case('LpNormalization', x, axis=1)
  yield case('MeanVarianceNormalization', x)


def _resizes():
  x = normal(1, 2, 4, 5)
  yield case('Upsample', x, known={1: np.float32([1, 1, 2, 3])}, opsets=(9,))
  scales = {1: None, 2: np.float32([1, 1, 1.5, 2])}
  down = {1: None, 2: np.float32([1, 1, 0.5, 0.6])}
  sizes = {1: None, 2: None, 3: ints(1, 2, 7, 3)}
  for known in (scales, down, sizes):
    for mode in ('nearest', 'linear', 'cubic'):
      for where in ('half_pixel', 'pytorch_half_pixel', 'asymmetric',
                    'align_corners'):  # fmt: skip
        yield case('Resize', x, known=known, mode=mode,
                   coordinate_transformation_mode=where,
                   opsets=(11, 13, 19))  # fmt: skip
  for nearest in ('round_prefer_ceil', 'floor', 'ceil'):
    yield case('Resize', x, known=scales, mode='nearest', nearest_mode=nearest,
               opsets=(11, 13, 19))  # fmt: skip
  yield case('Resize', x, known=down, mode='linear', antialias=1,
             opsets=(18, 19))  # fmt: skip
  yield case('Resize', x, known=down, mode='cubic', antialias=1,
             opsets=(18, 19))  # fmt: skip
  yield case('Resize', x, known=scales, mode='cubic', exclude_outside=1,
             cubic_coeff_a=-0.5, opsets=(11, 19))  # fmt: skip
  yield case('Resize', x, known={1: None, 2: None, 3: ints(8, 7)}, axes=[2, 3],
             mode='linear', opsets=(18, 19))  # fmt: skip


def _quantised():
  x = uniform(-3, 3, 2, 4, 5, 5)
  scale, zero = np.float32(0.03), np.uint8(120)
  q = whole(0, 255, 2, 4, 5, 5, dtype='uint8')
  s = whole(-127, 127, 3, 4, 3, 3, dtype='int8')
  yield case('QuantizeLinear', x, known={1: scale, 2: zero},
             opsets=(10, 13, 21))  # fmt: skip
  yield case('QuantizeLinear', x, known={1: scale, 2: np.int8(-5)},
             opsets=(10, 13, 21))  # fmt: skip
  yield case('QuantizeLinear', x, known={1: scale}, opsets=(10, 13, 21))
  per = {1: uniform(0.01, 0.1, 4), 2: whole(0, 255, 4, dtype='uint8')}
  yield case('QuantizeLinear', x, known=per, axis=1, opsets=(13, 21))
  yield case('DequantizeLinear', q, known={1: scale, 2: zero},
             opsets=(19, 21))  # fmt: skip
  yield case('DequantizeLinear', q, known=per, axis=1, opsets=(19, 21))
  blocks = {1: uniform(0.01, 0.1, 2, 2, 5, 5)}
  yield case('DequantizeLinear', q, known=blocks, axis=1, block_size=2,
             opsets=(21,))  # fmt: skip
  yield case('DequantizeLinear', whole(-999, 999, 4, dtype='int32'),
             known={1: uniform(0.01, 0.1, 4)}, axis=0,
             opsets=(19, 21))  # fmt: skip
  yield case('DynamicQuantizeLinear', x, outputs=3, opsets=(11, 21))
  yield case('ConvInteger', q, known={1: s, 2: zero}, pads=[1, 1, 1, 1],
             opsets=(10, 21))  # fmt: skip
  yield case('MatMulInteger', q[0, 0], known={1: s[0, :, 0].repeat(2, 0)[:5],
             2: zero, 3: np.int8(3)}, opsets=(10, 21))  # fmt: skip
  y_scale, y_zero = np.float32(2.1), np.uint8(101)
  bias = whole(-999, 999, 3, dtype='int32')
  known = {1: scale, 2: zero, 3: s, 4: np.float32(0.02), 5: np.int8(0),
           6: y_scale, 7: y_zero, 8: bias}  # fmt: skip
  yield case('QLinearConv', q, known=known, strides=[2, 2], opsets=(10, 21))
  per = {4: uniform(0.01, 0.1, 3), 5: np.zeros(3, np.int8)}
  yield case('QLinearConv', q, known={**known, **per}, opsets=(10, 21))
  known = {1: scale, 2: zero, 3: whole(0, 255, 5, 3, dtype='uint8'),
           4: np.float32(0.02), 5: np.uint8(99), 6: np.float32(0.9),
           7: y_zero}  # fmt: skip
  yield case('QLinearMatMul', q[0, 0], known=known, opsets=(10, 21))


def all_cases():
  """All cases, once for each opset."""
  cases = [
    *(case(op, x) for op, x in _UNARY.items()),
    *_elementwise(),
    *_reductions(),
    *_shapes(),
    *_networks(),
    *_resizes(),
    *_quantised(),
  ]
  for number, each in enumerate(cases):
    for opset in each.opsets:
      yield f'{number}-{each.op}-{opset}', each, opset
