# SPDX-License-Identifier: Apache-2.0
"""Ridge regressions onto one-hot labels, and each without one example.

What the evidence of LogME hangs on, at a strength t = α/β of each class's own.

Axes: N examples, K directions, C classes, B examples of a block, M values that
stand for the K eigenvalues.
"""

import dataclasses

import numpy as np

from neucrab_jax.ops import condensed, float64

# Of the authors' code: what keeps its denominators from zero.
STABILISER = 1e-5

# How far α/β may be from that of all examples once one is left out, as a
# logarithm, where it is followed to first order.
_FARTHEST = 0.3
# An example whose own weight in its prediction is this near one says nothing of
# what it would be without it.
_LEAST_LEFT = 1e-12


def log_step(t: np.ndarray, t_without: np.ndarray) -> np.ndarray:
  """[B, C], how far t_without [B, C] is from t [C], as far as is gone."""
  return np.clip(np.log(t_without / t), -_FARTHEST, _FARTHEST)


@dataclasses.dataclass(frozen=True)
class Moments:
  """What the evidence of each class hangs on at its α/β.

  Attributes:
    gamma: [C] or [N, C], the number of well determined directions.
    weights: as gamma, ‖m‖².
    errors: as gamma, the squared error.
  """

  gamma: np.ndarray
  weights: np.ndarray
  errors: np.ndarray

  def fit(self, n: int) -> tuple[np.ndarray, np.ndarray]:
    """MacKay's next α and β."""
    tiny = np.finfo(float).tiny
    alpha = np.maximum(self.gamma / (self.weights + STABILISER), tiny)
    beta = (n - self.gamma) / (self.errors + STABILISER)
    return alpha, np.maximum(beta, tiny)

  def within(self, n: int) -> 'Moments':
    """What they can be with n examples."""
    return Moments(
      np.clip(self.gamma, 0, n),
      np.maximum(self.weights, np.finfo(float).tiny),
      np.maximum(self.errors, 0),
    )

  def put(self, where: tuple, others: 'Moments') -> None:
    """Replaces some by others."""
    self.gamma[where] = others.gamma
    self.weights[where] = others.weights
    self.errors[where] = others.errors

  def where(self, done: np.ndarray, old: 'Moments | None') -> 'Moments':
    """These, but the old ones where the fixed point was reached."""
    if old is None:
      return self
    return Moments(
      np.where(done, old.gamma, self.gamma),
      np.where(done, old.weights, self.weights),
      np.where(done, old.errors, self.errors),
    )


@dataclasses.dataclass(frozen=True)
class _Removal:
  """What of an example tells how moments change without it; all alike.

  With s the eigenvalues and u its row of U, of p = t / (s + t) and q = 1 − p.

  Attributes:
    left: 1 − its own weight in its prediction.
    second: Σ u² q p, t times its own weight of what is damped twice.
    residuals: of its prediction.
    pulls: Σ u x q p, t times its prediction, damped twice.
  """

  left: np.ndarray
  second: np.ndarray
  residuals: np.ndarray
  pulls: np.ndarray

  def apply(self, moments: Moments, t: np.ndarray) -> Moments:
    """The moments without it, at the same α/β."""
    left = np.maximum(self.left, _LEAST_LEFT)
    scaled = self.residuals / left
    weights = scaled * (scaled * self.second - 2 * self.pulls)
    return Moments(
      gamma=moments.gamma - self.second / left,
      weights=moments.weights + weights / t,
      errors=moments.errors - self.residuals * scaled - weights,
    )


class Regression:
  """Ridge regressions of each class's indicator."""

  def __init__(self, spectrum: float64.Spectrum, one_hot: np.ndarray):
    self.n = len(one_hot)
    self.sigma = spectrum.values[:, None]  # [K, 1]
    self.u = spectrum.left
    self.one_hot = one_hot
    self.labels = np.argmax(one_hot, axis=1)
    self.x = self.u.T @ one_hot  # [K, C]
    self.x2 = self.x**2
    squares = one_hot.sum(axis=0)
    # Of squares of labels, what no direction reaches.
    self.rest = np.maximum(squares - self.x2.sum(axis=0), 0)
    self.nodes, self.shares = condensed.condense(spectrum.values)

  def all(self, t: np.ndarray) -> Moments:
    """Of all examples, at α/β = t [C]."""
    a = 1 / (self.sigma + t)
    return Moments(
      gamma=np.sum(self.sigma * a, axis=0),
      weights=np.sum(self.sigma * self.x2 * a**2, axis=0),
      errors=np.sum(self.x2 * (t * a) ** 2, axis=0) + self.rest,
    )

  def slopes(self, t: np.ndarray) -> Moments:
    """Of the moments of all examples by log t."""
    p = t / (self.sigma + t)
    by_weights = 2 * np.sum(self.x2 * (1 - p) * p**2, axis=0)
    by_gamma = np.sum((1 - p) * p, axis=0)
    return Moments(-by_gamma, -by_weights / t, by_weights)


