# SPDX-License-Identifier: Apache-2.0
"""SFDA: Fisher discriminants on features that challenge themselves.

Axes: N examples, D features, C classes, R weightings.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from neucrab_jax.measures import measure
from neucrab_jax.ops import float64
from neucrab_jax.typing import Array

# Of the authors' code: how fast shrinkage falls with the largest within-class
# variance, its least value, and pairs of steps that find that variance.
_DECAY = 5.0
_SMALLEST_SHRINKAGE = 1e-10
_POWER_STEPS = 3


def _unit(v):
  norm = jnp.linalg.norm(v)
  return v / jnp.where(norm > 0, norm, 1)


@jax.jit
def _shrinkage(x, one_hot, example_weights):
  """From the largest within-class variance in the features as given, [R].

  The authors start from the row sums of the covariance, which a rotation
  changes, and so do the few steps that follow.
  """

  def shrinkage(weights):
    n = weights.sum()
    weighted = (one_hot * weights[:, None]).T
    means = weighted @ x / weighted.sum(axis=1, keepdims=True)

    def times(v):  # S_w v
      projected = x @ v - one_hot @ (means @ v)
      projected *= weights
      return (projected @ x - (projected @ one_hot) @ means) / n

    v = times(jnp.ones(x.shape[1]))
    previous = v
    for _ in range(_POWER_STEPS):
      previous = _unit(times(v))
      v = _unit(times(previous))
    largest = v @ times(previous)
    return jnp.maximum(jnp.exp(-_DECAY * largest), _SMALLEST_SHRINKAGE)

  return jax.lax.map(shrinkage, example_weights)


def _posterior(x, one_hot, weights, shrinkage, num_dims):
  """P(c | x_i) of a linear discriminant analysis, [N, C]."""
  n = weights.sum()
  weighted = (one_hot * weights[:, None]).T
  counts = weighted.sum(axis=1)
  means = weighted @ x / counts[:, None]
  centred = (x - one_hot @ means) * jnp.sqrt(weights / n)[:, None]
  within = centred.T @ centred
  trace = jnp.trace(within)
  # Rounding keeps it invertible where nothing varies within a class.
  ridge = jnp.maximum(
    shrinkage * trace / num_dims, jnp.finfo(x.dtype).eps * trace
  )
  ridge = jnp.where(trace > 0, ridge, 1)
  within = (1 - shrinkage) * within + ridge * jnp.eye(x.shape[1])
  factor = jax.scipy.linalg.cho_factor(within)
  kernel = jax.scipy.linalg.cho_solve(factor, means.T)  # [D, C]
  bias = -0.5 * jnp.sum(means.T * kernel, axis=0) + jnp.log(counts / n)
  return jax.nn.softmax(x @ kernel + bias, axis=1)


@jax.jit
def _score(x, one_hot, labels, example_weights, shrinkages, num_dims):
  num_classes = one_hot.shape[1]

  def score(args):
    weights, shrinkage = args
    first = _posterior(x, one_hot, weights, shrinkage, num_dims)
    confidence = jnp.sum(jax.nn.softmax(first, axis=1) * one_hot, axis=1)
    counts = weights @ one_hot
    means = (one_hot * weights[:, None]).T @ x / counts[:, None]
    others = (means.sum(axis=0) - means) / (num_classes - 1)
    share = confidence[:, None]
    challenged = share * x + (1 - share) * others[labels]
    second = _posterior(challenged, one_hot, weights, shrinkage, num_dims)
    return jnp.sum(weights * jnp.sum(second * one_hot, axis=1)) / weights.sum()

  return jax.lax.map(score, (example_weights, shrinkages))


def sfda(
  *,
  features: Float[Array, 'N D'],
  labels: Int[Array, 'N'],
  example_weights: Float[Array, 'R N'],
) -> Float[Array, 'R']:
  """How well discriminants tell classes that were moved towards each other.

      S_w  = (1 − s) S + s tr(S)/D I,  s = max(exp(−5 λ_max(S)), 1e-10)
      p_ic = P(c | x_i) of a linear discriminant analysis with S_w
      q_i  = softmax(p_i)_{y_i}
      x'_i = q_i x_i + (1 − q_i) mean of the other classes' means
      SFDA = 1/N Σ_i P(y_i | x'_i) of another analysis, with the same s

  with S the covariance within classes. It depends on the features' scale.

  Args:
    features: [N, D].
    labels: [N], integers from 0 to C − 1.
    example_weights: [R, N].

  Returns:
    [R], in [0, 1].

  Reference:
    Shao et al., "Not All Models Are Equal: Predicting Model Transferability in
    a Self-challenging Fisher Space", ECCV 2022, section 3.
  """
  with float64.precision():
    one_hot = float64.one_hot(labels)
    # Less an offset, which moves no difference.
    x = float64.centre(features)
    return _score(
      float64.compact(x),
      one_hot,
      np.asarray(labels),
      example_weights,
      _shrinkage(x, one_hot, example_weights),
      features.shape[1],
    )


MEASURE = measure.Measure(
  sfda,
  variant="authors' code: mean probability without a log",
)
