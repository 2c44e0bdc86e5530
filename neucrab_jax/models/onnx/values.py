# SPDX-License-Identifier: Apache-2.0
"""Values on the way: on the host by NumPy, or traced by JAX.

What depends on shapes and constants alone is on the host, where an operator
that has to know a value, such as a new shape, finds it.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from neucrab_jax.models.onnx.graph import Node

# Types by their number in ONNX. Half precision is widened, and so is what a
# device has no use for narrowed.
DTYPES = {
  1: 'float32',
  2: 'uint8',
  3: 'int8',
  4: 'uint16',
  5: 'int16',
  6: 'int32',
  7: 'int64',
  9: 'bool',
  10: 'float32',
  11: 'float32',
  12: 'uint32',
  13: 'uint64',
  16: 'float32',
}
_NARROW = {'int64': 'int32', 'uint64': 'uint32', 'float64': 'float32'}

# Elements of any value; more is a mistake, or an attack.
_MOST_ELEMENTS = 1 << 31
# The same on the host, where shapes and small tables are.
_MOST_ON_HOST = 1 << 24


def is_host(value: Any) -> bool:
  return isinstance(value, np.ndarray | np.generic)


def namespace(values: Iterable[Any]) -> Any:
  """NumPy if all values are on the host, and jax.numpy otherwise."""
  return np if all(v is None or is_host(v) for v in values) else jnp


def host(node: Node, value: Any, *, what: str) -> np.ndarray:
  """A value that has to be known.

  Raises:
    ValueError: if it depends on the images.
  """
  if not is_host(value):
    raise ValueError(
      f'its {what} depends on the pixels, but must be known before they are'
    )
  return np.asarray(value)


def ints(node: Node, value: Any, *, what: str) -> list[int]:
  """A vector or a number that has to be known, as Python's integers."""
  return [int(v) for v in host(node, value, what=what).reshape(-1)]


def cast(xp: Any, x: Any, dtype: str) -> Any:
  """The value in another type, or in the one that a device has for it."""
  dtype = dtype if xp is np else _NARROW.get(dtype, dtype)
  return xp.asarray(x).astype(dtype)


def dtype_of(node: Node, number: int) -> str:
  """The type of a number in ONNX.

  Raises:
    ValueError: if it is none that can be computed with.
  """
  if number not in DTYPES:
    raise ValueError(f'values of ONNX type {number} are not known here')
  return DTYPES[number]


def check_size(shape: Sequence[int], xp: Any = jnp) -> None:
  """Refuses a shape that no network has, before memory is taken.

  Raises:
    ValueError: if it is too large, or negative.
  """
  most = _MOST_ON_HOST if xp is np else _MOST_ELEMENTS
  if any(size < 0 for size in shape) or math.prod(shape) > most:
    raise ValueError(f'a value would have the shape {list(shape)}')


def axis_of(axis: int, rank: int) -> int:
  """A non-negative axis.

  Raises:
    ValueError: if there is no such axis.
  """
  if not -rank <= axis < max(rank, 1):
    raise ValueError(f'there is no axis {axis} among {rank}')
  return axis % max(rank, 1)
