# SPDX-License-Identifier: Apache-2.0
"""NLEEP: LEEP, with a Gaussian mixture in place of the source head.

Axes: N examples, D features, K components, C classes, S seeds.
"""

import jax
import numpy as np

from neucrab_jax.measures import inputs
from neucrab_jax.ops import gmm, pca

VARIANT = 'paper, diagonal covariance'
SPREAD = 'standard deviation over seeds'
LIMITS = {
  'energy': (0.0, 1.0),
  'components_per_class': (1, None),
  'num_seeds': (3, None),
  'max_iterations': (1, None),
  'tolerance': (0.0, None),
}

# So close to 0, the largest possible score, ties decide the order.
_SATURATED = -1e-3


def nleep(
  *,
  features: jax.Array,
  labels: jax.Array,
  key: jax.Array,
  energy: float = 0.8,
  components_per_class: int = 5,
  num_seeds: int = 5,
  max_iterations: int = 100,
  tolerance: float = 1e-3,
) -> inputs.Score:
  """How well clusters of the features predict the labels.

      s_i      = PCA(f_i)
      r_iv     = P(v | s_i), of a Gaussian mixture fitted to the s_i
      P(y | v) = Σ_{i: y_i = y} r_iv / Σ_i r_iv
      NLEEP    = 1/N Σ_i log Σ_v P(y_i | v) r_iv

  The paper does not say which covariance; ours is diagonal. With more
  components than examples, there are as many as examples.

  Args:
    features: [N, D].
    labels: [N], integers from 0 to C − 1.
    key: of the mixtures' initialisations.
    energy: the share of the variance that PCA keeps, in (0, 1].
    components_per_class: K / C.
    num_seeds: S, how many mixtures to average over.
    max_iterations: of EM.
    tolerance: gain in mean log-likelihood, nats, at which EM stops.

  Returns:
    The mean over seeds, in nats and at most 0, and the standard deviation over
    seeds.

  Reference:
    Li et al., "Ranking Neural Checkpoints", CVPR 2021, section 3.2.
  """
  n, num_classes = len(labels), int(np.max(labels)) + 1
  num_components = num_classes * components_per_class
  if num_components > n:
    inputs.warn(
      f'{num_components} components for {n} examples: reduced to {n}.'
    )
    num_components = n
  z = pca.transform(pca.fit(features, energy=energy), features)
  mixtures = gmm.fit_many(
    jax.random.split(key, num_seeds),
    z,
    num_components=num_components,
    max_iterations=max_iterations,
    tolerance=tolerance,
  )
  scores = np.asarray(
    gmm.leep(mixtures, z, labels, num_classes=num_classes), np.float64
  )
  unfinished = num_seeds - int(np.sum(mixtures.converged))
  if unfinished:
    inputs.warn(
      f'EM stopped at {max_iterations} iterations without converging for '
      f'{unfinished} of {num_seeds} seeds.'
    )
  if scores.mean() > _SATURATED:
    inputs.warn(
      'NLEEP is saturated: every component is of one class, so checkpoints '
      f'this good cannot be told apart ({n / num_components:.1f} examples per '
      'component; use more examples or fewer components per class).'
    )
  return inputs.Score(scores.mean(), scores.std(ddof=1))
