# SPDX-License-Identifier: Apache-2.0
"""Each operator of ONNX, in each opset that changed it, as ONNX means it."""

import functools
import pathlib

import jax
import numpy as np
import pytest
from onnx import reference

from neucrab_jax.checkpoints import onnx_graphs
from neucrab_jax.models.onnx import interpreter, operators
from tests.models import onnx_all_cases, onnx_cases

CASES = {
  name: (case, opset) for name, case, opset in onnx_all_cases.all_cases()
}
NAMES = list(CASES)

# By one, an integer may be rounded the other way: sums of another order.
ROUNDED = {'QLinearConv', 'QLinearMatMul', 'QuantizeLinear'}

# Compiled together, for a program of its own costs more than an operator.
TOGETHER = 100

# Of a few inputs each, in tests of their own below.
ELSEWHERE = {'GlobalLpPool', 'If', 'Swish', 'RMSNormalization', 'Scatter',
             'Constant', 'BitShift'}  # fmt: skip


def to_graph(model):
  opsets = {entry.domain: entry.version for entry in model.opset_import}
  return onnx_graphs.to_graph(
    model.graph, opsets, pathlib.Path(), is_whole=True
  )


@functools.cache
def found(start):
  """Our outputs of some cases, or what was raised."""
  graphs, given, raised = {}, {}, {}
  for name in NAMES[start : start + TOGETHER]:
    case, opset = CASES[name]
    model, values = case.model(opset)
    graphs[name], tensors = to_graph(model)
    given[name] = {**values, **tensors}

  @jax.jit
  def run(given):
    outputs = {}
    for name, graph in graphs.items():
      try:
        values = interpreter.run(graph, given[name], graph.outputs)
        outputs[name] = [jax.numpy.asarray(value) for value in values]
      except ValueError as error:
        raised[name] = error
    return outputs

  outputs = jax.tree.map(np.asarray, run(given))
  return {**outputs, **raised}


@pytest.mark.parametrize('name', CASES)
def test_it_is_what_the_reference_says(name):
  case, opset = CASES[name]
  model, values = case.model(opset)
  wanted = reference.ReferenceEvaluator(model).run(None, values)
  ours = found(NAMES.index(name) // TOGETHER * TOGETHER)[name]
  if isinstance(ours, Exception):
    raise ours
  for one, other in zip(ours, map(np.asarray, wanted), strict=True):
    assert one.shape == other.shape
    assert one.dtype.kind == other.dtype.kind
    tolerance = 1 if case.op in ROUNDED else 2e-5
    np.testing.assert_allclose(
      one.astype(float), other.astype(float), tolerance, tolerance
    )


def test_every_operator_is_compared():
  compared = {case.op for case, _ in CASES.values()}
  assert set(operators.names()) - compared - ELSEWHERE == set()


def outputs(case, opset, **options):
  """Our outputs of one case."""
  model, values = case.model(opset, **options)
  graph, tensors = to_graph(model)
  run = jax.jit(lambda v: interpreter.run(graph, v, graph.outputs))
  return [np.asarray(value) for value in run({**values, **tensors})]


X = onnx_cases.normal(2, 3, 4)
MAPS = onnx_cases.normal(2, 4, 7, 6)
STATISTICS = {place: onnx_cases.uniform(0.5, 2, 4) for place in range(1, 5)}
KERNEL = {1: onnx_cases.normal(4, 3, 3, 3)}


def _softmax(x):
  e = np.exp(x - x.max(-1, keepdims=True))
  return e / e.sum(-1, keepdims=True)


def _upsampled(x):
  return x.repeat(2, 2).repeat(3, 3)


# What the reference doesn't know, or gets wrong.
ODD = {
  'Softmax over all axes behind': (
    onnx_cases.case('Softmax', X),
    11,
    _softmax(X.reshape(2, -1)).reshape(X.shape),
  ),
  'GlobalLpPool': (
    onnx_cases.case('GlobalLpPool', MAPS, p=1),
    11,
    np.abs(MAPS).sum((2, 3), keepdims=True),
  ),
  'LpNormalization': (
    onnx_cases.case('LpNormalization', X, axis=1, p=1),
    11,
    X / np.abs(X).sum(1, keepdims=True),
  ),
  'Resize of opset 10': (
    onnx_cases.case('Resize', MAPS, known={1: np.float32([1, 1, 2, 3])}),
    10,
    _upsampled(MAPS),
  ),
  'RMSNormalization': (
    onnx_cases.case('RMSNormalization', X, known={1: STATISTICS[1]}),
    23,
    X / np.sqrt((X**2).mean(-1, keepdims=True) + 1e-5) * STATISTICS[1],
  ),
  'Swish': (
    onnx_cases.case('Swish', X, alpha=2.0),
    24,
    X / (1 + np.exp(-2 * X)),
  ),
}


@pytest.mark.parametrize('name', ODD)
def test_it_is_what_the_standard_says(name):
  case, opset, wanted = ODD[name]
  (ours,) = outputs(case, opset)
  np.testing.assert_allclose(ours, wanted, 2e-5, 2e-5)


SAME = {
  'BatchNormalization': (
    onnx_cases.case('BatchNormalization', MAPS, known=STATISTICS), 9, 15
  ),
  'GroupNormalization': (
    onnx_cases.case(
      'GroupNormalization', MAPS, num_groups=2,
      known={1: np.float32([2, 3]), 2: np.float32([4, 5])},
    ),
    18,
    None,
  ),
  'DequantizeLinear': (
    onnx_cases.case(
      'DequantizeLinear', onnx_cases.whole(0, 9, 4, dtype='uint8'),
      known={1: np.float32(0.1), 2: np.uint8(3)},
    ),
    10,
    21,
  ),
}  # fmt: skip


@pytest.mark.parametrize('name', SAME)
def test_older_and_newer_are_the_same(name):
  case, old, new = SAME[name]
  (ours,) = outputs(case, old)
  if new is None:  # There, scale and bias were of each group.
    repeated = {k: v.repeat(2) for k, v in case.known.items()}
    case, new = (
      onnx_cases.Case(
        case.op, case.given, repeated, attributes=case.attributes
      ),
      21,
    )
  np.testing.assert_allclose(ours, outputs(case, new)[0], 1e-6)


def test_a_transposed_convolution_in_groups():
  kernel = onnx_cases.normal(4, 3, 3, 3)
  whole = onnx_cases.case('ConvTranspose', MAPS, known={1: kernel}, group=2)
  parts = [
    outputs(
      onnx_cases.case('ConvTranspose', MAPS[:, half], known={1: kernel[half]}),
      11,
    )[0]
    for half in (slice(2), slice(2, 4))
  ]
  np.testing.assert_allclose(
    outputs(whole, 11)[0], np.concatenate(parts, 1), 1e-5, 1e-5
  )


PADDED = {
  'SAME_UPPER': ({'auto_pad': 'SAME_UPPER'}, [0, 0, 1, 1]),
  'SAME_LOWER': ({'auto_pad': 'SAME_LOWER'}, [1, 1, 0, 0]),
  'output_shape': ({'output_shape': [14, 13]}, [1, 0, 0, 0]),
}


@pytest.mark.parametrize('name', PADDED)
def test_what_a_transposed_convolution_cuts_off(name):
  attributes, pads = PADDED[name]
  asked, cut = (
    onnx_cases.case('ConvTranspose', MAPS, known=KERNEL, strides=[2, 2], **more)
    for more in (attributes, {'pads': pads})
  )
  np.testing.assert_allclose(outputs(asked, 11)[0], outputs(cut, 11)[0], 1e-5)
