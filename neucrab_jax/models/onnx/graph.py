# SPDX-License-Identifier: Apache-2.0
"""A graph of operators, as plain data."""

import dataclasses
import functools
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Node:
  """One operator of a graph.

  Attributes:
    op: its type, such as 'Conv'.
    inputs: names of values; '' for an optional one that is left out.
    outputs: names of values.
    attributes: numbers, strings, NumPy arrays, and graphs.
    opset: version of the operators of its domain.
    name: for messages.
    domain: '' for ONNX's own.
  """

  op: str
  inputs: tuple[str, ...]
  outputs: tuple[str, ...]
  attributes: Mapping[str, Any]
  opset: int
  name: str = ''
  domain: str = ''

  def get(self, attribute: str, default: Any = None) -> Any:
    return self.attributes.get(attribute, default)

  def __str__(self) -> str:
    domain = f'{self.domain}.' if self.domain else ''
    return f'{domain}{self.op} (opset {self.opset}) of node {self.name!r}'


@dataclasses.dataclass(frozen=True)
class Input:
  """What a graph is given.

  Attributes:
    name: of the value.
    shape: of each axis its size, or None where that is free.
    dtype: as NumPy has it.
  """

  name: str
  shape: tuple[int | None, ...]
  dtype: str


@dataclasses.dataclass(frozen=True)
class Variable:
  """A tensor that is given with each call.

  Attributes:
    collection: 'params' for what is trained, 'batch_stats' for the rest.
    key: its name there.
    shape: of it.
    dtype: as NumPy has it.
  """

  collection: str
  key: str
  shape: tuple[int, ...]
  dtype: str


@dataclasses.dataclass(frozen=True, eq=False)
class Graph:
  """Operators in an order in which they can be run.

  Attributes:
    nodes: in order.
    inputs: without those that have a value already.
    outputs: names of values.
    constants: small tensors by name, for shapes and the like.
    variables: large tensors by name.
    key: SHA-256 of all of this; graphs of the same key are equal, and share
      their compiled programs.
  """

  nodes: tuple[Node, ...]
  inputs: tuple[Input, ...]
  outputs: tuple[str, ...]
  constants: Mapping[str, np.ndarray]
  variables: Mapping[str, Variable]
  key: str

  def __eq__(self, other: object) -> bool:
    return isinstance(other, Graph) and self.key == other.key

  def __hash__(self) -> int:
    return hash(self.key)

  def __repr__(self) -> str:
    return f'Graph({len(self.nodes)} nodes, {self.key[:8]})'

  @functools.cached_property
  def makers(self) -> dict[str, Node]:
    """The node that makes each value."""
    return {
      output: node for node in self.nodes for output in node.outputs if output
    }


def read_by(node: Node) -> Iterable[str]:
  """The values that a node reads, those of graphs inside it included."""
  yield from filter(None, node.inputs)
  for value in node.attributes.values():
    if isinstance(value, Graph):
      inside = {output for each in value.nodes for output in each.outputs}
      inside |= set(value.constants)
      reads = [name for each in value.nodes for name in read_by(each)]
      yield from (n for n in (*reads, *value.outputs) if n not in inside)


def needed(graph: Graph, wanted: Iterable[str]) -> tuple[Node, ...]:
  """The nodes that some values depend on, in order."""
  alive, kept = set(wanted), []
  for node in reversed(graph.nodes):
    if alive.intersection(node.outputs):
      kept.append(node)
      alive.update(read_by(node))
  return tuple(reversed(kept))
