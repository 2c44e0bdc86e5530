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
from neucrab_jax.models.onnx import interpreter
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
  'a classifier of each place': {
    'nodes': [
      *small.body()[:-2],
      node('Conv', 'd', 'head4', 'head.b', 'logits'),
    ],
    'tensors': {'head4': small.weights()['head.w'][..., None, None]},
  },
  'a wide convolution that is pooled for a softmax': {
    'nodes': [
      *small.body()[:-2],
      node('Conv', 'd', 'head4', 'head.b', 'maps', pads=[1, 1, 1, 1]),
      node('GlobalAveragePool', 'maps', 'means'),
      node('Flatten', 'means', 'logits'),
      node('Softmax', 'logits', 'probs', axis=1),
    ],
    'outputs': ('probs',),
    'tensors': {
      'head4': np.pad(
        small.weights()['head.w'][..., None, None], [(0, 0)] * 2 + [(1, 1)] * 2
      )
    },
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


def test_it_is_traced_once_for_each_shape(tmp_path, monkeypatch):
  backbone = restore(tmp_path)
  traced = []
  run = interpreter.run
  monkeypatch.setattr(
    interpreter, 'run', lambda *args: traced.append(1) or run(*args)
  )
  for size in (2, 3, 2, 2, 3):
    backbone(IMAGES[:size])
  # Three were in the check that restoring makes.
  assert len(traced) == 1


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


@pytest.mark.parametrize('shape', [('N', 1, 16, 16), ('N', 16, 16, 1)])
def test_a_network_of_grey_images_gets_their_luma(shape, tmp_path):
  one = {'conv.w': small.weights()['conv.w'][:, :1]}
  nodes = [node('Reshape', 'images', 'size', 'maps'), *small.body('maps')]
  backbone = restore(
    tmp_path,
    [*nodes, *small.head()],
    shape=shape,
    tensors={**one, 'size': np.array([-1, 1, 16, 16])},
    metadata={'value_range': [-1, 1], 'resize_method': 'bilinear'},
  )
  grey = IMAGES.astype(float) @ [0.299, 0.587, 0.114]
  model = small.make(shape=('N', 1, 16, 16), tensors=one)
  (logits,) = reference.ReferenceEvaluator(model).run(
    None, {'images': grey.astype('f4')[:, None]}
  )
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
