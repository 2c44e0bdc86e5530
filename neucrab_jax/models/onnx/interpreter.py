# SPDX-License-Identifier: Apache-2.0
"""Runs a graph: each operator once, in order, while JAX traces."""

from collections.abc import Mapping, Sequence
from typing import Any

from neucrab_jax.models.onnx import graph as graph_lib
from neucrab_jax.models.onnx import layout, operators, values
from neucrab_jax.models.onnx.graph import Graph, Node


def _branch(node: Node, known: Mapping[str, Any]) -> tuple[Any, ...]:
  """What a conditional gives whose condition is known."""
  chosen = values.host(node, known[node.inputs[0]], what='condition')
  branch = node.get('then_branch' if chosen.reshape(()) else 'else_branch')
  return tuple(run(branch, known, branch.outputs))


def _call(node: Node, known: Mapping[str, Any]) -> tuple[Any, ...]:
  if node.op == operators.CONDITIONAL and not node.domain:
    return _branch(node, known)
  inputs = [known[name] if name else None for name in node.inputs]
  found = layout.call(node, operators.find(node), inputs)
  return found if isinstance(found, tuple) else (found,)


def run(
  graph: Graph, given: Mapping[str, Any], wanted: Sequence[str]
) -> list[Any]:
  """Computes some of a graph's values.

  Args:
    graph: whose operators are known.
    given: the values of its inputs and variables by name, and for a graph
      inside another, those of the other.
    wanted: names of values.

  Raises:
    ValueError: if an operator cannot be computed, naming its node.
  """
  known: dict[str, Any] = {**given, **graph.constants}
  for node in graph_lib.needed(graph, wanted):
    try:
      found = _call(node, known)
      for output in found:
        if output is not None:
          values.check_size(output.shape)
    except Exception as error:  # Whatever a foreign graph provokes.
      reason = str(error).partition('\n')[0] or type(error).__name__
      raise ValueError(f'{node} cannot be computed: {reason}') from error
    known.update(zip(node.outputs, found, strict=False))
  return [layout.plain(known[name]) for name in wanted]
