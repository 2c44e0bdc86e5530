# SPDX-License-Identifier: Apache-2.0
"""LogME: evidence of a Bayesian linear regression onto one-hot labels.

Axes: N examples, D features, K = min(N, D), C classes.
"""

import dataclasses

import numpy as np
from jaxtyping import Float, Int

from neucrab_jax.measures import measure
from neucrab_jax.ops import float64
from neucrab_jax.typing import Array

_VARIANTS = {
  'jmlr': "authors' code of the fixed point, in which directions without "
  'variance count: it grows with D where D > N',
  'exact': 'the evidence itself at that fixed point',
}


# Of the authors' code: iterations, the change of α/β at which to stop, and what
# keeps its denominators from zero.
_MAX_ITERATIONS = 11
_TOLERANCE = 1e-3
_STABILISER = 1e-5
_STABILISED = 100  # So many times of it count no more than a percent.

# The steps start at α = β = 1: features of another unit may be too far from it.
_USUAL_STD = (1 / 16, 16)

# How far α/β may be from that of all examples once one is left out, as a
# logarithm, where it is followed to first order.
_FARTHEST = 0.3
# An example whose own weight in its prediction is this near one says nothing of
# what it would be without it.
_LEAST_LEFT = 1e-12

# Arrays of examples by classes that are there at once.
_ARRAYS = 16


@dataclasses.dataclass(frozen=True)
class _Moments:
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
    alpha = np.maximum(self.gamma / (self.weights + _STABILISER), tiny)
    beta = (n - self.gamma) / (self.errors + _STABILISER)
    return alpha, np.maximum(beta, tiny)

  def within(self, n: int) -> '_Moments':
    """What they can be with n examples."""
    return _Moments(
      np.clip(self.gamma, 0, n),
      np.maximum(self.weights, np.finfo(float).tiny),
      np.maximum(self.errors, 0),
    )

  def put(self, where: tuple, others: '_Moments') -> None:
    """Replaces some by others."""
    self.gamma[where] = others.gamma
    self.weights[where] = others.weights
    self.errors[where] = others.errors

  def where(self, done: np.ndarray, old: '_Moments | None') -> '_Moments':
    """These, but the old ones where the fixed point was reached."""
    if old is None:
      return self
    return _Moments(
      np.where(done, old.gamma, self.gamma),
      np.where(done, old.weights, self.weights),
      np.where(done, old.errors, self.errors),
    )


@dataclasses.dataclass(frozen=True)
class _Removal:
  """What of an example tells how moments change without it; all alike.

  Attributes:
    left: 1 − its own weight in its prediction.
    second: its own weight, of what is damped twice.
    residuals: of its prediction.
    pulls: its prediction, damped twice.
  """

  left: np.ndarray
  second: np.ndarray
  residuals: np.ndarray
  pulls: np.ndarray

  def apply(self, moments: _Moments, t: np.ndarray) -> _Moments:
    """The moments without it, at the same α/β."""
    scaled = self.residuals / self.left
    weights = scaled**2 * self.second - 2 * scaled * self.pulls
    return _Moments(
      gamma=moments.gamma - t * self.second / self.left,
      weights=moments.weights + weights,
      errors=moments.errors - self.residuals * scaled - t * weights,
    )


