# SPDX-License-Identifier: Apache-2.0
"""Where a graph's features and logits are."""

import dataclasses
from typing import NamedTuple

from neucrab_jax import spelling
from neucrab_jax.models.onnx.graph import Graph, Node

# What a graph's outputs are called if it says itself what they are.
_FEATURES, _LOGITS = 'features', 'logits'

# What may be between a classifier and the output, of one input that matters.
_PROBABILITIES = {'Softmax', 'LogSoftmax', 'Sigmoid', 'QLinearSoftmax',
                  'QLinearSigmoid', 'Hardmax'}  # fmt: skip
_PASSING = {
  'Identity', 'Cast', 'Reshape', 'Flatten', 'Squeeze', 'Unsqueeze', 'Transpose',
  'Dropout', 'QuantizeLinear', 'DequantizeLinear', 'GlobalAveragePool',
  'AveragePool', 'ReduceMean', 'QLinearGlobalAveragePool', 'QLinearAveragePool',
}  # fmt: skip
# The same if the other input is known beforehand.
_WITH_CONSTANT = {'Add', 'Sub', 'Mul', 'Div', 'QLinearAdd', 'QLinearMul'}

# Classifiers: of which input they are a function, and which is the weights.
_LINEAR = {
  'Gemm': (0, 1),
  'MatMul': (0, 1),
  'MatMulInteger': (0, 1),
  'FusedMatMul': (0, 1),
  'QLinearMatMul': (0, 3),
  'QGemm': (0, 3),
}
_CONVOLUTIONS = {
  'Conv': (0, 1),
  'FusedConv': (0, 1),
  'ConvInteger': (0, 1),
  'QLinearConv': (0, 3),
}


# Where integers are said to be what numbers: the inputs of the operator that
# makes them, scale and zero point.
_SCALES = {
  'QuantizeLinear': (1, 2),
  'QLinearConcat': (0, 1),
  **dict.fromkeys(
    ('QLinearConv', 'QLinearMatMul', 'QLinearAdd', 'QLinearMul'), (6, 7)
  ),
  'QGemm': (7, 8),
  **dict.fromkeys(
    (
      'QLinearGlobalAveragePool',
      'QLinearAveragePool',
      'QLinearSigmoid',
      'QLinearLeakyRelu',
      'QLinearSoftmax',
    ),
    (3, 4),
  ),
}
# What moves integers and leaves them what they are.
_MOVING = {
  'Identity', 'Reshape', 'Flatten', 'Squeeze', 'Unsqueeze', 'Transpose',
  'MaxPool', 'GlobalMaxPool', 'Slice', 'Split', 'Gather',
}  # fmt: skip
# Integers by a scale that is found for each batch.
_DYNAMIC = 'DynamicQuantizeLinear'


class Ends(NamedTuple):
  """The values that a network is for.

  Attributes:
    features: name of the value that the classifier reads.
    logits: name of what it makes of them; None without one.
  """

  features: str
  logits: str | None


def _is_known(graph: Graph, name: str) -> bool:
  """Whether a value depends on no input."""
  todo, seen = [name], set()
  inputs = {given.name for given in graph.inputs}
  while todo:
    name = todo.pop()
    if name in inputs:
      return False
    node = graph.makers.get(name)
    if node is not None and id(node) not in seen:
      seen.add(id(node))
      todo += filter(None, node.inputs)
  return True


def _is_dynamic_scale(graph: Graph, name: str) -> bool:
  """Whether a value is the scale of what was quantised on the way.

  It may be multiplied by that of the weights.
  """
  todo, seen, found = [name], set(), False
  while todo:
    name = todo.pop()
    if name in seen:
      continue
    seen.add(name)
    node = graph.makers.get(name)
    if node and node.op == _DYNAMIC and name == node.outputs[1]:
      found = True
    elif node and node.op == 'Mul':
      todo += node.inputs
    elif not _is_known(graph, name):
      return False
  return found


def _shape(graph: Graph, name: str) -> tuple[int, ...]:
  """The shape of a tensor of weights, which may be made of another."""
  while name not in graph.variables and name not in graph.constants:
    node = graph.makers.get(name)
    if node is None or node.op not in ('Identity', 'Cast', 'QuantizeLinear',
                                       'DequantizeLinear'):  # fmt: skip
      return ()
    name = node.inputs[0]
  if name in graph.variables:
    return graph.variables[name].shape
  return graph.constants[name].shape


