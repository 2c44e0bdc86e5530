# SPDX-License-Identifier: Apache-2.0
"""PACTran-Gaussian: a PAC-Bayesian bound on a linear classifier.

Axes: N examples, D features, C classes.
"""

import numpy as np
from jaxtyping import Float, Int
from scipy import special

from neucrab_jax.measures import measure
from neucrab_jax.ops import float64, linear, newton
from neucrab_jax.typing import Array

_EPSILON = 1e-10
_GRADIENT_TOLERANCE = 1e-6


def pactran_gaussian(
  *,
  features: Float[Array, 'N D'],
  labels: Int[Array, 'N'],
  prior_variance: float = 1.0,
  posterior_variance: float = 1.0,
  max_iterations: int = 100,
) -> measure.Score:
  """Minus a bound on the loss of a linear classifier near its optimum.

      L(θ)    = 1/N Σ_i CE(x_i W + b, y_i) + ‖W‖² / (2 λ N)
      PACTran = −L(θ*) − C s / (2 λ N) · log(λ N tr(H) / (D C))

  with λ the variance of the prior, s/D that of the posterior, and tr(H) the sum
  over examples of the second derivatives of the loss, and 1/(λ N) for each
  entry of W. The authors try λ of 10, 1 and 0.1, and s of 10, 1 and 0.1.

  Args:
    features: [N, D]; their scale counts.
    labels: [N], integers from 0 to C − 1.
    prior_variance: λ.
    posterior_variance: s.
    max_iterations: Newton's, each of many products with the Hessian.

  Returns:
    A number in nats.

  Reference:
    Ding et al., "PACTran: PAC-Bayesian Metrics for Estimating the
    Transferability of Pretrained Models to Classification Tasks", ECCV 2022,
    section 4.3.
  """
  labels = np.asarray(labels)
  n, num_classes = len(labels), int(labels.max()) + 1
  scale = prior_variance * n  # of the prior, times the temperature N
  given = np.asarray(features)
  # On their principal axes the same penalty is as large, and an offset is the
  # bias's.
  x, _ = float64.coordinates(given)
  classifier = newton.fit(
    x,
    labels,
    num_classes=num_classes,
    l2=1 / scale,
    max_iterations=max_iterations,
    tolerance=_GRADIENT_TOLERANCE,
  )
  losses, curvatures = np.empty(n), np.empty(n)
  for rows in float64.row_blocks(*given.shape):
    own = np.arange(len(labels[rows])), labels[rows]
    logs = special.log_softmax(linear.logits(classifier, x[rows]), axis=1)
    losses[rows] = -logs[own]
    # Of each example, the trace of the Hessian over kernel and bias.
    norms = np.sum(float64.as_given(given[rows]) ** 2, axis=1)
    p = np.exp(logs)
    curvatures[rows] = (1 + norms) * np.sum(p * (1 - p), axis=1)
  num_weights = features.shape[1] * num_classes
  penalty = 0.5 * np.sum(np.square(classifier.kernel)) / scale
  precision = (curvatures.sum() + num_weights / scale) * scale / num_weights
  precision += _EPSILON
  flat = 0.5 * num_classes * posterior_variance / scale
  warnings = ()
  if not classifier.converged:
    warnings = (
      f"Newton's method stopped at {max_iterations} iterations without "
      'converging.',
    )
  return measure.Score(
    -(losses.mean() + penalty + flat * np.log(precision)),
    # At the optimum the change of θ* does not count.
    influence=-losses - n * flat * curvatures * scale / num_weights / precision,
    warnings=warnings,
  )


MEASURE = measure.Measure(
  pactran_gaussian,
  variant="authors' code, its sign turned",
  limits={
    'prior_variance': (1e-6, None),
    'posterior_variance': (0.0, None),
    'max_iterations': (1, None),
  },
)
