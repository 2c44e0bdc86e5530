# SPDX-License-Identifier: Apache-2.0
"""Operators of ONNX Runtime's own, against what their definitions say."""

import jax
import numpy as np
import pytest
from scipy import special

from neucrab_jax.models.onnx import interpreter, operators
from tests.models import onnx_cases
from tests.models.test_onnx_operators import to_graph

A = onnx_cases.whole(0, 255, 2, 4, 6, 6, dtype='uint8')
B = onnx_cases.whole(0, 255, 2, 4, 6, 6, dtype='uint8')
A_SCALE, A_ZERO = np.float32(0.02), np.uint8(120)
B_SCALE, B_ZERO = np.float32(0.03), np.uint8(99)
Y_SCALE, Y_ZERO = np.float32(0.05), np.uint8(110)
X = onnx_cases.normal(2, 3, 4)
MAPS = onnx_cases.normal(2, 4, 6, 6)
W = onnx_cases.whole(-127, 127, 5, 6, dtype='int8')
W_SCALE = onnx_cases.uniform(0.01, 0.02, 5)
BIAS = onnx_cases.whole(-99, 99, 5, dtype='int32')


def real(q, scale, zero):
  return (q.astype(np.float64) - float(zero)) * float(scale)


def again(y):
  return np.clip(np.rint(y / Y_SCALE) + float(Y_ZERO), 0, 255)


def binary(op):
  return onnx_cases.case(
    op, A, known={1: A_SCALE, 2: A_ZERO, 3: B, 4: B_SCALE, 5: B_ZERO,
                  6: Y_SCALE, 7: Y_ZERO},
  )  # fmt: skip


def unary(op, **attributes):
  known = {1: A_SCALE, 2: A_ZERO, 3: Y_SCALE, 4: Y_ZERO}
  return onnx_cases.case(op, A, known=known, **attributes)


def gelu(x):
  return x * (1 + special.erf(x / np.sqrt(2))) / 2


def layer(x):
  x = x - x.mean(-1, keepdims=True)
  return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-3)


RA, RB = real(A, A_SCALE, A_ZERO), real(B, B_SCALE, B_ZERO)
CASES = {
  'QLinearAdd': (binary('QLinearAdd'), again(RA + RB)),
  'QLinearMul': (binary('QLinearMul'), again(RA * RB)),
  'QLinearGlobalAveragePool': (
    unary('QLinearGlobalAveragePool'),
    again(RA.mean((2, 3), keepdims=True)),
  ),
  'QLinearAveragePool': (
    unary('QLinearAveragePool', kernel_shape=[2, 2], strides=[2, 2]),
    again(RA.reshape(2, 4, 3, 2, 3, 2).mean((3, 5))),
  ),
  'QLinearSigmoid': (unary('QLinearSigmoid'), again(special.expit(RA))),
  'QLinearLeakyRelu': (
    unary('QLinearLeakyRelu', alpha=0.3),
    again(np.where(RA < 0, 0.3 * RA, RA)),
  ),
  'QLinearSoftmax': (
    unary('QLinearSoftmax', axis=1),
    again(special.softmax(RA, 1)),
  ),
  'QLinearConcat': (
    onnx_cases.case(
      'QLinearConcat', A, axis=1,
      known={0: Y_SCALE, 1: Y_ZERO, 3: A_SCALE, 4: A_ZERO, 5: B, 6: B_SCALE,
             7: B_ZERO},
    ),
    again(np.concatenate([RA, RB], 1)),
  ),
  'QGemm': (
    onnx_cases.case(
      'QGemm', A[0, 0], transB=1,
      known={1: A_SCALE, 2: A_ZERO, 3: W, 4: W_SCALE, 5: np.zeros(5, 'i1'),
             6: BIAS, 7: Y_SCALE, 8: Y_ZERO},
    ),
    again(
      real(A[0, 0], A_SCALE, A_ZERO) @ (W * W_SCALE[:, None].astype(float)).T
      + BIAS * float(A_SCALE) * W_SCALE
    ),
  ),
  'QuantizeLinear': (
    onnx_cases.case('QuantizeLinear', X, known={1: Y_SCALE, 2: Y_ZERO}),
    again(X.astype(float)),
  ),
  'DequantizeLinear': (
    onnx_cases.case('DequantizeLinear', A, known={1: A_SCALE, 2: A_ZERO}),
    RA,
  ),
  'FusedConv': (
    onnx_cases.case(
      'FusedConv', MAPS, known={1: np.eye(4, dtype='f4')[..., None, None]},
      activation='Clip', activation_params=[0.0, 1.0],
    ),
    np.clip(MAPS, 0, 1),
  ),
  'FusedMatMul': (
    onnx_cases.case('FusedMatMul', X, X, transB=1, alpha=0.5),
    X @ X.swapaxes(1, 2) / 2,
  ),
  'Gelu': (onnx_cases.case('Gelu', X), gelu(X)),
  'BiasGelu': (onnx_cases.case('BiasGelu', X, X[0, 0]), gelu(X + X[0, 0])),
  'FastGelu': (
    onnx_cases.case('FastGelu', X),
    X * (1 + np.tanh(np.sqrt(2 / np.pi) * (X + 0.044715 * X**3))) / 2,
  ),
  'QuickGelu': (
    onnx_cases.case('QuickGelu', X, alpha=1.5),
    X * special.expit(1.5 * X),
  ),
  'SkipLayerNormalization': (
    onnx_cases.case(
      'SkipLayerNormalization', X, X[:1], epsilon=1e-3,
      known={2: np.float32([1, 2, 3, 4]), 3: np.ones(4, 'f4')},
    ),
    layer(X + X[:1]) * [1, 2, 3, 4] + 1,
  ),
}  # fmt: skip


@pytest.mark.parametrize('name', CASES)
def test_it_is_what_its_definition_says(name):
  case, wanted = CASES[name]
  model, values = case.model(17, domain='com.microsoft')
  graph, tensors = to_graph(model)
  run = jax.jit(lambda v: interpreter.run(graph, v, graph.outputs))
  (ours,) = (np.asarray(y) for y in run({**values, **tensors}))
  # An integer may be rounded the other way.
  tolerance = 1 if ours.dtype == np.uint8 else 2e-5
  np.testing.assert_allclose(ours.astype(float), wanted, tolerance, tolerance)
  assert np.mean(ours != wanted) < 0.1 or tolerance < 1


def test_every_operator_is_compared():
  assert set(CASES) == set(operators.names('com.microsoft'))
