# SPDX-License-Identifier: Apache-2.0
"""From ONNX's graphs to ours, with every tensor where it is needed.

Large tensors become variables, of which floats are trained but for BatchNorm's
statistics and scales of quantisation. What shapes are computed from stays with
the graph.
"""

import pathlib
import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import onnx

from neucrab_jax import storage
from neucrab_jax.checkpoints import onnx_tensors
from neucrab_jax.models import onnx as onnx_models
from neucrab_jax.models.onnx import values

# Inputs that have to be known before the images are, by operator. Of those that
# reduce, the axes are.
_KNOWN_INPUTS = {
  'Reshape': (1,),
  'Expand': (1,),
  'Tile': (1,),
  'Slice': (1, 2, 3, 4),
  'Resize': (1, 2, 3),
  'Upsample': (1,),
  'Pad': (1, 3),
  'ConstantOfShape': (0,),
  'Range': (0, 1, 2),
  'Squeeze': (1,),
  'Unsqueeze': (1,),
  'Split': (1,),
  'OneHot': (1,),
  'TopK': (1,),
  'CumSum': (1,),
  'Trilu': (1,),
  'NonZero': (0,),
  'If': (0,),
}
# What gives a shape, whatever the values are.
_OF_SHAPES = ('Shape', 'Size')

# Elements of a tensor that can stay with the graph, as tables of places do.
_MOST_KNOWN = 1 << 16

_STATISTICS = {'BatchNormalization': (3, 4)}
_QUANTISED = ('DequantizeLinear', 'QuantizeLinear', 'ConvInteger',
              'MatMulInteger', 'DynamicQuantizeLinear', 'QGemm')  # fmt: skip


def _is_quantised(op: str) -> bool:
  return op in _QUANTISED or op.startswith('QLinear')


def _known_before(nodes: Iterable[onnx_models.Node]) -> set[str]:
  """The values that others need known, and what those are computed from."""
  known: set[str] = set()
  for node in reversed(list(nodes)):
    if known.intersection(node.outputs) and node.op not in _OF_SHAPES:
      known.update(node.inputs)
    for place in _KNOWN_INPUTS.get(node.op, ()):
      known.update(node.inputs[place : place + 1])
    if node.op.startswith('Reduce'):
      known.update(node.inputs[1:2])
  return known


def _collection(
  name: str,
  tensor: np.ndarray,
  readers: Mapping[str, list[tuple[str, int]]],
  known: set[str],
) -> str | None:
  """Where a tensor belongs; None for with the graph."""
  used = readers.get(name, [])
  quantised = any(_is_quantised(op) for op, _ in used)
  if tensor.size <= 1 or (name in known and tensor.size <= _MOST_KNOWN):
    return None
  if tensor.dtype == np.float32:
    statistic = any(place in _STATISTICS.get(op, ()) for op, place in used)
    return 'batch_stats' if statistic or quantised else 'params'
  narrow = tensor.dtype.itemsize == 1 and tensor.dtype != bool
  if tensor.size > _MOST_KNOWN or quantised or narrow:
    return 'batch_stats'
  return None


def _nodes(
  graph: onnx.GraphProto, opsets: Mapping[str, int], folder: pathlib.Path
) -> tuple[list[onnx_models.Node], dict[str, np.ndarray]]:
  """The operators of a graph, and its tensors by name."""
  tensors = {
    tensor.name: onnx_tensors.to_array(tensor, folder)
    for tensor in graph.initializer
  }
  nodes = []
  for place, proto in enumerate(graph.node):
    name = proto.name or (proto.output[0] if proto.output else f'#{place}')
    attributes: dict[str, Any] = {
      attribute.name: (
        to_graph(attribute.g, opsets, folder)[0]
        if attribute.type == onnx.AttributeProto.GRAPH
        else onnx_tensors.to_plain(attribute, folder)
      )
      for attribute in proto.attribute
    }
    domain = '' if proto.domain == 'ai.onnx' else proto.domain
    if proto.op_type == 'Constant' and not domain and 'value' in attributes:
      tensors[proto.output[0]] = attributes['value']
      continue
    nodes.append(
      onnx_models.Node(
        proto.op_type,
        tuple(proto.input),
        tuple(proto.output),
        attributes,
        opset=opsets.get(domain, 1),
        name=name,
        domain=domain,
      )
    )
  return nodes, tensors


