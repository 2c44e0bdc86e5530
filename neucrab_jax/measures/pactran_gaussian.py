# SPDX-License-Identifier: Apache-2.0
"""PACTran-Gaussian: a PAC-Bayesian bound on a linear classifier.

Axes: N examples, D features, C classes, R weightings.
"""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Float, Int

from neucrab_jax.measures import measure
from neucrab_jax.ops import float64
from neucrab_jax.ops import linear as linear_ops
from neucrab_jax.typing import Array

# Of the authors' code.
_EPSILON = 1e-10
# The gradient's largest entry: an error of its square in the bound.
_GRADIENT_TOLERANCE = 1e-6


@jax.jit
def _bounds(
  x, classifier, labels, example_weights, num_dims, prior_variance,
  posterior_variance,
):  # fmt: skip
  n = len(x)
  num_classes = classifier.kernel.shape[1]
  num_weights = num_dims * num_classes
  scale = prior_variance * n  # of the prior, times the temperature N
  logits = linear_ops.logits(classifier, x)
  losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
  p = jax.nn.softmax(logits, axis=1)
  # Of each example, the trace of the Hessian over kernel and bias.
  curvatures = (1 + jnp.sum(x**2, axis=1)) * jnp.sum(p * (1 - p), axis=1)
  penalty = 0.5 * jnp.sum(classifier.kernel**2) / scale

  def bound(weights):
    trace = weights @ curvatures + num_weights / scale
    precision = trace * scale / num_weights + _EPSILON
    flatness = (
      0.5 * num_classes * posterior_variance / scale * jnp.log(precision)
    )
    return -(weights @ losses / n + penalty + flatness)

  return jax.vmap(bound)(example_weights)


def pactran_gaussian(
  *,
  features: Float[Array, 'N D'],
  labels: Int[Array, 'N'],
  example_weights: Float[Array, 'R N'],
  prior_variance: float = 1.0,
  posterior_variance: float = 1.0,
  max_iterations: int = 500,
) -> measure.Score:
  """Minus a bound on the loss of a linear classifier near its optimum.

      L(θ)    = 1/N Σ_i CE(x_i W + b, y_i) + ‖W‖² / (2 λ N)
      PACTran = −L(θ*) − C s / (2 λ N) · log(λ N tr(H) / (D C))

  with λ the variance of the prior, s/D that of the posterior, and tr(H) the sum
  over examples of the second derivatives of the loss, and 1/(λ N) for each
  entry of W. The authors try λ of 10, 1 and 0.1, and s of 10, 1 and 0.1. On
  resampled examples θ* stays: at the optimum its change does not count to first
  order.

  Args:
    features: [N, D]; their scale counts.
    labels: [N], integers from 0 to C − 1.
    example_weights: [R, N].
    prior_variance: λ.
    posterior_variance: s.
    max_iterations: of L-BFGS.

  Returns:
    [R], in nats.

  Reference:
    Ding et al., "PACTran: PAC-Bayesian Metrics for Estimating the
    Transferability of Pretrained Models to Classification Tasks", ECCV 2022,
    section 4.3.
  """
  n, num_classes = len(labels), int(labels.max()) + 1
  with float64.precision():
    x = jnp.asarray(float64.compact(features))
    classifier = linear_ops.fit(
      x,
      labels,
      num_classes=num_classes,
      l2=1 / (prior_variance * n),
      max_iterations=max_iterations,
      tolerance=_GRADIENT_TOLERANCE,
    )
    bounds = _bounds(
      x,
      classifier,
      labels,
      example_weights,
      features.shape[1],
      prior_variance,
      posterior_variance,
    )
  warnings = ()
  if not classifier.converged:
    warnings = (
      f'L-BFGS stopped at {max_iterations} iterations without converging.',
    )
  return measure.Score(bounds, warnings=warnings)


MEASURE = measure.Measure(
  pactran_gaussian,
  variant="authors' code, its sign turned",
  limits={
    'prior_variance': (1e-6, None),
    'posterior_variance': (0.0, None),
    'max_iterations': (1, None),
  },
)
