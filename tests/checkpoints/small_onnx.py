# SPDX-License-Identifier: Apache-2.0
"""Small networks as ONNX files."""

import json

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIZE, WIDTH, CLASSES = 16, 6, 5

PREPROCESSING = {
  'image_size': SIZE,
  'mean': [0.5, 0.4, 0.3],
  'std': [0.2, 0.25, 0.3],
  'resize_method': 'bilinear',
}
ANY_SIZE = {k: v for k, v in PREPROCESSING.items() if k != 'image_size'}


def weights(seed=0):
  rng = np.random.default_rng(seed)

  def draw(*shape):
    return (rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(
      'f4'
    )

  return {
    'conv.w': draw(WIDTH, 3, 3, 3),
    'conv.b': draw(WIDTH),
    'bn.scale': rng.uniform(0.5, 2, WIDTH).astype('f4'),
    'bn.bias': draw(WIDTH),
    'bn.mean': draw(WIDTH),
    'bn.var': rng.uniform(0.5, 2, WIDTH).astype('f4'),
    'dw.w': draw(WIDTH, 1, 3, 3),
    'head.w': draw(CLASSES, WIDTH),
    'head.b': draw(CLASSES),
  }


def body(first='images'):
  """Nodes from images to the vector 'pooled'."""
  return [
    helper.make_node(
      'Conv', [first, 'conv.w', 'conv.b'], ['c'], name='conv',
      pads=[1, 1, 1, 1], strides=[2, 2],
    ),
    helper.make_node(
      'BatchNormalization', ['c', 'bn.scale', 'bn.bias', 'bn.mean', 'bn.var'],
      ['n'], name='bn',
    ),
    helper.make_node('Relu', ['n'], ['r'], name='relu'),
    helper.make_node(
      'Conv', ['r', 'dw.w'], ['d'], name='dw', pads=[1, 1, 1, 1], group=WIDTH
    ),
    helper.make_node('GlobalAveragePool', ['d'], ['g'], name='pool'),
    helper.make_node('Flatten', ['g'], ['pooled'], name='flatten'),
  ]  # fmt: skip


def head(last='logits'):
  return [
    helper.make_node(
      'Gemm', ['pooled', 'head.w', 'head.b'], [last], name='head', transB=1
    )
  ]


def make(
  nodes=None, outputs=('logits',), *, shape=('N', 3, SIZE, SIZE), tensors=None,
  opset=17, kind=TensorProto.FLOAT, metadata=PREPROCESSING, seed=0,
):  # fmt: skip
  """A model: by default, two convolutions and a classifier."""
  tensors = {**weights(seed), **(tensors or {})}
  graph = helper.make_graph(
    [*body(), *head()] if nodes is None else nodes,
    'small',
    [helper.make_tensor_value_info('images', kind, shape)],
    [
      helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in outputs
    ],
    [numpy_helper.from_array(v, k) for k, v in tensors.items()],
  )
  model = helper.make_model(
    graph,
    opset_imports=[
      helper.make_opsetid('', opset),
      helper.make_opsetid('com.microsoft', 1),
    ],
  )
  if metadata is not None:
    text = metadata if isinstance(metadata, str) else json.dumps(metadata)
    helper.set_model_props(model, {'neucrab.preprocessing': text})
  return model


def save(path, *arguments, **options):
  onnx.save(make(*arguments, **options), path)
  return path