def _check_order(
  nodes: Iterable[onnx_models.Node], given: Iterable[str]
) -> None:
  """Checks that each value is made once, and before it is read.

  Raises:
    ValueError: if not.
  """
  known = set(given)
  for node in nodes:
    for name in filter(None, node.inputs):
      if name not in known:
        raise ValueError(f'{node} reads {name!r}, which nothing makes before')
    for name in filter(None, node.outputs):
      if name in known:
        raise ValueError(f'{node} makes {name!r}, which is there before')
      known.add(name)


def _inputs(
  graph: onnx.GraphProto, tensors: Iterable[str]
) -> tuple[onnx_models.Input, ...]:
  tensors = set(tensors)
  found = []
  for value in graph.input:
    if value.name in tensors:
      continue
    kind = value.type.tensor_type
    dtype = values.DTYPES.get(kind.elem_type, 'unknown')
    shape = tuple(
      dim.dim_value if dim.dim_value > 0 else None for dim in kind.shape.dim
    )
    found.append(onnx_models.Input(value.name, shape, dtype))
  return tuple(found)


def _describe(value: Any) -> Any:
  """A value as a digest takes it."""
  if isinstance(value, np.ndarray):
    return storage.digest(value)
  return value.key if isinstance(value, onnx_models.Graph) else value


def to_graph(
  graph: onnx.GraphProto,
  opsets: Mapping[str, int],
  folder: pathlib.Path,
  *,
  is_whole: bool = False,
) -> tuple[onnx_models.Graph, dict[str, np.ndarray]]:
  """A graph as our interpreter takes it.

  Args:
    graph: of a file, or one inside another.
    opsets: versions of the operators by domain.
    folder: of the file.
    is_whole: whether it is the file's. One inside another has no variables.

  Returns:
    The graph, and the tensors that are its variables.

  Raises:
    ValueError: if it is not one that can be run.
  """
  nodes, tensors = _nodes(graph, opsets, folder)
  inputs = _inputs(graph, tensors)
  readers: dict[str, list[tuple[str, int]]] = {}
  for node in nodes:
    for place, name in enumerate(node.inputs):
      readers.setdefault(name, []).append((node.op, place))
  outputs = tuple(output.name for output in graph.output)
  if is_whole:
    given = [each.name for each in inputs]
    _check_order(nodes, [*given, *tensors])
    made = {*given, *tensors, *(name for n in nodes for name in n.outputs)}
    if not outputs or not made.issuperset(outputs):
      raise ValueError('nothing makes its outputs')
  known = _known_before(nodes)
  variables, kept = {}, {}
  for name, tensor in tensors.items():
    where = _collection(name, tensor, readers, known) if is_whole else None
    if where is None:
      kept[name] = tensor
      continue
    key = f'{len(variables):04}_' + re.sub(r'\W', '_', name)[-60:]
    dtype = tensor.dtype.name
    narrow = {'int64': 'int32', 'uint64': 'uint32'}.get(dtype, dtype)
    tensors[name] = tensor.astype(narrow, copy=False)
    variables[name] = onnx_models.Variable(where, key, tensor.shape, narrow)
  description = [
    [
      [node.op, node.inputs, node.outputs, node.opset, node.domain]
      + [
        [key, _describe(node.attributes[key])]
        for key in sorted(node.attributes)
      ]
      for node in nodes
    ],
    [[each.name, each.shape, each.dtype] for each in inputs],
    outputs,
    {
      name: [v.collection, v.key, v.shape, v.dtype]
      for name, v in variables.items()
    },
  ]
  parts = [part for name in sorted(kept) for part in (name, kept[name])]
  return (
    onnx_models.Graph(
      nodes=tuple(nodes),
      inputs=inputs,
      outputs=outputs,
      constants=kept,
      variables=variables,
      key=storage.digest(description, *parts),
    ),
    {name: tensors[name] for name in variables},
  )
