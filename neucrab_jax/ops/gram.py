# SPDX-License-Identifier: Apache-2.0
"""Ridge regression of one strength in f64, without an eigendecomposition.

A factorisation by Cholesky takes a fraction of the time. Where its rounding
would tell, the eigenvalues are found all the same.

Axes: N examples, D features, R = min(N, D), C targets.
"""

import dataclasses

import numpy as np
from jaxtyping import Float, Real

from neucrab_jax.ops import float64, kept
from neucrab_jax.typing import Array

# Where the trace of a Gram matrix is between these many times the strength, the
# log-determinant and the inverse have eight digits by Cholesky.
_RESOLVED = (1e-6, 1e8)

# Rows of a triangle that is inverted as if it were a square.
_SMALL = 64


@dataclasses.dataclass(frozen=True)
class Hat:
  """H = X (XᵀX + r I)⁻¹ Xᵀ, which makes predictions of targets.

  Attributes:
    left: [N], 1 − H_ii.
    log_det: of I + XᵀX / r.
  """

  left: np.ndarray
  log_det: float
  _x: np.ndarray
  _root: np.ndarray
  _strength: float

  def predict(
    self, targets: Float[np.ndarray, 'N C']
  ) -> Float[np.ndarray, 'N C']:
    """H times the targets."""
    x, root = self._x, self._root
    if _is_wide(x):
      return targets - root @ (root.T @ targets)
    return x @ (root @ (root.T @ (x.T @ targets))) / self._strength


def _is_wide(x: np.ndarray) -> bool:
  return x.shape[1] > x.shape[0]


def _inverse_of_lower(factor: np.ndarray) -> np.ndarray:
  """Of a lower triangle [R, R], by halves.

  Nearly as fast as LAPACK's by SciPy, which would have to be imported, and
  keeps other threads waiting.
  """
  size = len(factor)
  if size <= _SMALL:
    return np.tril(np.linalg.inv(factor))
  half = size // 2
  inverse = np.zeros_like(factor)
  first = _inverse_of_lower(factor[:half, :half])
  last = _inverse_of_lower(factor[half:, half:])
  inverse[:half, :half], inverse[half:, half:] = first, last
  inverse[half:, :half] = -last @ (factor[half:, :half] @ first)
  return inverse


class Gram:
  """X and the smaller of its two Gram matrices.

  Attributes:
    x: [N, D].
    unit: that X is in, for who has to know.
    trace: ‖X‖², the sum of the eigenvalues.
    energy: the sum of their squares.
  """

  def __init__(self, x: Float[np.ndarray, 'N D'], unit: float = 1.0):
    self.x, self.unit = x, unit
    self._gram = x @ x.T if _is_wide(x) else x.T @ x
    self.trace = float(np.trace(self._gram))
    self.energy = float(np.sum(self._gram**2))
    self._hats: dict[float, Hat] = {}

  @property
  def nbytes(self) -> int:
    """With one hat matrix."""
    return self.x.nbytes + 2 * self._gram.nbytes

  def hat(self, strength: float) -> Hat:
    """The hat matrix at a strength r > 0; the last one is kept."""
    found = self._hats.get(strength) or self._make_hat(strength)
    self._hats = {strength: found}
    return found

  def _make_hat(self, strength: float) -> Hat:
    x, (low, high) = self.x, _RESOLVED
    if low < self.trace / strength < high:
      root, log_det = self._by_cholesky(strength)
    else:
      root, log_det = self._by_eigenvalues(strength)
    if _is_wide(x):
      left = np.sum(root**2, axis=1)
    else:
      blocks = float64.row_blocks(*x.shape)
      sums = [np.sum((x[rows] @ root) ** 2, axis=1) for rows in blocks]
      left = 1 - np.concatenate(sums) / strength
    return Hat(left, log_det, x, root, strength)

  def _by_cholesky(self, strength: float) -> tuple[np.ndarray, float]:
    """B with B Bᵀ = (I + XᵀX / r)⁻¹ or (I + XXᵀ / r)⁻¹; the log-determinant."""
    factor = np.linalg.cholesky(self._gram / strength + np.eye(len(self._gram)))
    log_det = 2 * float(np.sum(np.log(np.diagonal(factor))))
    return _inverse_of_lower(factor).T, log_det

  def _by_eigenvalues(self, strength: float) -> tuple[np.ndarray, float]:
    """As `_by_cholesky`, of features' axes only those that vary."""
    values, vectors = np.linalg.eigh(self._gram)
    seen = values > float64.rank_tolerance(values, max(self.x.shape))
    values = np.where(seen, values, 0) / strength
    root = vectors / np.sqrt(1 + values)
    log_det = float(np.sum(np.log1p(values)))
    return root if _is_wide(self.x) else root[:, seen], log_det


def centred(features: Real[Array, 'N D']) -> Gram:
  """Of centred features in a unit of their own, once for all that ask for it.

  Args:
    features: [N, D].
  """

  def make(x):
    x = float64.centre(x)
    return Gram(x, float64.divide_by_unit(x))

  return kept.once('gram', features, make)
