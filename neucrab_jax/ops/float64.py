# SPDX-License-Identifier: Apache-2.0
"""Linear algebra in f64 on the host, for scores that f32 cannot resolve.

Log-determinants, inverses and small eigenvalues of Gram matrices lose in f32
what their features never had. Each of these decompositions is needed once per
checkpoint, at a shape of its own: LAPACK is done before XLA has compiled.

Axes: N examples, D features, C classes, K rank, B examples of a block.
"""

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Float, Int, Real

from neucrab_jax.ops import kept
from neucrab_jax.typing import Array

# An offset so many times the spread leaves nothing of it in a Gram matrix.
_DWARFING = 1e4

# Numbers of a few rows: what is made of them is small beside the features.
_BLOCK_ELEMENTS = 1 << 21
# Of so few, what is made of them does not leave a core's cache between steps.
_CACHED_ELEMENTS = 1 << 16


def row_blocks(
  n: int, width: int, *, in_cache: bool = False
) -> Iterator[slice]:
  """Rows [0, n) a few at a time, for work that needs an array as large again.

  Args:
    n: rows.
    width: numbers in each.
    in_cache: for sums and differences alone, of as many as a cache holds;
      products want more.
  """
  elements = _CACHED_ELEMENTS if in_cache else _BLOCK_ELEMENTS
  size = max(1, elements // max(width, 1))
  for start in range(0, n, size):
    yield slice(start, min(start + size, n))


def _largest(x: np.ndarray, axis: int | None = None) -> np.ndarray | np.float64:
  """The largest absolute value, without an array of them."""
  return np.maximum(np.max(x, axis=axis), -np.min(x, axis=axis))


def one_hot(labels: Int[Array, 'N']) -> Float[np.ndarray, 'N C']:
  """[N, C] f64, C being the largest label and one more."""
  return np.eye(int(np.max(labels)) + 1)[np.asarray(labels)]


def class_means(
  x: Float[np.ndarray, 'N D'], labels: Int[Array, 'N']
) -> Float[np.ndarray, 'C D']:
  """[C, D], the mean of each class."""
  members = one_hot(labels)
  return members.T @ x / members.sum(axis=0)[:, None]


def as_given(features: Real[Array, 'N D']) -> Float[np.ndarray, 'N D']:
  """[N, D] f64, as they are."""
  return np.asarray(features, np.float64)


def centre(features: Real[Array, 'N D']) -> Float[np.ndarray, 'N D']:
  """[N, D] f64, less their mean: in f64, before any square is taken."""
  given = np.asarray(features)
  # Differences to one example are exact where an offset dwarfs the spread.
  x = np.subtract(given, given[0], dtype=np.float64)
  x -= x.mean(axis=0)
  return x


# From some rows to what is made of them.
_Rows = Callable[[slice], np.ndarray]


def _centred_rows(given: Real[np.ndarray, 'N D']) -> _Rows:
  """What `centre` makes of some rows."""
  # As there.
  first = np.asarray(given[0], np.float64)
  blocks = row_blocks(*given.shape, in_cache=True)
  mean = sum(np.sum(given[rows] - first, axis=0) for rows in blocks)
  mean = mean / len(given)
  return lambda rows: given[rows] - first - mean


def _standard_rows(given: Real[np.ndarray, 'N D']) -> _Rows:
  """What `standardise` makes of some rows."""
  centred = _centred_rows(given)
  blocks = tuple(row_blocks(*given.shape, in_cache=True))
  # By the largest value first, so that no square over- or underflows.
  largest = np.max([_largest(centred(rows), axis=0) for rows in blocks], axis=0)
  largest = np.where(largest > 0, largest, 1)
  squares = sum(
    np.sum((centred(rows) / largest) ** 2, axis=0) for rows in blocks
  )
  std = np.sqrt(squares / len(given))
  std = np.where(std > 0, std, 1)
  return lambda rows: centred(rows) / largest / std


def standardise(features: Real[Array, 'N D']) -> Float[np.ndarray, 'N D']:
  """[N, D] f64, each column of mean zero and variance one, or all zero."""
  given = np.asarray(features)
  standard, x = _standard_rows(given), np.empty(given.shape)
  for rows in row_blocks(*given.shape, in_cache=True):
    x[rows] = standard(rows)
  return x


def standard(features: Real[Array, 'N D']) -> Float[np.ndarray, 'N D']:
  """[N, D] f32, centred and of a mean variance near one, for kernels in f32.

  Neither an offset nor a unit of the features then costs a kernel digits. The
  scale is a power of two, which rounds nothing.
  """
  given = np.asarray(features)
  centred = _centred_rows(given)
  blocks = tuple(row_blocks(*given.shape, in_cache=True))
  largest = max(_largest(centred(rows)) for rows in blocks)
  unit = np.frexp(largest)[1]  # So that squares are finite.
  squares = sum(np.sum(np.ldexp(centred(b), -unit) ** 2) for b in blocks)
  unit += np.frexp(np.sqrt(squares / given.size))[1]
  x = np.empty(given.shape, np.float32)
  for rows in blocks:
    x[rows] = np.ldexp(centred(rows), -unit)
  return x


def divide_by_unit(x: Float[np.ndarray, 'N D']) -> float:
  """Makes the largest value about one, in place, and tells the divisor.

  A power of two rounds nothing, and keeps squares from under- and overflow.
  """
  largest = _largest(x)
  unit = float(2.0 ** np.frexp(largest)[1]) if largest > 0 else 1.0
  x /= unit
  return unit


def distances(
  x: Float[np.ndarray, 'N D'],
) -> Iterator[tuple[slice, Float[np.ndarray, 'B N']]]:
  """Euclidean distances of a few rows at a time to all: N² are never held.

  >>> [d.tolist() for _, d in distances(np.array([[0.0], [3.0]]))]
  [[[0.0, 3.0], [3.0, 0.0]]]

  Args:
    x: [N, D], centred: the expanded square cancels where offsets are large.
  """
  n = len(x)
  squares = np.einsum('nd,nd->n', x, x)
  for rows in row_blocks(n, n):
    found = squares[rows, None] + squares - 2 * (x[rows] @ x.T)
    found[np.arange(len(found)), np.arange(n)[rows]] = 0
    yield rows, np.sqrt(np.maximum(found, 0))


def rank_tolerance(values: Float[np.ndarray, 'K'], size: int) -> float:
  """Eigenvalues up to this are rounding of zero.

  Args:
    values: [K], of a positive semi-definite matrix.
    size: the longer side of the matrix of which it is the Gram matrix.
  """
  return float(size * np.finfo(np.float64).eps * np.max(values, initial=0))


@dataclasses.dataclass(frozen=True)
class Spectrum:
  """X = U diag(√values) Vᵀ, without V, which no inner product needs.

  Attributes:
    left: [N, K], U: orthonormal columns; K is the rank of X.
    values: [K], the squared singular values, largest first.
  """

  left: np.ndarray
  values: np.ndarray

  @property
  def nbytes(self) -> int:
    return self.left.nbytes

  def coordinates(
    self, rows: slice = slice(None), num_axes: int | None = None
  ) -> np.ndarray:
    """[B, K], some rows of X on its principal axes, X V; zeros if K is 0.

    Made anew each time: all of it is as large as `left`.

    Args:
      rows: all if not given.
      num_axes: the first so many alone, if there are as many.
    """
    left = self.left[rows, :num_axes]
    if not len(self.values):
      return np.zeros((len(left), 1))
    return left * np.sqrt(self.values[:num_axes])


def _is_offset(x: np.ndarray) -> bool:
  """Whether means dwarf what varies about them."""
  moved = sum(np.sum(x[rows] - x[0], axis=0) for rows in row_blocks(*x.shape))
  away = moved / len(x)
  squares = sum(
    np.sum((x[rows] - x[0] - away) ** 2, axis=0)
    for rows in row_blocks(*x.shape)
  )
  std = np.sqrt(np.max(squares) / len(x))
  return bool(np.abs(x[0] + away).max() > _DWARFING * std)


def leverages(
  left: Float[np.ndarray, 'N K'], shares: Float[np.ndarray, 'K *C']
) -> Float[np.ndarray, 'N *C']:
  """U² s: what examples add to the directions U, in which shares s count.

  Args:
    left: [N, K], U.
    shares: [K] or [K, C].

  Returns:
    [N] or [N, C]
  """
  blocks = row_blocks(*left.shape)
  return np.concatenate([left[rows] ** 2 @ shares for rows in blocks])


def _eigen(gram: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
  """[K] eigenvalues that are not zero, largest first, and their vectors.

  Args:
    gram: symmetric.
    size: see `rank_tolerance`.
  """
  # NumPy lets other threads go on meanwhile; SciPy does not.
  values, vectors = np.linalg.eigh(gram)
  kept = values > rank_tolerance(values, size)
  return values[kept][::-1], vectors[:, kept][:, ::-1]


def _decompose(x: np.ndarray) -> Spectrum:
  """Decomposes [N, D], and may overwrite it."""
  n, d = x.shape
  unit = divide_by_unit(x)
  if _is_offset(x):
    left, singular, _ = np.linalg.svd(x, full_matrices=False)
    kept = singular > max(n, d) * np.finfo(float).eps * singular[0]
    values = (singular[kept] * unit) ** 2
    return Spectrum(np.ascontiguousarray(left[:, kept]), values)
  # The smaller of the two Gram matrices.
  gram = x @ x.T if d > n else x.T @ x
  values, vectors = _eigen(gram, max(n, d))
  if d > n:
    return Spectrum(np.ascontiguousarray(vectors), values * unit * unit)
  left = x[:, : len(values)]
  for rows in row_blocks(n, d):
    left[rows] = (x[rows] @ vectors) / np.sqrt(values)
  return Spectrum(np.ascontiguousarray(left), values * unit * unit)


def spectrum(
  features: Real[Array, 'N D'],
  prepare: Callable[[Array], np.ndarray] = centre,
) -> Spectrum:
  """Decomposes features; small ones once for all measures that ask for it.

  Args:
    features: [N, D].
    prepare: `as_given`, `centre` or `standardise`.
  """

  def make(x):
    prepared = prepare(x)
    return _decompose(
      prepared.copy() if np.may_share_memory(prepared, x) else prepared
    )

  return kept.once(prepare.__name__, features, make)


def coordinates(
  features: Real[Array, 'N D'],
  prepare: Callable[[Array], np.ndarray] = centre,
) -> tuple[Float[np.ndarray, 'N _'], Float[np.ndarray, 'K']]:
  """`Spectrum.coordinates` and its `values`.

  Those of large features are f32, and made by blocks without a spectrum: that
  is twice as large as the features.

  Args:
    features: [N, D].
    prepare: `centre` or `standardise`.

  Returns:
    [N, K], or [N, 1] zeros if K is 0, and [K].
  """
  given = np.asarray(features)
  n, d = given.shape
  is_small = n * d * np.dtype(np.float64).itemsize <= kept.MOST_BYTES
  if is_small or d > n:
    found = spectrum(given, prepare)
    x = np.empty(
      (n, max(len(found.values), 1)), np.float64 if is_small else np.float32
    )
    for rows in row_blocks(*x.shape):
      x[rows] = found.coordinates(rows)
    return x, found.values
  rows_of = _standard_rows if prepare is standardise else _centred_rows
  prepared, gram = rows_of(given), np.zeros((d, d))
  for rows in row_blocks(n, d):
    block = prepared(rows)
    gram += block.T @ block
  values, vectors = _eigen(gram, n)
  x = np.zeros((n, max(len(values), 1)), np.float32)
  for rows in row_blocks(n, d):
    x[rows, : len(values)] = prepared(rows) @ vectors
  return x, values
