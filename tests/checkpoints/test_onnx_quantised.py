# SPDX-License-Identifier: Apache-2.0
"""Networks of integers, in each of the ways in which ONNX writes them."""

import numpy as np
from onnx import TensorProto, helper

from tests.checkpoints import small_onnx as small
from tests.checkpoints.test_onnx_files import IMAGES, node, restore, wanted


def quantised():
  """The first convolution and the head by integers of eight bits."""
  weights = small.weights()
  scale = np.abs(weights['conv.w']).max((1, 2, 3)) / 127
  integers = np.rint(weights['conv.w'] / scale[:, None, None, None])
  tensors = {
    'conv.q': integers.astype('i1'),
    'conv.s': scale,
    'conv.z': np.zeros(small.WIDTH, 'i1'),
    'act.s': np.float32(0.05),
    'act.z': np.uint8(128),
  }
  nodes = [
    node('QuantizeLinear', 'images', 'act.s', 'act.z', 'q'),
    node('DequantizeLinear', 'q', 'act.s', 'act.z', 'x'),
    node('DequantizeLinear', 'conv.q', 'conv.s', 'conv.z', 'conv.d', axis=0),
  ]
  first, *rest = small.body('x')
  first.input[1] = 'conv.d'
  return [*nodes, first, *rest, *small.head()], tensors


def test_a_quantised_network(tmp_path):
  nodes, tensors = quantised()
  backbone = restore(tmp_path, nodes, tensors=tensors)
  outputs = backbone(IMAGES)
  features, logits = wanted()
  assert np.abs(outputs.features - features).max() < 0.05 * features.max()
  assert np.abs(outputs.logits - logits).max() < 0.05 * np.abs(logits).max()
  plain = restore(tmp_path)
  assert backbone.num_parameters == plain.num_parameters


def integers(scale, zero, name):
  """Tensors of a scale and a zero point, and their names."""
  names = (f'{name}.s', f'{name}.z')
  return names, dict(
    zip(names, (np.float32(scale), np.uint8(zero)), strict=True)
  )


def test_integers_are_given_as_the_numbers_that_they_are(tmp_path):
  weights = small.weights()['head.w'].T
  a, tensors = integers(0.01, 3, 'a')
  w, more = integers(np.abs(weights).max() / 127, 128, 'w')
  y, most = integers(0.02, 120, 'y')
  scaled = np.rint(weights / more['w.s']) + 128
  nodes = [
    *small.body(),
    node('QuantizeLinear', 'pooled', *a, 'q'),
    node('QLinearMatMul', 'q', *a, 'integers', *w, *y, 'product'),
    helper.make_node(
      'QLinearSoftmax', ['product', *y, *y], ['probs'],
      domain='com.microsoft', axis=1,
    ),
    node('DequantizeLinear', 'probs', *y, 'logits'),
  ]  # fmt: skip
  tensors = {**tensors, **more, **most, 'integers': scaled.astype('u1')}
  backbone = restore(tmp_path, nodes, tensors=tensors)
  outputs = backbone(IMAGES)
  features, _ = wanted()
  clipped = np.clip(features, -0.03, 2.52)
  np.testing.assert_allclose(outputs.features, clipped, 0, 0.006)
  biasless = clipped @ weights
  np.testing.assert_allclose(outputs.logits, biasless, 0, 0.05)


def test_a_classifier_that_is_quantised_as_it_goes(tmp_path):
  weights = small.weights()['head.w'].T
  w, tensors = integers(np.abs(weights).max() / 127, 128, 'w')
  scaled = np.rint(weights / tensors['w.s']) + 128
  nodes = [
    *small.body(),
    helper.make_node('DynamicQuantizeLinear', ['pooled'], ['q', 's', 'z']),
    node('MatMulInteger', 'q', 'integers', 'z', w[1], 'sums'),
    node('Cast', 'sums', 'floats', to=TensorProto.FLOAT),
    node('Mul', 's', w[0], 'scale'),
    node('Mul', 'floats', 'scale', 'product'),
    node('Add', 'product', 'head.b', 'logits'),
  ]
  tensors = {**tensors, 'integers': scaled.astype('u1')}
  backbone = restore(tmp_path, nodes, tensors=tensors)
  features, logits = wanted()
  outputs = backbone(IMAGES)
  np.testing.assert_allclose(outputs.features, features, 1e-4, 1e-5)
  np.testing.assert_allclose(outputs.logits, logits, 0, 0.05)
