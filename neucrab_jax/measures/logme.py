# SPDX-License-Identifier: Apache-2.0
"""LogME: evidence of a Bayesian linear regression onto one-hot labels.

Axes: N examples, D features, K = min(N, D), C classes, R weightings.
"""

import functools

import jax
import jax.numpy as jnp
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

# With up to so many dimensions per example, resamples are scored to first order
# in their weights, without another fit. With D near N the labels are
# interpolated, the fixed point is none, and only another fit tells how the
# score varies.
_FIRST_ORDER_WIDTH = 0.5


def _fixed_point(sigma, x2, residual, n):
  """α, β, ‖m‖² and the squared error of each class, [C] each.

  Args:
    sigma: [K], squared singular values, zero where there is none.
    x2: [K, C], squares of the labels' coordinates on the left vectors.
    residual: [C], squares of what no left vector reaches.
    n: N.
  """
  sigma = sigma[:, None]

  def step(_, state):
    (alpha, beta, *_), done = state
    t = alpha / beta
    gamma = jnp.sum(sigma / (sigma + t), axis=0)
    m2 = jnp.sum(sigma * x2 / (t + sigma) ** 2, axis=0)
    error = jnp.sum(x2 / (1 + sigma / t) ** 2, axis=0) + residual
    tiny = jnp.finfo(sigma.dtype).tiny
    new_alpha = jnp.maximum(gamma / (m2 + _STABILISER), tiny)
    new_beta = jnp.maximum((n - gamma) / (error + _STABILISER), tiny)
    found = [
      jnp.where(done, old, new)
      for old, new in zip(
        state[0], (new_alpha, new_beta, m2, error), strict=True
      )
    ]
    change = jnp.abs(new_alpha / new_beta - t) / t
    return tuple(found), done | (change <= _TOLERANCE)

  ones = jnp.ones_like(residual)
  start = (ones, ones, 0 * ones, 0 * ones), jnp.zeros(ones.shape, bool)
  return jax.lax.fori_loop(0, _MAX_ITERATIONS, step, start)[0]


def _fit(f, one_hot, num_dims, variant):
  """The evidence of each class's indicator, [C], and what it says of examples.

  Returns:
    [C], and the derivatives of the mean of them by the examples' weights, [N].
  """
  n, width = f.shape
  sigma, vectors = jnp.linalg.eigh(f.T @ f)
  kept = sigma > float64.rank_tolerance(sigma, max(n, width))
  sigma = jnp.where(kept, sigma, 0)
  inverse = jnp.where(kept, 1 / jnp.sqrt(jnp.where(kept, sigma, 1)), 0)
  # Uᵀ y, without the left singular vectors U themselves.
  x = inverse[:, None] * (vectors.T @ (f.T @ one_hot))
  squares = jnp.sum(one_hot**2, axis=0)
  residual = jnp.maximum(squares - jnp.sum(x**2, axis=0), 0)
  alpha, beta, m2, error = _fixed_point(sigma, x**2, residual, n)
  # Where D >= N the authors truncate no direction.
  counted = kept if width < n else jnp.ones_like(kept)
  precision = jnp.log(alpha + beta * sigma[:, None])
  precision = jnp.sum(jnp.where(counted[:, None], precision, 0), axis=0)
  dims = num_dims if variant == 'jmlr' else counted.sum()
  evidence = 0.5 * (
    dims * jnp.log(alpha)
    + n * jnp.log(beta)
    - precision
    - beta * error
    - alpha * m2
    - n * jnp.log(2 * jnp.pi)
  )
  # α, β and m are at their optimum: their changes do not count.
  u = (f @ vectors) * inverse
  shrink = sigma[:, None] / (sigma[:, None] + alpha / beta)
  errors = one_hot - u @ (x * shrink)
  by_example = 0.5 * (
    jnp.log(beta) - u**2 @ shrink - beta * errors**2 - jnp.log(2 * jnp.pi)
  )
  return jnp.mean(evidence) / n, jnp.mean(by_example, axis=1) / n


@functools.partial(jax.jit, static_argnames='variant')
def _scores(f, one_hot, example_weights, num_dims, *, variant):
  n, width = f.shape
  if width <= _FIRST_ORDER_WIDTH * n:
    score, slopes = _fit(f, one_hot, num_dims, variant)
    if len(example_weights) == 1:
      return score[None]  # and what is not asked for is not computed
    return score + (example_weights - 1) @ slopes

  def score_of(weights):
    root = jnp.sqrt(weights)[:, None]
    return _fit(root * f, root * one_hot, num_dims, variant)[0]

  return jax.lax.map(score_of, example_weights)


def logme(
  *,
  features: Float[Array, 'N D'],
  labels: Int[Array, 'N'],
  example_weights: Float[Array, 'R N'],
  variant: str = 'jmlr',
) -> Float[Array, 'R']:
  """Log-evidence of a linear model of each class's indicator, per example.

      p(y | F) = ∫ N(y; F w, β⁻¹ I) N(w; 0, α⁻¹ I) dw
      LogME    = 1/C Σ_c max_{α,β} 1/N log p(y_c | F)

  The maximum by at most 11 steps of MacKay's fixed point, as the authors do.
  With D <= N/2, resampled examples are scored to first order in their weights.

  Args:
    features: [N, D]; an offset counts, as there is no intercept.
    labels: [N], integers from 0 to C − 1.
    example_weights: [R, N], the first all ones.
    variant: 'jmlr', or 'exact' to leave out directions without variance.

  Returns:
    [R], in nats.

  Reference:
    You et al., "Ranking and Tuning Pre-trained Models: A New Paradigm for
    Exploiting Model Hubs", JMLR 2022, algorithm 3.
  """
  with float64.precision():
    return _scores(
      float64.compact(features),
      float64.one_hot(labels),
      example_weights,
      features.shape[1],
      variant=variant,
    )


MEASURE = measure.Measure(
  logme,
  variant=_VARIANTS,
  limits={'variant': tuple(_VARIANTS)},
)
