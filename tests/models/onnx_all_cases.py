# SPDX-License-Identifier: Apache-2.0
"""All cases of operators: those of `onnx_cases`, of shapes and of maps."""

import numpy as np

from tests.models import onnx_cases
from tests.models.onnx_cases import case, ints, normal, uniform, whole


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
    *onnx_cases.by_element(),
    *_shapes(),
    *_networks(),
    *_resizes(),
    *_quantised(),
  ]
  for number, each in enumerate(cases):
    for opset in each.opsets:
      yield f'{number}-{each.op}-{opset}', each, opset
