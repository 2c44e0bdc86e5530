# SPDX-License-Identifier: Apache-2.0
"""Networks from ONNX files, from the file to a ranking."""

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, reference

from neucrab_jax import checkpoints
from neucrab_jax.finetuning import network, protocol
from tests.checkpoints import small_onnx as small

RNG = np.random.default_rng(0)
IMAGES = RNG.standard_normal((3, small.SIZE, small.SIZE, 3)).astype('f4')


def wanted(*, seed=0, images=IMAGES):
  """Features and logits of the default model, by ONNX's own reference."""
  model = small.make(outputs=('pooled', 'logits'), seed=seed)
  return reference.ReferenceEvaluator(model).run(
    None, {'images': images.transpose(0, 3, 1, 2)}
  )


def restore(tmp_path, *arguments, choice='', **options):
  path = small.save(tmp_path / 'net.onnx', *arguments, **options)
  return checkpoints.restore(f'{path}{choice}')


def node(op, *names, **attributes):
  *inputs, output = names
  return helper.make_node(op, inputs, [output], name=output, **attributes)


RESHAPED = [
  *small.body()[:-1],
  node('Reshape', 'g', 'one', 'pooled'),
  *small.head(),
]

# Each is the same network in another form.
SAME = {
  'plain': {},
  'fixed batch of 1': {'shape': (1, 3, 16, 16)},
  'fixed batch of 2': {'shape': (2, 3, 16, 16)},
  'free image size': {'shape': ('N', 3, 'h', 'w')},
  'a batch written into a shape': {
    'nodes': RESHAPED,
    'shape': (1, 3, 16, 16),
    'tensors': {'one': np.array([1, small.WIDTH])},
  },
  'the same, though the batch is free': {
    'nodes': RESHAPED,
    'tensors': {'one': np.array([1, small.WIDTH])},
  },
  'shapes that are computed': {
    'nodes': [
      *small.body()[:-1],
      node('Shape', 'g', 'shape'),
      node('Gather', 'shape', 'zero', 'size'),
      node('Unsqueeze', 'size', 'axes', 'sizes'),
      node('Concat', 'sizes', 'rest', 'new', axis=0),
      node('Reshape', 'g', 'new', 'pooled'),
      *small.head(),
    ],
    'tensors': {
      'zero': np.array(0),
      'axes': np.array([0]),
      'rest': np.array([-1]),
    },
  },
  'probabilities come last': {
    'nodes': [
      *small.body(),
      *small.head(),
      node('Softmax', 'logits', 'probs', axis=1),
    ],
    'outputs': ('probs',),
  },
  'outputs that say what they are': {
    'nodes': [
      *small.body(),
      node('Identity', 'pooled', 'features'),
      *small.head(),
    ],
    'outputs': ('logits', 'features'),
  },
  'a product and a sum': {
    'nodes': [
      *small.body(),
      node('MatMul', 'pooled', 'turned', 'product'),
      node('Add', 'product', 'head.b', 'logits'),
    ],
    'tensors': {'turned': small.weights()['head.w'].T.copy()},
  },
  'a convolution as classifier': {
    'nodes': [
      *small.body()[:-1],
      node('Conv', 'g', 'head4', 'head.b', 'maps'),
      node('Flatten', 'maps', 'logits'),
    ],
    'tensors': {'head4': small.weights()['head.w'][..., None, None]},
  },
  'channels last': {
    'nodes': [
      node('Transpose', 'images', 'first', perm=[0, 3, 1, 2]),
      *small.body('first'),
      *small.head(),
    ],
    'shape': ('N', 16, 16, 3),
  },
  'a condition that is known': {
    'nodes': [
      *small.body()[:-1],
      helper.make_node(
        'If',
        ['yes'],
        ['pooled'],
        **{
          f'{name}_branch': helper.make_graph(
            [node(op, 'g', name)],
            name,
            [],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None)],
          )
          for name, op in (('then', 'Flatten'), ('else', 'Identity'))
        },
      ),
      *small.head(),
    ],
    'tensors': {'yes': np.array(True)},
  },
}


@pytest.mark.parametrize('form', SAME)
def test_features_and_logits_are_those_of_the_reference(form, tmp_path):
  backbone = restore(tmp_path, **SAME[form])
  outputs = backbone(IMAGES)
  features, logits = wanted()
  np.testing.assert_allclose(outputs.features, features, 1e-4, 1e-5)
  np.testing.assert_allclose(outputs.logits, logits, 1e-4, 1e-5)
  assert backbone.checkpoint.image_size == small.SIZE


def test_half_precision_is_widened(tmp_path):
  half = {k: v.astype('f2') for k, v in small.weights().items()}
  backbone = restore(tmp_path, tensors=half, kind=TensorProto.FLOAT16)
  leaves = jax.tree.leaves(backbone.variables)
  assert {leaf.dtype for leaf in leaves} == {np.dtype('f4')}
  np.testing.assert_allclose(backbone(IMAGES).logits, wanted()[1], 0.02, 0.02)