class Without:
  """The regressions without each of some examples."""

  def __init__(self, regression: Regression, rows: slice):
    self.labels = regression.labels[rows]
    self._all = regression
    u, x = regression.u[rows], regression.x
    # What tells of one example needs no more than f32.
    self._u32 = u.astype(np.float32)
    self._unexplained = regression.one_hot[rows] - u @ x
    places = np.arange(len(u)), self.labels
    own_x = x.T[self.labels]
    # What is summed of an example and its own class.
    by_value = np.stack([u * u, u * own_x, own_x * own_x])
    self._by_node = by_value @ regression.shares
    self._lost = np.maximum(1 - np.sum(by_value[0], axis=1), 0)
    self._own_unexplained = self._unexplained[places]
    self._own_rest = regression.rest[self.labels]
    self._counts = regression.shares.sum(axis=0)

  def log_left(self, t: np.ndarray) -> np.ndarray:
    """[B, C], log (1 − an example's own weight in its prediction), at t [C]."""
    p = t / (self._all.nodes[:, None] + t)
    left = self._lost[:, None] + self._by_node[0] @ p
    return np.log(np.maximum(left, _LEAST_LEFT))

  def at(
    self, t: np.ndarray, moments: Moments, t_without: np.ndarray
  ) -> Moments:
    """The moments [B, C]: exact at t, to first order at its own.

    Args:
      t: [C].
      moments: of all examples, at t.
      t_without: [B, C], α/β without each example.
    """
    sigma, nodes = self._all.sigma, self._all.nodes[:, None]
    p_nodes, p = t / (nodes + t), t / (sigma + t)
    xp = self._all.x * p
    shares = np.concatenate([xp, xp * (1 - p)], axis=1).astype(np.float32)
    explained, pulls = np.split(self._u32 @ shares, 2, axis=1)
    found = _Removal(
      left=self._lost[:, None] + self._by_node[0] @ p_nodes,
      second=self._by_node[0] @ (p_nodes * (1 - p_nodes)),
      residuals=self._unexplained + explained,
      pulls=pulls,
    ).apply(moments, t)
    step, slopes = log_step(t, t_without), self._all.slopes(t)
    return Moments(
      found.gamma + step * slopes.gamma,
      found.weights + step * slopes.weights,
      found.errors + step * slopes.errors,
    ).within(self._all.n - 1)

  def own_at(self, t: np.ndarray, which: np.ndarray) -> Moments:
    """The moments [M] of M of the examples' own classes, exactly at t [M].

    Who is one of a few of its class takes α/β too far with it for first order.
    """
    p = t[:, None] / (self._all.nodes + t[:, None])
    qp = (1 - p) * p
    by_node = self._by_node[:, which]
    left, residuals, errors = np.einsum('ibm,bm->ib', by_node, p)
    second, pulls, weights = np.einsum('ibm,bm->ib', by_node, qp)
    found = _Removal(
      left=self._lost[which] + left,
      second=second,
      residuals=self._own_unexplained[which] + residuals,
      pulls=pulls,
    ).apply(
      Moments(
        gamma=(1 - p) @ self._counts,
        weights=weights / t,
        errors=errors - weights + self._own_rest[which],
      ),
      t,
    )
    return found.within(self._all.n - 1)

  def own_log_dets(self, t: np.ndarray) -> np.ndarray:
    """[B], log det (XᵀX + t) of the directions that are seen."""
    total = self._all.nodes + t[:, None]
    left = self._lost + np.sum(self._by_node[0] * (t[:, None] / total), axis=1)
    # By the determinant lemma, without another determinant.
    left = np.maximum(left, _LEAST_LEFT)
    return np.log(left) + np.log(total) @ self._counts
