# SPDX-License-Identifier: Apache-2.0
"""What a network is, told by the names and shapes of its variables."""

import dataclasses
import functools
import math
from collections.abc import Mapping
from typing import Any


class UnsupportedError(ValueError):
  """A network of a kind that is not known here."""


@dataclasses.dataclass(frozen=True)
class Layout:
  """A checkpoint's variables and what its config says, before any is read.

  Attributes:
    shapes: by name, in timm's spelling.
    architecture: timm's name, or transformers' type of the model.
    options: what its config says beyond, by timm's names of arguments.
    own_library: 'timm' or 'transformers', whose code it was written for.
  """

  shapes: Mapping[str, tuple[int, ...]]
  architecture: str
  options: Mapping[str, Any]
  own_library: str = 'timm'

  @functools.cached_property
  def _scopes(self) -> frozenset[str]:
    parts = [name.split('.') for name in self.shapes]
    return frozenset('.'.join(p[:n]) for p in parts for n in range(1, len(p)))

  def __contains__(self, name: str) -> bool:
    return name in self.shapes

  def has(self, scope: str) -> bool:
    """Whether there is a variable below a scope."""
    return scope in self._scopes

  def shape(self, name: str) -> tuple[int, ...]:
    """The shape of a variable.

    Raises:
      ValueError: if there is none of this name.
    """
    if name not in self.shapes:
      raise ValueError(f'it lacks the variable {name!r}')
    return self.shapes[name]

  def width(self, name: str) -> int:
    """The length of a variable's first axis: what a layer makes."""
    shape = self.shape(name)
    if not shape or not math.prod(shape):
      raise ValueError(f'its variable {name!r} is of shape {list(shape)}')
    return shape[0]

  def kernel_size(self, name: str) -> int:
    """The side of a square kernel.

    Raises:
      ValueError: if it is none.
    """
    shape = self.shape(name)
    if len(shape) != 4 or shape[2] != shape[3] or not math.prod(shape):
      raise ValueError(
        f'its variable {name!r} is of shape {list(shape)}, which is no square '
        'kernel of a convolution'
      )
    return shape[2]

  def count(self, scope: str, first: int = 0) -> int:
    """How many scopes `{scope}0`, `{scope}1` … there are."""
    found = 0
    while self.has(f'{scope}{first + found}'):
      found += 1
    return found

  def rate(self, *names: str) -> float:
    """The first share of these that the config has; 0 if it has none."""
    for name in names:
      value = self.options.get(name)
      if value is not None:
        if not isinstance(value, int | float) or not 0 <= value < 1:
          raise ValueError(f'its config has {name} {value!r}, not from 0 to 1')
        return float(value)
    return 0.0

  def epsilon(self, usual: float) -> float:
    """What layer norms add to a variance, by the config or else as usual.

    Raises:
      ValueError: if it is no small positive number.
    """
    value = self.options.get('norm_eps', usual)
    if not isinstance(value, int | float) or not 0 < value < 1:
      raise ValueError(f'its layer norms have epsilon {value!r}, not below 1')
    return float(value)

  @property
  def num_classes(self) -> int | None:
    """How many classes the head has; None without one."""
    for scope in ('head', 'head.fc', 'fc', 'classifier'):
      if f'{scope}.weight' in self.shapes:
        return self.width(f'{scope}.weight')
    return None
