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

  def where(self, done: np.ndarray, old: '_Moments | None') -> '_Moments':
    """These, but the old ones where the fixed point was reached."""
    if old is None:
      return self
    return _Moments(
      np.where(done, old.gamma, self.gamma),
      np.where(done, old.weights, self.weights),
      np.where(done, old.errors, self.errors),
    )


class _Regression:
  """Ridge regressions of each class's indicator, with each example left out."""

  def __init__(self, spectrum: float64.Spectrum, one_hot: np.ndarray):
    self.n = len(one_hot)
    self.sigma = spectrum.values[:, None]  # [K, 1]
    self.u = spectrum.left
    self.one_hot = one_hot
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

  def leverage(self, rows: slice, t: np.ndarray) -> np.ndarray:
    """[B, C], the own weight of some examples in their predictions."""
    return self.u[rows] ** 2 @ (self.sigma / (self.sigma + t))

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
    residuals = self.one_hot[rows] - u @ (s * self.x * a)
    pulls = u @ (s * self.x * a**2)
    left = np.maximum(1 - own, _LEAST_LEFT)
    scaled = residuals / left
    weights = scaled**2 * second - 2 * scaled * pulls
    errors = -residuals * scaled - t * weights
    gamma = -t * second / left
    # Slopes by log t.
    step = np.clip(np.log(t_without / t), -_FARTHEST, _FARTHEST)
    gamma = gamma - step * t * np.sum(s * a**2, axis=0)
    weights = weights - step * t * 2 * np.sum(s * self.x2 * a**3, axis=0)
    errors = errors + step * t**2 * 2 * np.sum(s * self.x2 * a**3, axis=0)
    smallest = np.finfo(float).tiny
    return _Moments(
      gamma=np.clip(moments.gamma + gamma, 0, self.n - 1),
      weights=np.maximum(moments.weights + weights, smallest),
      errors=np.maximum(moments.errors + errors, 0),
    )


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
    others = None
    alphas = betas = np.ones((rows.stop - rows.start, num_classes))
    for t_then, new, done_then in steps:
      fitted = regression.without(rows, t_then, new, alphas / betas)
      others = fitted.where(done_then, others)
      alphas, betas = others.fit(n - 1)
    step = np.clip(np.log(alphas / betas / t), -_FARTHEST, _FARTHEST)
    left = np.maximum(1 - regression.leverage(rows, t), _LEAST_LEFT)
    # log det of what is inverted for m: by the determinant lemma, without one.
    log_dets = counted * np.log(betas) + precision + slope * step + np.log(left)
    return _evidence(n - 1, dims, alphas, betas, others, log_dets)

  # Each block has some dozens of arrays with a column for each class.
  blocks = float64.row_blocks(n, max(len(sigma), _ARRAYS * num_classes))
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
