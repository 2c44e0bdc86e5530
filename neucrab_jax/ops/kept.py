# SPDX-License-Identifier: Apache-2.0
"""What measures of one run make of the same features, made once for all.

Axes: N examples, D features.
"""

import collections
import hashlib
import threading
from collections.abc import Callable
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import Real

from neucrab_jax.typing import Array

# Of all that is kept. What is larger by itself is made anew by each measure:
# the next one needs the memory more.
MOST_BYTES = 1 << 27


@runtime_checkable
class Made(Protocol):
  """What can be kept."""

  @property
  def nbytes(self) -> int: ...


_Made = TypeVar('_Made', bound=Made)


class _Place:
  """For what is made, once it is; who asks meanwhile waits for it alone."""

  def __init__(self):
    self.lock = threading.Lock()
    self.made: Any = None

  @property
  def nbytes(self) -> int:
    return self.made.nbytes if self.made else 0


# Found by the bytes of the features, so that it can't be stale.
_places: collections.OrderedDict[tuple[str, bytes], _Place] = (
  collections.OrderedDict()
)
_lock = threading.Lock()


def once(
  kind: str,
  features: Real[Array, 'N D'],
  make: Callable[[np.ndarray], _Made],
) -> _Made:
  """What is made of features: of small ones once for all that ask for it.

  Args:
    kind: what it is called.
    features: [N, D].
    make: makes it of them, and leaves them as they are.
  """
  x = np.ascontiguousarray(features)
  content = hashlib.sha256(x.view(np.uint8).data)
  content.update(repr((x.shape, x.dtype)).encode())
  with _lock:
    place = _places.setdefault((kind, content.digest()), _Place())
    _places.move_to_end((kind, content.digest()))
    while sum(p.nbytes for p in _places.values()) > MOST_BYTES:
      _places.popitem(last=False)
  with place.lock:
    if place.made is None:
      made = make(x)
      if made.nbytes > MOST_BYTES:
        return made
      place.made = made
    return place.made
