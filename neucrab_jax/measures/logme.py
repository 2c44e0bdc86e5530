# SPDX-License-Identifier: Apache-2.0
"""LogME: evidence of a Bayesian linear regression onto one-hot labels.

Axes: N examples, D features, K = min(N, D), C classes.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int

from neucrab_jax.measures import measure
from neucrab_jax.ops import evidence, float64
from neucrab_jax.typing import Array

_VARIANTS = {
  'jmlr': "authors' code of the fixed point, in which directions without "
  'variance count: it grows with D where D > N',
  'exact': 'the evidence itself at that fixed point',
}


# Of the authors' code: iterations, and the change of α/β at which to stop.
_MAX_ITERATIONS = 11
_TOLERANCE = 1e-3
# Of ‖m‖², so many times the stabiliser: it counts no more than a percent.
_STABILISED = 100

# The steps start at α = β = 1: features of another unit may be too far from it.
_USUAL_STD = (1 / 16, 16)

# Arrays of examples by classes that are there at once.
_ARRAYS = 16


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
  regression: evidence.Regression, *, counted: int, dims: int
) -> tuple[np.ndarray, Callable[[], np.ndarray], bool]:
  """The evidence of each class.

  Args:
    regression: of the features.
    counted: directions that are in the precision.
    dims: D of the evidence.

  Returns:
    The evidences [C], what computes the means of those without each example
    [N], and whether all are of a fixed point that the stabiliser leaves alone.
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
    others, each = None, evidence.Without(regression, rows)
    own = np.arange(len(each.labels)), each.labels
    alphas = betas = np.ones((len(each.labels), num_classes))
    for t_then, new, done_then in steps:
      t_without = alphas / betas
      fitted = each.at(t_then, new, t_without)
      moving = np.flatnonzero(~done_then[each.labels])
      where = moving, each.labels[moving]
      fitted.put(where, each.own_at(t_without[where], moving))
      others = fitted.where(done_then, others)
      alphas, betas = others.fit(n - 1)
    assert others is not None
    t_without = alphas / betas
    # log det of what is inverted for m: by the determinant lemma, without one.
    log_dets = precision + each.log_left(t)
    log_dets += slope * evidence.log_step(t, t_without)
    log_dets[own] = each.own_log_dets(t_without[own])
    log_dets[own] += unseen * np.log(t_without[own])
    log_dets += counted * np.log(betas)
    return _evidence(n - 1, dims, alphas, betas, others, log_dets)

  def without_each():
    width = max(4 * len(sigma), _ARRAYS * num_classes)
    blocks = float64.row_blocks(n, width)
    return np.concatenate([without(rows).mean(axis=1) for rows in blocks])

  log_det = counted * np.log(beta) + precision
  return (
    _evidence(n, dims, alpha, beta, moments, log_det),
    without_each,
    bool(
      done.all() and moments.weights.min() > _STABILISED * evidence.STABILISER
    ),
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
  evidences, without_each, is_reached = _evidences(
    evidence.Regression(spectrum, float64.one_hot(labels)),
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
    influence=lambda: (n - 1) * score - without_each(),
    warnings=told,
  )


MEASURE = measure.Measure(
  logme,
  variant=_VARIANTS,
  limits={'variant': tuple(_VARIANTS)},
)