def test_weights_are_parameters_and_never_constants(tmp_path):
  backbone = restore(tmp_path)
  sizes = [value.size for key, value in small.weights().items()]
  statistics = 2 * small.WIDTH
  assert backbone.num_parameters == sum(sizes) - statistics
  found = sum(leaf.size for leaf in jax.tree.leaves(backbone.variables))
  assert found == sum(sizes)
  lowered = jax.jit(backbone.module.apply).lower(backbone.variables, IMAGES)
  assert 'dense<"0x' not in lowered.as_text()


def test_two_files_of_one_structure_share_a_program(tmp_path):
  first, second = (
    checkpoints.restore(str(small.save(tmp_path / f'{seed}.onnx', seed=seed)))
    for seed in (0, 1)
  )
  assert first.module == second.module
  assert hash(first.module) == hash(second.module)
  assert first.fingerprint != second.fingerprint
  np.testing.assert_allclose(second(IMAGES).logits, wanted(seed=1)[1], 1e-4)


def test_any_node_can_be_the_features(tmp_path):
  backbone = restore(tmp_path, choice='#relu')
  assert backbone(IMAGES).features.shape == (3, small.WIDTH)
  np.testing.assert_allclose(backbone(IMAGES).logits, wanted()[1], 1e-4, 1e-5)
  assert backbone.checkpoint.name == 'net#relu'
  with pytest.raises(ValueError, match=r"Unknown node 'rel'.*mean 'relu'"):
    checkpoints.restore(f'{tmp_path}/net.onnx#rel')


def test_blue_may_come_first(tmp_path):
  metadata = {**small.PREPROCESSING, 'channels': 'BGR'}
  backbone = restore(tmp_path, metadata=metadata)
  logits = wanted(images=np.ascontiguousarray(IMAGES[..., ::-1]))[1]
  np.testing.assert_allclose(backbone(IMAGES).logits, logits, 1e-4, 1e-5)


def test_it_is_differentiable(tmp_path):
  backbone = restore(tmp_path)

  def loss(params):
    variables = {**backbone.variables, 'params': params}
    return jnp.sum(backbone.module.apply(variables, IMAGES).logits ** 2)

  gradient = jax.grad(loss)(backbone.variables['params'])
  for key, leaf in gradient.items():
    assert np.isfinite(leaf).all(), key
    assert np.any(leaf), key


def test_it_can_be_fine_tuned_with_its_statistics_frozen(tmp_path):
  backbone = restore(tmp_path)
  net, variables = network.from_backbone(
    backbone, 4, protocol.Protocol(batch_size=2)
  )
  pixels = np.full((2, small.SIZE, small.SIZE, 3), 100.0, np.float32)
  logits, statistics = net.apply(variables, pixels, key=jax.random.key(0))
  assert logits.shape == (2, 4)
  assert not np.any(logits)  # Of a head of zeros.
  before = jax.tree.leaves(variables['batch_stats'])
  for one, other in zip(jax.tree.leaves(statistics), before, strict=True):
    np.testing.assert_array_equal(one, other)
  names = [key.partition('_')[2] for key in variables['params']['backbone']]
  assert sorted(names) == ['bn_bias', 'bn_scale', 'conv_b', 'conv_w', 'dw_w']


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


def test_numbers_beside_raw_bytes(tmp_path):
  model = small.make()
  bias = small.weights()['head.b']
  for tensor in model.graph.initializer:
    if tensor.name == 'head.b':
      tensor.CopyFrom(
        helper.make_tensor('head.b', TensorProto.FLOAT, bias.shape, bias)
      )
  onnx.save(model, tmp_path / 'net.onnx')
  backbone = checkpoints.restore(str(tmp_path / 'net.onnx'))
  np.testing.assert_allclose(backbone(IMAGES).logits, wanted()[1], 1e-4, 1e-5)


def test_images_that_would_disturb_each_other_are_run_one_by_one(tmp_path):
  """By scales of the whole batch, as dynamic quantisation has them."""
  nodes = [
    helper.make_node(
      'DynamicQuantizeLinear',
      ['images'],
      ['q', 'scale', 'zero'],
      name='dynamic',
    ),
    node('DequantizeLinear', 'q', 'scale', 'zero', 'x'),
    *small.body('x'),
    *small.head(),
  ]
  backbone = restore(tmp_path, nodes)
  assert backbone.module.batch == 1
  loud = np.concatenate([IMAGES, 100 * IMAGES])
  np.testing.assert_allclose(
    backbone(loud).features[:3], backbone(IMAGES).features, 1e-4, 1e-6
  )


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
