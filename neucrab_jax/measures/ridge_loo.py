# SPDX-License-Identifier: Apache-2.0
"""Ridge regression onto the labels, judged on each example left out in turn.

Axes: N examples, D features, K = min(N, D), C classes, L strengths, R
weightings.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from neucrab_jax.measures import measure
from neucrab_jax.ops import float64
from neucrab_jax.typing import Array

_VARIANTS = {
  'accuracy': 'share of examples whose class has the largest prediction',
  'log_loss': 'log-probability of the class, errors taken for Gaussian',
}


# Strengths, as shares of the sum of all eigenvalues, two to a factor of ten:
# from hardly any shrinkage of the largest to hardly anything but the mean.
_STRENGTHS = np.logspace(-6, 0, 13)

# An example whose own weight in its prediction is this near one says nothing of
# what it would be without it.
_LEAST_LEFT = 1e-9


@functools.partial(jax.jit, static_argnames='variant')
def _left_out(x, one_hot, *, variant):
  """What the score is the mean of, at each strength, [L, N]."""
  n, d = x.shape
  values, vectors = jnp.linalg.eigh(x.T @ x)
  kept = values > float64.rank_tolerance(values, max(n, d))
  values = jnp.where(kept, values, 0)
  u = (x @ vectors) * jnp.where(
    kept, 1 / jnp.sqrt(jnp.where(kept, values, 1)), 0
  )
  total = values.sum()
  total = jnp.where(total > 0, total, 1)
  coordinates = u.T @ one_hot
  mean = one_hot.mean(axis=0)

  def judge(strength):
    shrink = values / (values + strength * total)
    fitted = mean + u @ (shrink[:, None] * coordinates)
    # The intercept is refitted too: its share of the hat matrix is 1/N.
    leverage = 1 / n + u**2 @ shrink
    left = jnp.maximum(1 - leverage, _LEAST_LEFT)[:, None]
    errors = (one_hot - fitted) / left
    predictions = one_hot - errors
    if variant == 'accuracy':
      right = jnp.argmax(predictions, axis=1) == jnp.argmax(one_hot, axis=1)
      return right.astype(x.dtype)
    # Spherical Gaussian errors make a softmax of distances to the one-hots.
    variance = jnp.maximum(jnp.mean(errors**2), jnp.finfo(x.dtype).eps)
    logs = jax.nn.log_softmax(predictions / variance, axis=1)
    return jnp.sum(logs * one_hot, axis=1)

  return jax.lax.map(judge, jnp.asarray(_STRENGTHS))


def ridge_loo(
  *,
  features: Float[Array, 'N D'],
  labels: Int[Array, 'N'],
  example_weights: Float[Array, 'R N'],
  variant: str = 'accuracy',
) -> measure.Score:
  """Exact leave-one-out score of ridge regression onto one-hot labels.

      H    = 11ᵀ/N + F (FᵀF + λ I)⁻¹ Fᵀ,  F standardised
      ŷ_−i = y_i − (y_i − (H Y)_i) / (1 − H_ii)

  One eigendecomposition serves every example and every λ; the λ of the best
  score is taken, the largest of equals. For 'log_loss' the probabilities are
  softmax(ŷ_−i / σ²), with σ² the mean squared error of the ŷ_−i: the posterior
  of a class under Gaussian errors. Mean and scale of the features, and λ, are
  those of all examples.

  Args:
    features: [N, D].
    labels: [N], integers from 0 to C − 1.
    example_weights: [R, N]; the regressions are those of all.
    variant: 'accuracy' or 'log_loss'.

  Returns:
    [R] means, in [0, 1] or, for 'log_loss', in nats and at most 0, and the
    standard error over examples.

  Reference:
    Golub, Heath and Wahba, "Generalized Cross-Validation as a Method for
    Choosing a Good Ridge Parameter", Technometrics 1979.
  """
  x = float64.centre(features)
  std = x.std(axis=0)
  x /= np.where(std > 0, std, 1)
  with float64.precision():
    values = np.asarray(
      _left_out(float64.compact(x), float64.one_hot(labels), variant=variant)
    )
  scores = values.mean(axis=1)
  best = np.flatnonzero(scores == scores.max())[-1]
  return measure.mean_over_examples(values[best], example_weights)


MEASURE = measure.Measure(
  ridge_loo,
  variant=_VARIANTS,
  spread='standard error over examples',
  limits={'variant': tuple(_VARIANTS)},
)