class _Regression:
  """Ridge regressions of each class's indicator, with each example left out."""

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

  def all(self, t: np.ndarray) -> _Moments:
    """Of all examples, at α/β = t [C]."""
    a = 1 / (self.sigma + t)
    return _Moments(
      gamma=np.sum(self.sigma * a, axis=0),
      weights=np.sum(self.sigma * self.x2 * a**2, axis=0),
      errors=np.sum(self.x2 * (t * a) ** 2, axis=0) + self.rest,
    )

  def without(
    self, rows: slice, t: np.ndarray, moments: _Moments, t_without: np.ndarray
  ) -> _Moments:
    """Without each of some examples: exact at t, to first order at its own.

    Args:
      rows: B of the examples.
      t: [C].
      moments: of all examples, at t.
      t_without: [B, C], α/β without each example.
    """
    s, a, u = self.sigma, 1 / (self.sigma + t), self.u[rows]
    shares = np.concatenate([s * a**2, s * a], axis=1)
    second, own = np.split(u**2 @ shares, 2, axis=1)
    found = _Removal(
      left=np.maximum(1 - own, _LEAST_LEFT),
      second=second,
      residuals=self.one_hot[rows] - u @ (s * self.x * a),
      pulls=u @ (s * self.x * a**2),
    ).apply(moments, t)
    # Slopes by log t.
    step = np.clip(np.log(t_without / t), -_FARTHEST, _FARTHEST)
    by_gamma = t * np.sum(s * a**2, axis=0)
    by_weights = 2 * t * np.sum(s * self.x2 * a**3, axis=0)
    return _Moments(
      found.gamma - step * by_gamma,
      found.weights - step * by_weights,
      found.errors + step * t * by_weights,
    ).within(self.n - 1)


class _OwnClasses:
  """Regressions of some examples' own classes, without each of them, exactly.

  Who is one of a few of its class takes α/β too far with it for first order.
  """

  def __init__(self, regression: _Regression, rows: slice):
    self.labels = regression.labels[rows]
    self._n = regression.n
    self._sigma = regression.sigma[:, 0]
    self._rest = regression.rest[self.labels]
    u, x = regression.u[rows], regression.x.T[self.labels]
    self._by_weight = {'xx': x * x, 'uu': u * u, 'ux': u * x}

  def _sum(self, name: str, factors: np.ndarray, which: np.ndarray):
    return np.einsum('bk,bk->b', self._by_weight[name][which], factors)

  def at(self, t: np.ndarray, which: np.ndarray) -> _Moments:
    """The moments [M] of M of the examples, at α/β = t [M] without each."""
    a = 1 / (self._sigma + t[:, None])
    sa = self._sigma * a
    saa = sa * a
    weights = self._sum('xx', saa, which)
    errors = t * (self._sum('xx', a, which) - weights) + self._rest[which]
    found = _Removal(
      left=np.maximum(1 - self._sum('uu', sa, which), _LEAST_LEFT),
      second=self._sum('uu', saa, which),
      residuals=1 - self._sum('ux', sa, which),
      pulls=self._sum('ux', saa, which),
    ).apply(_Moments(sa.sum(axis=1), weights, errors), t)
    return found.within(self._n - 1)

  def log_dets(self, t: np.ndarray) -> np.ndarray:
    """[B], log det (XᵀX + t) of the directions that are seen."""
    total = self._sigma + t[:, None]
    own = self._sum('uu', self._sigma / total, np.arange(len(t)))
    # By the determinant lemma, without another determinant.
    left = np.maximum(1 - own, _LEAST_LEFT)
    return np.log(left) + np.sum(np.log(total), axis=1)


def _evidence(n, dims, alpha, beta, moments, log_precision):
  return 0.5 * (
    dims * np.log(alpha)
    + n * np.log(beta)
    - log_precision
    - beta * moments.errors
    - alpha * moments.weights
    - n * np.log(2 * np.pi)
  )