def _reads(graph: Graph, node: Node, *, is_scored: bool) -> str | None:
  """The value that a classifier reads; None if the node is none.

  A convolution is one if each place is seen by itself, or if probabilities are
  made of it.
  """
  if node.op in _LINEAR:
    data, weights = (node.inputs[i] for i in _LINEAR[node.op])
    if _is_known(graph, weights):
      return data
  elif node.op in _CONVOLUTIONS:
    data, weights = (node.inputs[i] for i in _CONVOLUTIONS[node.op])
    shape = _shape(graph, weights)
    one = len(shape) > 2 and (is_scored or set(shape[2:]) == {1})
    if one and node.get('group', 1) == 1 and _is_known(graph, weights):
      return data
  return None


def _walk(graph: Graph, output: str) -> Ends | None:
  """Walks back from an output to what a classifier reads."""
  name, logits, is_scored = output, output, False
  while name in graph.makers:
    node = graph.makers[name]
    found = _reads(graph, node, is_scored=is_scored)
    quantiser = graph.makers.get(found) if found else None
    if quantiser is not None and quantiser.op == _DYNAMIC:
      found = quantiser.inputs[0]
    if found is not None:
      return Ends(found, logits)
    if node.op in _PROBABILITIES:
      name, logits, is_scored = node.inputs[0], node.inputs[0], True
    elif node.op in _PASSING:
      name = node.inputs[0]
    elif node.op in _WITH_CONSTANT:
      free = [
        each
        for each in node.inputs
        if not _is_known(graph, each) and not _is_dynamic_scale(graph, each)
      ]
      if len(free) != 1:
        return None
      (name,) = free
    else:
      return None
  return None


def find_ends(graph: Graph, node: str = '') -> Ends:
  """The values of a graph that are features and logits.

  Args:
    graph: any.
    node: the name of a node or of a value that is the features, if that is
      known.

  Raises:
    ValueError: if there is no such node, or no classifier can be found.
  """
  outputs = graph.outputs
  if node:
    named = {each.name: each.outputs[0] for each in graph.nodes if each.name}
    places = {**named, **{name: name for name in graph.makers}}
    if node not in places:
      raise spelling.unknown('node', node, tuple(places))
    return Ends(places[node], _LOGITS if _LOGITS in outputs else None)
  if _FEATURES in outputs:
    return Ends(_FEATURES, _LOGITS if _LOGITS in outputs else None)
  found = _walk(graph, outputs[0])
  if found is None:
    last = [each.name or each.outputs[0] for each in graph.nodes[-5:]]
    raise ValueError(
      'its classifier cannot be found: going back from the output '
      f'{outputs[0]!r} there is no product with weights. Say which node gives '
      f"the features, as 'FILE#NODE'; the last ones are {', '.join(last)}."
      " Or export it with two outputs that are named 'features' and 'logits'."
    )
  return found


def _scale(graph: Graph, name: str) -> tuple[str, ...]:
  """The names of a value's scale and zero point; none of what is no integer."""
  while name in graph.makers:
    node = graph.makers[name]
    if node.op in _SCALES:
      # A zero point may be left out.
      return tuple(node.inputs[place] for place in _SCALES[node.op]
                   if place < len(node.inputs))  # fmt: skip
    if node.op not in _MOVING:
      return ()
    name = node.inputs[0]
  return ()


def as_numbers(graph: Graph, ends: Ends) -> tuple[Graph, Ends]:
  """The graph with features and logits that are numbers, be they integers.

  Args:
    graph: any.
    ends: its values.
  """
  nodes, names = list(graph.nodes), []
  for name in ends:
    scale = _scale(graph, name) if name else ()
    if name and scale:
      real = f'{name} as numbers'
      nodes.append(
        Node('DequantizeLinear', (name, *scale), (real,), {}, opset=19)
      )
      name = real
    names.append(name)
  return dataclasses.replace(graph, nodes=tuple(nodes)), Ends(*names)
