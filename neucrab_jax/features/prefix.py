# SPDX-License-Identifier: Apache-2.0
"""The first of a task's examples in an order; a race takes more and more of it.

Axes: N examples, n of a prefix.
"""

import dataclasses

import numpy as np
from jaxtyping import Int

from neucrab_jax.ops import stratified


@dataclasses.dataclass(frozen=True)
class Prefix:
  """The first examples of an order.

  Attributes:
    order: [N], each example's number once.
    size: n, how many of them.
  """

  order: Int[np.ndarray, 'N']
  size: int

  @property
  def rows(self) -> Int[np.ndarray, 'n']:
    """The numbers of the examples, ascending."""
    return np.sort(self.order[: self.size])

  @property
  def is_whole(self) -> bool:
    return self.size == len(self.order)


def whole(labels: np.ndarray, *, seed: int = 0) -> Prefix:
  """All examples, in an order whose every beginning has all classes' shares.

  Args:
    labels: [N].
    seed: of the order.
  """
  return Prefix(stratified.nested(labels, seed), len(labels))