def _evidences(
  regression: _Regression, *, counted: int, dims: int
) -> tuple[np.ndarray, np.ndarray, bool]:
  """The evidence of each class.

  Args:
    regression: of the features.
    counted: directions that are in the precision.
    dims: D of the evidence.

  Returns:
    The evidences [C], the means of those without each example [N], and whether
    all are of a fixed point that the stabiliser leaves alone.
  """
  n, sigma = regression.n, regression.sigma
  num_classes = regression.one_hot.shape[1]
  alpha = beta = t = np.ones(num_classes)
  done = np.zeros(num_classes, bool)
  moments, steps = None, []
  for _ in range(_MAX_ITERATIONS):
    new = regression.all(t)
    steps.append((t, new, done))
    moments = new.where(done, moments)
    alpha, beta = moments.fit(n)
    done = done | (np.abs(alpha / beta - t) / t <= _TOLERANCE)
    if done.all():
      break
    t = np.where(done, t, alpha / beta)
  assert moments is not None
  t, unseen = alpha / beta, counted - len(sigma)
  precision = np.sum(np.log(sigma + t), axis=0) + unseen * np.log(t)
  slope = np.sum(t / (sigma + t), axis=0) + unseen

  def without(rows):
    """[B, C], by the steps of all examples."""
    others, own = None, _OwnClasses(regression, rows)
    places = np.arange(len(own.labels))
    alphas = betas = np.ones((len(places), num_classes))
    for t_then, new, done_then in steps:
      t_without = alphas / betas
      fitted = regression.without(rows, t_then, new, t_without)
      moving = np.flatnonzero(~done_then[own.labels])
      where = moving, own.labels[moving]
      fitted.put(where, own.at(t_without[where], moving))
      others = fitted.where(done_then, others)
      alphas, betas = others.fit(n - 1)
    assert others is not None
    t_without = alphas / betas
    step = np.clip(np.log(t_without / t), -_FARTHEST, _FARTHEST)
    leverage = regression.u[rows] ** 2 @ (sigma / (sigma + t))
    left = np.maximum(1 - leverage, _LEAST_LEFT)
    # log det of what is inverted for m: by the determinant lemma, without one.
    log_dets = precision + slope * step + np.log(left)
    t_own = t_without[places, own.labels]
    log_dets[places, own.labels] = own.log_dets(t_own) + unseen * np.log(t_own)
    log_dets += counted * np.log(betas)
    return _evidence(n - 1, dims, alphas, betas, others, log_dets)

  blocks = float64.row_blocks(n, max(4 * len(sigma), _ARRAYS * num_classes))
  log_det = counted * np.log(beta) + precision
  return (
    _evidence(n, dims, alpha, beta, moments, log_det),
    np.concatenate([without(rows).mean(axis=1) for rows in blocks]),
    bool(done.all() and moments.weights.min() > _STABILISED * _STABILISER),
  )


def logme(
  *,
  features: Float[Array, 'N D'],
  labels: Int[Array, 'N'],
  variant: str = 'jmlr',
) -> measure.Score:
  """Log-evidence of a linear model of each class's indicator, per example.

      p(y | F) = ∫ N(y; F w, β⁻¹ I) N(w; 0, α⁻¹ I) dw
      LogME    = 1/C Σ_c max_{α,β} 1/N log p(y_c | F)

  The maximum by at most 11 steps of MacKay's fixed point, as the authors do.
  These are followed without each example in turn: with D near N the labels are
  interpolated, the fixed point is not reached, and only so is it known how much
  the score owes to an example.

  Args:
    features: [N, D]; an offset counts, as there is no intercept.
    labels: [N], integers from 0 to C − 1.
    variant: 'jmlr', or 'exact' to leave out directions without variance.

  Returns:
    A number in nats.

  Reference:
    You et al., "Ranking and Tuning Pre-trained Models: A New Paradigm for
    Exploiting Model Hubs", JMLR 2022, algorithm 3.
  """
  n, width = features.shape
  spectrum = float64.spectrum(features, float64.as_given)
  rank = len(spectrum.values)
  # Where D >= N the authors truncate no direction.
  counted = rank if width < n else n
  evidences, without, is_reached = _evidences(
    _Regression(spectrum, float64.one_hot(labels)),
    counted=counted,
    dims=width if variant == 'jmlr' else counted,
  )
  score = np.mean(evidences) / n
  told, (low, high) = (), _USUAL_STD
  if not is_reached:
    std = float(np.std(float64.centre(features)))
    if not low <= std <= high:
      told = (
        f'The steps of LogME end before their fixed point: the features, of a '
        f'standard deviation of {std:.3g}, are far from the unit that they '
        "start at. Divide all checkpoints' by their own.",
      )
  return measure.Score(
    score,
    influence=(n - 1) * score - without,
    warnings=told,
  )


MEASURE = measure.Measure(
  logme,
  variant=_VARIANTS,
  limits={'variant': tuple(_VARIANTS)},
)
