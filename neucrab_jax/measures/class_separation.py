# SPDX-License-Identifier: Apache-2.0
"""Class separation: how far classes are apart for how wide they are.

Axes: N examples, D features, C classes, R weightings.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from neucrab_jax.measures import measure
from neucrab_jax.ops import float64
from neucrab_jax.typing import Array


@jax.jit
def _separation(x, one_hot, example_weights):
  norms = jnp.linalg.norm(x, axis=1, keepdims=True)
  units = x / jnp.where(norms > 0, norms, 1)

  def separation(weights):
    weighted = one_hot * weights[:, None]
    means = weighted.T @ units / weighted.sum(axis=0)[:, None]
    # 1 − cosine, averaged over all pairs of a class, is 1 − ‖mean of units‖².
    within = 1 - jnp.mean(jnp.sum(means**2, axis=1))
    total = 1 - jnp.sum(jnp.mean(means, axis=0) ** 2)
    distinct = total > jnp.finfo(x.dtype).eps
    return jnp.where(distinct, 1 - within / jnp.where(distinct, total, 1), 0)

  return jax.lax.map(separation, example_weights)


def class_separation(
  *,
  features: Float[Array, 'N D'],
  labels: Int[Array, 'N'],
  example_weights: Float[Array, 'R N'],
) -> Float[Array, 'R']:
  """One minus the ratio of distances within classes to those overall.

      d(x, x') = 1 − cos(x, x')
      within   = mean over classes c of the mean of d(x_i, x_j), i and j in c
      total    = mean over pairs of classes of the mean of d(x_i, x_j), one each
      R²       = 1 − within / total

  Pairs of an example with itself count. Where all features are the same, 0.

  Args:
    features: [N, D].
    labels: [N], integers from 0 to C − 1.
    example_weights: [R, N].

  Returns:
    [R], at most 1.

  Reference:
    Kornblith et al., "Why Do Better Loss Functions Lead to Less Transferable
    Features?", NeurIPS 2021, section 3.3.
  """
  with float64.precision():
    return _separation(
      float64.compact(features), float64.one_hot(labels), example_weights
    )


MEASURE = measure.Measure(
  class_separation,
  variant='cosine distances, classes weigh alike',
)
