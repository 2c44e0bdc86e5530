# SPDX-License-Identifier: Apache-2.0
"""What comes between convolutions, whose maps have their channels last."""

import jax
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper, reference

from neucrab_jax.models.onnx import interpreter, layout
from tests.models import onnx_cases
from tests.models.test_onnx_operators import to_graph

X = onnx_cases.normal(2, 4, 6, 5)
INTS = onnx_cases.ints


def step(op, *names, **attributes):
  """A node; the last name is what it makes."""
  *inputs, output = names
  return helper.make_node(op, inputs, [output], **attributes)


# Nodes from the maps 'a' and 'b' [2, 4, 6, 5] to 'y', and further tensors.
CHAINS = {
  'unary': ([step('Sigmoid', 'a', 'y')], {}),
  'two maps': ([step('Add', 'a', 'b', 'y')], {}),
  'three': ([step('Max', 'a', 'b', 'a', 'y')], {}),
  'a number': ([step('Mul', 'a', 'n', 'y')], {'n': np.float32(3)}),
  'one of each channel': (
    [step('Mul', 'a', 'n', 'y')],
    {'n': onnx_cases.normal(4, 1, 1)},
  ),
  'one of each column': (
    [step('Sub', 'n', 'a', 'y')],
    {'n': onnx_cases.normal(5)},
  ),
  'one of each image': (
    [step('Add', 'a', 'n', 'y')],
    {'n': onnx_cases.normal(2, 1, 1, 1)},
  ),
  'of a higher rank': (
    [step('Add', 'a', 'n', 'y')],
    {'n': onnx_cases.normal(3, 1, 4, 6, 5)},
  ),
  'a choice': (
    [step('Greater', 'a', 'b', 'c'), step('Where', 'c', 'a', 'b', 'y')],
    {},
  ),
  'clip': (
    [step('Clip', 'a', 'low', '', 'y')],
    {'low': np.float32(0.1)},
  ),
  'power': ([step('Pow', 'a', 'n', 'y')], {'n': np.float32(2)}),
  'slope of each channel': (
    [step('PRelu', 'a', 'n', 'y')],
    {'n': onnx_cases.normal(4, 1, 1)},
  ),
  'excitation': (
    [
      step('GlobalAveragePool', 'a', 'g'),
      step('Conv', 'g', 'k', 's'),
      step('Sigmoid', 's', 'e'),
      step('Mul', 'a', 'e', 'y'),
    ],
    {'k': onnx_cases.normal(4, 4, 1, 1)},
  ),
  'concatenated': ([step('Concat', 'a', 'b', 'y', axis=1)], {}),
  'concatenated in space': ([step('Concat', 'a', 'b', 'y', axis=-1)], {}),
  'concatenated with others': (
    [step('Concat', 'a', 'n', 'y', axis=1)],
    {'n': onnx_cases.normal(2, 3, 6, 5)},
  ),
  'split': (
    [
      helper.make_node('Split', ['a', 'sizes'], ['c', 'd'], axis=1),
      step('Concat', 'd', 'c', 'y', axis=1),
    ],
    {'sizes': INTS(1, 3)},
  ),
  'transposed': ([step('Transpose', 'a', 'y', perm=[0, 2, 3, 1])], {}),
  'transposed otherwise': (
    [step('Transpose', 'a', 'y', perm=[3, 1, 0, 2])],
    {},
  ),
  'there and back': (
    [
      step('Transpose', 'a', 'l', perm=[0, 2, 3, 1]),
      step('Add', 'l', 'n', 'm'),
      step('Transpose', 'm', 'f', perm=[0, 3, 1, 2]),
      step('Add', 'f', 'b', 'y'),
    ],
    {'n': onnx_cases.normal(4)},
  ),
  'mean over space': (
    [step('ReduceMean', 'a', 'y', axes=[2, 3], keepdims=0)],
    {},
  ),
  'mean over space, kept': (
    [step('ReduceMean', 'a', 'm', axes=[-1, -2]), step('Mul', 'm', 'b', 'y')],
    {},
  ),
  'mean over channels': (
    [step('ReduceMean', 'a', 'm', axes=[1]), step('Mul', 'm', 'b', 'y')],
    {},
  ),
  'padded': (
    [step('Pad', 'a', 'pads', 'y')],
    {'pads': INTS(0, 1, 2, 0, 0, 0, 1, 3)},
  ),
  'pool': (
    [step('MaxPool', 'a', 'p', kernel_shape=[2, 2]), step('Relu', 'p', 'y')],
    {},
  ),
  'flat': ([step('Flatten', 'a', 'y')], {}),
  'another shape': ([step('Reshape', 'a', 's', 'y')], {'s': INTS(2, 2, 60)}),
  'its shape': (
    [step('Shape', 'a', 's'), step('Reshape', 'b', 's', 'y')],
    {},
  ),
  'its last axes': ([step('Softmax', 'a', 'y', axis=-1)], {}),
  'normalised': (
    [step('BatchNormalization', 'a', *'nnnn', 'y')],
    {'n': onnx_cases.uniform(1, 2, 4)},
  ),
  'instances normalised': (
    [step('InstanceNormalization', 'a', 'n', 'n', 'y')],
    {'n': onnx_cases.uniform(1, 2, 4)},
  ),
  'quantised and back': (
    [
      step('QuantizeLinear', 'a', 'n', 'q'),
      step('DequantizeLinear', 'q', 'n', 'y'),
    ],
    {'n': np.float32(0.1)},
  ),
  'quantised by channel': (
    [
      step('QuantizeLinear', 'a', 'n', 'z', 'q', axis=1),
      step('DequantizeLinear', 'q', 'n', 'z', 'y', axis=1),
    ],
    {'n': onnx_cases.uniform(0.1, 0.2, 4), 'z': np.full(4, 9, 'u1')},
  ),
  'larger': (
    [step('Resize', 'a', '', 's', 'y', mode='nearest')],
    {'s': np.float32([1, 1, 2, 2])},
  ),
}


