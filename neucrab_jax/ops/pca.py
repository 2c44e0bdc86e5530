# SPDX-License-Identifier: Apache-2.0
"""Principal components that keep a share of the variance.

The eigenvectors of the smaller of the two Gram matrices, D×D or N×N. On a CPU
LAPACK finds them, and only those that are kept: XLA has no such thing, and to
compile its own for the width of each checkpoint took longer than the work.

Axes: N examples, D features, k kept components, R = min(N, D).
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jaxtyping import Float
from scipy.linalg import lapack

from neucrab_jax import parallel
from neucrab_jax.ops import blas, blocks, standardise
from neucrab_jax.typing import Array

# Examples to centre at once, in f64.
_HOST_ROWS = 1024

# What LAPACK asks for, per column of its work space.
_LAPACK_BLOCK = 64

# Cumulative energies closer than this are equal: f32 can't tell them apart, and
# without it the number of components would hang on the last bit of a sum.
ENERGY_ROUNDING = 1e-6


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Projection:
  mean: Array  # [D]
  components: Array  # [D, k], orthonormal columns, most variance first
  explained_energy: Array  # [k], fractions of the total variance


def _unit_columns(v, module):
  """Length one, the largest entry positive; a zero column stays zero."""
  norm = module.linalg.norm(v, axis=0)
  rows = module.argmax(module.abs(v), axis=0)
  largest = module.take_along_axis(v, rows[None], axis=0)[0]
  sign = module.where(largest < 0, -1, 1).astype(v.dtype)
  return v * (sign / module.where(norm > 0, norm, 1))


@jax.jit
def _decompose(
  x: jax.Array, num_examples: int | jax.Array
) -> tuple[jax.Array, ...]:
  """Mean [D], variances [R] in descending order, components [D, R]."""
  n, d = x.shape
  present = (jnp.arange(n) < num_examples)[:, None]
  magnitude = standardise.magnitude(x)
  x = x / magnitude
  # Differences to one example are exact where an offset dwarfs the spread.
  shifted = jnp.where(present, x - x[0], 0)
  shift = jnp.sum(shifted, axis=0) / num_examples
  centred = jnp.where(present, shifted - shift, 0)
  scale = jnp.max(jnp.abs(centred))
  scale = jnp.where(scale > 0, scale, 1)
  centred = centred / scale
  wide = d > n
  gram = jnp.matmul(
    centred if wide else centred.T,
    centred.T if wide else centred,
    precision=blocks.PRECISION,
  )
  values, vectors = jnp.linalg.eigh(gram, symmetrize_input=False)
  values, vectors = jnp.maximum(values[::-1], 0), vectors[:, ::-1]
  if wide:
    vectors = jnp.matmul(centred.T, vectors, precision=blocks.PRECISION)
  vectors = jnp.where(values > 0, vectors, 0)
  return (x[0] + shift) * magnitude, values, _unit_columns(vectors, jnp)


def _tridiagonal_vectors(diagonal, off_diagonal, values) -> np.ndarray:
  """Eigenvectors of the largest `values`, [k] of all R: [R, k] f64."""
  size, kept = len(diagonal), len(values)
  products = np.abs(diagonal[1:] * diagonal[:-1])
  splits = off_diagonal**2 <= np.finfo(np.float64).eps ** 2 * products
  if not splits.any():
    # Inverse iteration, as the eigenvalues are known: a third of the time.
    # The stubs lack LAPACK's routines, here and below.
    vectors, failed = lapack.dstein(  # pyright: ignore
      diagonal, off_diagonal, values, np.ones(size), np.full(size, size)
    )
    if not failed:
      return vectors
  return scipy.linalg.eigh_tridiagonal(
    diagonal,
    off_diagonal,
    select='i',
    select_range=(size - kept, size - 1),
    check_finite=False,
  )[1]


def _leading_eigenvectors(
  gram: np.ndarray, choose: Callable[[np.ndarray], int]
) -> tuple[np.ndarray, np.ndarray]:
  """The eigenvectors of the largest eigenvalues, as many as are wanted.

  The reduction to a tridiagonal matrix, most of the time, is in the precision
  of `gram`; the rest in f64, which is what keeps near eigenvectors apart.

  Args:
    gram: [R, R], symmetric; overwritten.
    choose: from [R] descending eigenvalues to their number k.

  Returns:
    [R] eigenvalues and [R, k] eigenvectors, both in descending order.
  """
  size = len(gram)
  if size == 1:
    return gram[0], np.ones_like(gram)
  reduce, rotate = scipy.linalg.get_lapack_funcs(('sytrd', 'ormqr'), (gram,))
  # Symmetric: its transpose is itself, in the order that LAPACK wants.
  reflectors, diagonal, off_diagonal, tau, _ = reduce(
    gram.T, lower=1, lwork=_LAPACK_BLOCK * size, overwrite_a=1
  )
  diagonal = diagonal.astype(np.float64)
  off_diagonal = off_diagonal.astype(np.float64)
  ascending, _ = lapack.dsterf(diagonal, off_diagonal)  # pyright: ignore
  values = np.maximum(ascending[::-1], 0)
  kept = choose(values)
  vectors = _tridiagonal_vectors(
    diagonal, off_diagonal, ascending[size - kept :]
  )
  vectors = np.asfortranarray(vectors[:, ::-1], gram.dtype)
  vectors[1:], _, _ = rotate(
    'L', 'N', reflectors[1:, :-1], tau, vectors[1:], _LAPACK_BLOCK * kept
  )
  return values, vectors


def _on_host(*arrays) -> bool:
  return jax.default_backend() == 'cpu' and not blocks.is_traced(*arrays)


def _centre_on_host(
  x: np.ndarray, mean: np.ndarray
) -> tuple[np.ndarray | np.floating | float, Iterator[tuple]]:
  """(x − mean) / scale, with the scale that makes its largest entry one.

  Returns:
    The scale, and some rows at a time with what is there, in the precision of
    `x`.
  """
  scale = max(np.max(x.max(0) - mean), np.max(mean - x.min(0))) or 1

  def centred():
    for start in range(0, len(x), _HOST_ROWS):
      rows = slice(start, start + _HOST_ROWS)
      yield rows, ((x[rows] - mean) / scale).astype(x.dtype)  # from f64

  return scale, centred()


def _decompose_on_host(
  x: np.ndarray, choose: Callable[[np.ndarray], int]
) -> tuple[np.ndarray, ...]:
  """As `_decompose`, without padding, and only [D, k] components."""
  n, d = x.shape
  mean = np.asarray(np.mean(x, axis=0, dtype=np.float64))
  parts = (block for _, block in _centre_on_host(x, mean)[1])
  wide = d > n
  if wide:
    centred = np.concatenate(list(parts))
    gram = centred @ centred.T
  else:
    # By parts: a copy of all is as large as the features.
    gram = np.zeros((d, d), x.dtype)
    for part in parts:
      gram += part.T @ part
  with blas.one_thread():
    values, vectors = _leading_eigenvectors(gram, choose)
  if wide:
    vectors = centred.T @ vectors
  vectors = np.where(values[: vectors.shape[1]] > 0, vectors, 0)
  return mean.astype(x.dtype), values, _unit_columns(vectors, np)


def fit(
  x: Float[Array, 'N D'],
  *,
  energy: float = 0.8,
  devices: Sequence | None = None,
) -> Projection:
  """Finds the fewest principal components with enough of the variance.

  >>> x = np.outer(np.arange(10.0), [3.0, 4.0])  # on a line
  >>> projection = fit(x, energy=0.9)
  >>> [round(float(share), 2) for share in projection.components[:, 0]]
  [0.6, 0.8]
  >>> transform(projection, x).shape
  (10, 1)

  Args:
    x: [N, D].
    energy: the share of the variance to keep, in (0, 1].
    devices: to spread the examples over; one device if not given. Every process
      that owns one of them makes the same call.

  Returns:
    The projection, with the smallest k whose cumulative energy is at least
    `energy`. Where nothing varies, one component of zeros.

  Raises:
    ValueError: `x` is not [N, D], or `energy` is not in (0, 1].
  """
  if np.ndim(x) != 2 or 0 in np.shape(x):
    raise ValueError(f'PCA needs features of shape [N, D], got {np.shape(x)}.')
  if not 0 < energy <= 1:
    raise ValueError(f'energy is a share in (0, 1], got {energy}.')
  x, num_examples = blocks.as_float(x), len(x)

  def choose(variances):
    # It depends on the data, so the host decides.
    total = variances.sum(dtype=np.float64)
    enough = variances.cumsum(dtype=np.float64) >= total * (
      energy - ENERGY_ROUNDING
    )
    return int(np.argmax(enough)) + 1

  if devices is None and _on_host(x):
    mean, variances, components = _decompose_on_host(np.asarray(x), choose)
  else:
    if devices is not None:
      rows = parallel.round_up(num_examples, multiple=len(devices))
      x = blocks.pad(x, (rows, x.shape[1]))
      x = parallel.spread(x, axis=0, devices=devices)
    with blas.one_thread():
      decomposed = parallel.fetch(_decompose(x, num_examples))
    mean, variances, components = decomposed
    variances = np.asarray(variances)
    components = blocks.crop(components, (len(components), choose(variances)))
  explained = variances[: components.shape[1]] / (variances.sum() or 1)
  return jax.device_put(
    Projection(
      mean=mean,
      components=components,
      explained_energy=explained.astype(mean.dtype),
    )
  )


@jax.jit
def _project(x: jax.Array, mean: jax.Array, components: jax.Array):
  magnitude = jnp.maximum(standardise.magnitude(x), standardise.magnitude(mean))
  centred = x / magnitude - mean / magnitude
  z = jnp.matmul(centred, components, precision=blocks.PRECISION)
  limit = jnp.finfo(z.dtype).max
  return jnp.clip(z * magnitude, -limit, limit)


def _project_on_host(x: np.ndarray, mean: np.ndarray, components: np.ndarray):
  scale, centred = _centre_on_host(x, mean.astype(np.float64))
  limit = np.finfo(x.dtype).max
  z = blocks.empty((len(x), components.shape[1]), x.dtype)
  for rows, block in centred:
    z[rows] = np.clip(scale * (block @ components), -limit, limit)  # in f64
  return z


def transform(
  projection: Projection, x: Float[Array, 'N D']
) -> Float[Array, 'N k']:
  """Coordinates of examples along the principal components.

  Args:
    projection: from `fit`.
    x: [N, D].

  Returns:
    [N, k]

  Raises:
    ValueError: `x` has another number of features than `projection`.
  """
  d, k = projection.components.shape
  if np.ndim(x) != 2 or x.shape[1] != d:
    raise ValueError(
      f'This projection takes [N, {d}] features, got {np.shape(x)}.'
    )
  x, mean, components = (
    blocks.as_float(x),
    projection.mean,
    projection.components,
  )
  if _on_host(x, mean, components):
    return jax.device_put(
      _project_on_host(np.asarray(x), np.asarray(mean), np.asarray(components))
    )
  if not blocks.is_traced(components):
    components = np.asarray(components)
  components = blocks.pad(components, (d, blocks.bucket(k)))
  z = _project(x, mean, components)
  return blocks.crop(z, (z.shape[0], k))
