# SPDX-License-Identifier: Apache-2.0
"""ONNX files that tf2onnx makes of what TensorFlow, Keras and TFLite write."""

import subprocess
import sys

import onnx

from neucrab_jax import spelling

OPSET = 17

# What our outputs are called.
_NAMES = ('features', 'logits')


def convert(flag: str, source: str, made: str) -> None:
  """Runs tf2onnx, which is noisy, in a process of its own."""
  done = subprocess.run(
    [
      sys.executable, '-m', 'tf2onnx.convert', flag, source,
      '--output', made, '--opset', str(OPSET),
    ],
    capture_output=True,
    text=True,
  )  # fmt: skip
  if done.returncode:
    last = (done.stderr.strip() or 'no word').splitlines()[-1]
    raise ValueError(f'tf2onnx could not convert {source!r}: {last}')


def _make_room(graph: onnx.GraphProto) -> None:
  """Renames what is called as our outputs are."""
  for node in graph.node:
    for values in (node.input, node.output):
      values[:] = [f'{v}_inside' if v in _NAMES else v for v in values]


def name_outputs(file: str) -> None:
  """Calls the two outputs of a graph `features` and `logits`, in this order."""
  model = onnx.load(file)
  graph = model.graph
  _make_room(graph)
  for new, output in zip(_NAMES, graph.output, strict=False):
    old = output.name + '_inside' * (output.name in _NAMES)
    graph.node.append(onnx.helper.make_node('Identity', [old], [new]))
    output.name = new
  onnx.save(model, file)


def choose(file: str, node: str) -> None:
  """Makes a node's value the one output of a graph, called `features`.

  Args:
    file: of the graph.
    node: its name, or that of what it makes.

  Raises:
    ValueError: if there is none.
  """
  model = onnx.load(file)
  graph = model.graph
  _make_room(graph)
  places = {each.name: each.output[0] for each in graph.node}
  places |= {name: name for each in graph.node for name in each.output}
  if node not in places:
    raise spelling.unknown('node', node, tuple(places))
  graph.node.append(
    onnx.helper.make_node('Identity', [places[node]], ['features'])
  )
  kind = onnx.TensorProto.FLOAT
  output = onnx.helper.make_tensor_value_info('features', kind, None)
  del graph.output[:]
  graph.output.append(output)
  onnx.save(model, file)