@pytest.mark.parametrize('name', CHAINS)
def test_it_is_as_if_channels_were_second(name):
  nodes, tensors = CHAINS[name]
  tensors = {
    'ka': onnx_cases.normal(4, 4, 3, 3),
    'kb': onnx_cases.normal(4, 1, 3, 3),
    **tensors,
  }
  graph = helper.make_graph(
    [
      step('Conv', 'x', 'ka', 'a', pads=[1] * 4),
      step('Conv', 'x', 'kb', 'b', pads=[1] * 4, group=4),
      *nodes,
    ],
    'g',
    [helper.make_tensor_value_info('x', TensorProto.FLOAT, X.shape)],
    [helper.make_tensor_value_info('y', TensorProto.FLOAT, None)],
    [numpy_helper.from_array(np.asarray(v), k) for k, v in tensors.items()],
  )
  # The reference knows quantisation from there on.
  opset = 21 if name.startswith('quantised') else 17
  model = helper.make_model(
    graph, opset_imports=[helper.make_opsetid('', opset)]
  )
  (wanted,) = reference.ReferenceEvaluator(model).run(None, {'x': X})
  ours, variables = to_graph(model)
  run = jax.jit(lambda v: interpreter.run(ours, v, ours.outputs))
  (found,) = run({'x': X, **variables})
  step_size = 0.2 if name.startswith('quantised') else 5e-5
  np.testing.assert_allclose(found, wanted, 5e-5, step_size)


def test_maps_stay_as_they_are_between_convolutions():
  """Each transposition would be a pass over all of a map."""
  nodes = [
    step('Conv', 'x', 'k', 'a'),
    step('Relu', 'a', 'b'),
    step('Conv', 'b', 'k', 'c'),
    step('Add', 'b', 'c', 'd'),
    step('GlobalAveragePool', 'd', 'e'),
    step('Flatten', 'e', 'y'),
  ]
  graph = helper.make_graph(
    nodes,
    'g',
    [helper.make_tensor_value_info('x', TensorProto.FLOAT, X.shape)],
    [helper.make_tensor_value_info('y', TensorProto.FLOAT, None)],
    [numpy_helper.from_array(onnx_cases.normal(4, 4, 1, 1), 'k')],
  )
  model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)])
  ours, variables = to_graph(model)

  def run(images, variables):
    given = {'x': layout.Maps(images), **variables}
    return interpreter.run(ours, given, ours.outputs)

  last = np.moveaxis(X, 1, -1)
  text = str(jax.make_jaxpr(run)(last, variables))
  # What is left is of the vector [B, C, 1, 1], which costs nothing.
  assert text.count('transpose') <= 1
