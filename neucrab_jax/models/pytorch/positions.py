# SPDX-License-Identifier: Apache-2.0
"""Position embeddings of a Vision Transformer, for another size of image.

Axes: N positions, D channels.
"""

import functools

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from neucrab_jax.models import slim
from neucrab_jax.typing import Array

# Of Keys' cubic kernel: Pillow's, also of PyTorch where it averages over all
# that it shrinks (antialias); and PyTorch's where it does not.
_PILLOW, _PLAIN = -0.5, -0.75

# On how many places of either side it looks.
_SUPPORT = 2


def _cubic(distance: np.ndarray, a: float) -> np.ndarray:
  d = np.abs(distance)
  near = ((a + 2) * d - (a + 3)) * d * d + 1
  far = a * (((d - 5) * d + 8) * d - 4)
  return np.where(d < 1, near, np.where(d < _SUPPORT, far, 0))


@functools.cache
def _resizing(old: int, new: int, *, antialias: bool) -> np.ndarray:
  """The matrix [new, old] that resizes an axis, bicubic."""
  scale = old / new
  centres = (np.arange(new) + 0.5) * scale
  places = np.arange(-_SUPPORT, old + _SUPPORT) + 0.5
  wider = max(scale, 1.0) if antialias else 1.0
  weights = _cubic(
    (places - centres[:, None]) / wider, _PILLOW if antialias else _PLAIN
  )
  inside = weights[:, _SUPPORT:-_SUPPORT].copy()
  if antialias:
    return inside / inside.sum(axis=1, keepdims=True)
  # What lies outside is what is at the edge.
  inside[:, 0] += weights[:, :_SUPPORT].sum(axis=1)
  inside[:, -1] += weights[:, -_SUPPORT:].sum(axis=1)
  return inside


def resize(
  embedding: Float[Array, 'N D'], new: int, *, antialias: bool
) -> Float[Array, '_ D']:
  """Resamples what is learnt on a square grid to one of [new, new].

  Args:
    embedding: [N, D], of the rows of a square one after the other.
    new: places of a side.
    antialias: as timm does, or else as transformers does.
  """
  old = round(embedding.shape[0] ** 0.5)
  if old == new:
    return embedding
  matrix = jnp.asarray(_resizing(old, new, antialias=antialias), jnp.float32)
  grid = embedding.reshape(old, old, -1)
  resized = jnp.einsum(
    'ai,bj,ijd->abd', matrix, matrix, grid, precision=slim.PRECISION
  )
  return resized.reshape(new * new, -1)
