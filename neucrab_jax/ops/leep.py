# SPDX-License-Identifier: Apache-2.0
"""LEEP on the posteriors of a Gaussian mixture: what its components predict.

Axes: N examples, D features, K components, C classes, S seeds.

Reference:
  Li et al., Ranking Neural Checkpoints, CVPR 2021, section 3.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int, Real

from neucrab_jax.ops import blocks, gmm, posteriors, standardise
from neucrab_jax.typing import Array


def _standardised(mixture: gmm.GMM, affine: standardise.Affine) -> gmm.GMM:
  """The mixture of examples that are placed; on the host, to compile less."""
  d = mixture.means.shape[-1]
  return dataclasses.replace(
    mixture,
    means=(np.asarray(mixture.means) - affine.centre[:d]) / affine.scale,
    # Twice, as the square of a float may be none.
    variances=np.asarray(mixture.variances) / affine.scale / affine.scale,
  )


def predictions(
  mixture: gmm.GMM,
  z: Float[Array, 'N D'] | standardise.Placed,
  labels: Int[Array, 'N'],
  *,
  num_classes: int,
  example_weights: Real[Array, '... N'] | None = None,
) -> Float[Array, '*S N']:
  """The probability that the mixture gives each example's own class.

      P(y | v) = Σ_{n: y_n = y} r_nv / Σ_n r_nv
      p_n      = Σ_v P(y_n | v) r_nv

  >>> z = np.array([[0.0], [1.0], [9.0], [10.0]])
  >>> labels = np.array([0, 0, 1, 1])
  >>> mixture = gmm.fit(jax.random.key(0), z, num_components=2)
  >>> predictions(mixture, z, labels, num_classes=2).round(3).tolist()
  [1.0, 1.0, 1.0, 1.0]

  Args:
    mixture: a single one, or S of them from `gmm.fit_many`.
    z: [N, D], the examples, or what `em.place` made of them.
    labels: [N], integers from 0 to C − 1.
    num_classes: C.
    example_weights: [N] or [S, N], how often an example counts in P(y | v); all
      one if not given.

  Returns:
    [N] or [S, N], in [0, 1]. N×K posteriors are never held.

  Reference:
    Li et al., section 3.2; Nguyen et al., LEEP, ICML 2020, equation 1.
  """
  if isinstance(z, standardise.Placed):
    mixture = _standardised(mixture, z.affine)
    x, weights = blocks.as_float(z.x), blocks.as_float(z.weights)
  else:
    x, weights = blocks.place(z, None, mixture.log_weights.shape[-1], None)
  parameters, d = gmm.as_parameters(mixture, z)
  shape = weights.shape
  if example_weights is not None:
    weights = blocks.place_weights(example_weights, shape, None)
  labels = labels if blocks.is_traced(labels) else np.asarray(labels)
  predict = functools.partial(
    posteriors.predictions, kind=mixture.covariance, num_classes=num_classes
  )
  if mixture.log_weights.ndim == 2:
    axes = (0, None, None, 0 if weights.ndim == 3 else None, None)
    predict = jax.vmap(predict, axes)
  predicted = predict(
    parameters, x, blocks.to_blocks(labels, shape), weights, d
  )
  predicted = predicted.reshape(*mixture.log_weights.shape[:-1], -1)
  return blocks.crop(predicted, (*predicted.shape[:-1], z.shape[0]))


def leep(
  mixture: gmm.GMM,
  z: Float[Array, 'N D'] | standardise.Placed,
  labels: Int[Array, 'N'],
  *,
  num_classes: int,
  example_weights: Real[Array, '... N'] | None = None,
) -> Float[Array, '*S']:
  """LEEP on the mixture's posteriors: 1/N Σ_n log p_n of `predictions`.

  Args:
    mixture: as in `predictions`, like all that follow.
    z: the examples
    labels: [N]
    num_classes: C.
    example_weights: [N] or [S, N], which count in the mean over examples too.

  Returns:
    [] or [S], in nats, at most zero; larger is better.

  Reference:
    Li et al., section 3.2; Nguyen et al., LEEP, ICML 2020, equation 2.
  """
  p = predictions(
    mixture,
    z,
    labels,
    num_classes=num_classes,
    example_weights=example_weights,
  )
  logs = jnp.log(jnp.maximum(p, jnp.finfo(p.dtype).tiny))
  if example_weights is None:
    return jnp.mean(logs, axis=-1)
  # An example that is left out may well have no probability at all.
  weights = jnp.asarray(example_weights, logs.dtype)
  return jnp.sum(weights * logs, axis=-1) / jnp.sum(weights, axis=-1)
