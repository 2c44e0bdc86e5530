# SPDX-License-Identifier: Apache-2.0
"""All operators by domain and name."""

from collections.abc import Iterable

from neucrab_jax import spelling
from neucrab_jax.models.onnx import (
  convolution,
  elementwise,
  microsoft,
  normalisation,
  pooling,
  quantised,
  reductions,
  resize,
  shapes,
)
from neucrab_jax.models.onnx.graph import Graph, Node

# The interpreter runs one of its graphs.
CONDITIONAL = 'If'

_OF_ONNX = {
  name: operator
  for module in (
    elementwise,
    reductions,
    shapes,
    convolution,
    pooling,
    normalisation,
    quantised,
    resize,
  )
  for name, operator in module.OPERATORS.items()
}
_BY_DOMAIN = {
  '': _OF_ONNX,
  'ai.onnx': _OF_ONNX,
  'com.microsoft': microsoft.OPERATORS,
}


def names(domain: str = '') -> tuple[str, ...]:
  """The known operators of a domain."""
  return tuple(_BY_DOMAIN.get(domain, ()))


def find(node: Node) -> elementwise.Operator:
  """The function of a node; it is known, as `check_known` has found."""
  return _BY_DOMAIN[node.domain][node.op]


def check_known(nodes: Iterable[Node]) -> None:
  """Checks that all operators are known, those of graphs inside included.

  Raises:
    ValueError: if one is not, naming it and its node.
  """
  for node in nodes:
    known = names(node.domain)
    if node.op == CONDITIONAL and not node.domain:
      for inner in node.attributes.values():
        if isinstance(inner, Graph):
          check_known(inner.nodes)
    elif node.op not in known:
      raise ValueError(
        f'{node} is an operator that is not known here.'
        f'{spelling.nearest(node.op, known)} Export the network without it, '
        'or extract its features elsewhere and rank the files by '
        '--config=configs/features.py:nleep.'
      )
