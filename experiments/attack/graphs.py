# SPDX-License-Identifier: Apache-2.0
"""Routes: ONNX files, and exported functions of JAX."""

import copy
import functools
import pathlib
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from experiments.attack import cases
from neucrab_jax import checkpoints
from tests.checkpoints import small_onnx

_VALUES = (0, 1, -1, 2, 7, 2**31, -(2**63), 2**63 - 1)


def _features(path: pathlib.Path) -> dict[str, float]:
  backbone = checkpoints.restore(str(path))
  size = backbone.checkpoint.image_size
  if size > 64:
    raise ValueError('The images are too large for an attack.')
  images = np.linspace(-1, 1, 2 * size * size * 3, dtype=np.float32)
  features = np.asarray(backbone(images.reshape(2, size, size, 3)).features)
  return {str(i): float(x) for i, x in enumerate(features.ravel())}


@functools.cache
def _plain(folder: pathlib.Path) -> dict[str, float]:
  return _features(small_onnx.save(folder / 'plain.onnx'))


def _identity(rng: np.random.Generator, model: onnx.ModelProto) -> str:
  """Puts an operator that does nothing behind another."""
  nodes = model.graph.node
  place = int(rng.integers(len(nodes) - 1))
  output = nodes[place].output[0]
  op = ('Identity', 'Dropout', 'Cast')[rng.integers(3)]
  attributes = {'to': TensorProto.FLOAT} if op == 'Cast' else {}
  nodes[place].output[0] = 'inserted'
  nodes.insert(
    place + 1, helper.make_node(op, ['inserted'], [output], **attributes)
  )
  return f'{op} behind {nodes[place].name}'


def _unused(rng: np.random.Generator, model: onnx.ModelProto) -> str:
  """Adds what nothing reads, known or not."""
  del rng
  model.graph.node.append(helper.make_node('Unheard', ['pooled'], ['u']))
  return 'an operator that nothing reads'


def _attribute(rng: np.random.Generator, model: onnx.ModelProto) -> str:
  nodes = [node for node in model.graph.node if node.attribute]
  node = nodes[rng.integers(len(nodes))]
  attribute = node.attribute[rng.integers(len(node.attribute))]
  value = _VALUES[rng.integers(len(_VALUES))]
  if attribute.ints:
    attribute.ints[rng.integers(len(attribute.ints))] = value
  else:
    attribute.i = value
  return f'{node.name}: {attribute.name} has {value}'


def _wiring(rng: np.random.Generator, model: onnx.ModelProto) -> str:
  """Lets a node read another value."""
  nodes = model.graph.node
  names = ['', 'images', 'nowhere']
  names += [name for node in nodes for name in (*node.input, *node.output)]
  node = nodes[rng.integers(len(nodes))]
  place = int(rng.integers(len(node.input)))
  node.input[place] = names[rng.integers(len(names))]
  return f'{node.name}: input {place} is {node.input[place]!r}'


def _operator(rng: np.random.Generator, model: onnx.ModelProto) -> str:
  from neucrab_jax.models.onnx import operators

  known = (*operators.names(), *operators.names('com.microsoft'), 'Unheard')
  node = model.graph.node[rng.integers(len(model.graph.node))]
  node.op_type = known[rng.integers(len(known))]
  node.domain = ('', 'com.microsoft', 'x')[rng.integers(3)]
  return f'{node.name} is {node.domain}.{node.op_type}'


def _dims(rng: np.random.Generator, model: onnx.ModelProto) -> str:
  tensors = model.graph.initializer
  tensor = tensors[rng.integers(len(tensors))]
  tensor.dims[rng.integers(len(tensor.dims))] = int(
    _VALUES[rng.integers(len(_VALUES))]
  )
  return f'{tensor.name} of {list(tensor.dims)}'


def _type(rng: np.random.Generator, model: onnx.ModelProto) -> str:
  tensors = model.graph.initializer
  tensor = tensors[rng.integers(len(tensors))]
  tensor.data_type = int(rng.integers(30))
  return f'{tensor.name} of type {tensor.data_type}'


def _input(rng: np.random.Generator, model: onnx.ModelProto) -> str:
  kind = model.graph.input[0].type.tensor_type
  dim = kind.shape.dim[rng.integers(len(kind.shape.dim))]
  dim.dim_value = int(_VALUES[rng.integers(len(_VALUES) - 3)])
  return f'input of {[d.dim_value for d in kind.shape.dim]}'


def _metadata(rng: np.random.Generator, model: onnx.ModelProto) -> str:
  texts = (
    '', '{', 'null', '[]', '{"image_size": 1e9}', '[' * 5000, '{"a": 1}',
    '{"image_size": 16, "resize_method": "x", "value_range": [0, 1]}',
    '{"image_size": 9, "resize_method": "bicubic", "value_range": [0, 1e999]}',
  )  # fmt: skip
  text = texts[rng.integers(len(texts))]
  helper.set_model_props(model, {'neucrab.preprocessing': text})
  return f'metadata {text[:40]}'


_SAME = (_identity, _unused)
_ODD = (_attribute, _wiring, _operator, _dims, _type, _input, _metadata)


def make(rng: np.random.Generator, folder: pathlib.Path) -> cases.Case:
  """Makes an odd ONNX file."""
  path = folder / 'net.onnx'
  model = copy.deepcopy(small_onnx.make())
  kind = rng.choice(['same', 'odd', 'odd', 'odd', 'flip', 'cut'])
  right: Any = cases.ANYTHING
  about = str(kind)
  if kind == 'same':
    right = _plain(folder.parent)
    about = _SAME[rng.integers(len(_SAME))](rng, model)
  elif kind == 'odd':
    about = _ODD[rng.integers(len(_ODD))](rng, model)
  content = bytearray(model.SerializeToString())
  place = int(rng.integers(len(content)))
  if kind == 'flip':
    content[place] ^= 1 << rng.integers(8)
  elif kind == 'cut':
    del content[place:]
  path.write_bytes(content)
  return cases.Case(
    about, lambda: _features(path), right, may_refuse=kind != 'same'
  )


@functools.cache
def _exported(folder: pathlib.Path) -> bytes:
  """A small function of JAX, as `save_exported` writes it."""
  path = folder / 'plain.jaxexport'

  def function(images):
    return images.mean(axis=(1, 2)), images[:, 0, 0]

  checkpoints.save_exported(function, path, image_size=8, value_range=(0, 1))
  return path.read_bytes()


def make_exported(rng: np.random.Generator, folder: pathlib.Path) -> cases.Case:
  """Makes an odd file of an exported function: its digest covers all of it."""
  path = folder / 'net.jaxexport'
  content = bytearray(_exported(folder.parent))
  place = int(rng.integers(len(content)))
  kind = rng.choice(['same', 'flip', 'cut', 'more', 'header', 'other'])
  if kind == 'flip':
    content[place] ^= 1 << rng.integers(8)
  elif kind == 'cut':
    del content[place:]
  elif kind == 'more':
    content += rng.bytes(int(rng.integers(1, 100)))
  elif kind == 'header':
    content = content.replace(b'"size":', b'"sise":', 1)
  elif kind == 'other':
    content = bytearray(small_onnx.make().SerializeToString())
  path.write_bytes(content)
  right: Any = cases.REFUSAL
  if kind == 'same':
    right = _features(folder.parent / 'plain.jaxexport')
  return cases.Case(
    f'{kind} at {place}',
    lambda: _features(path),
    right,
    may_refuse=kind != 'same',
  )
