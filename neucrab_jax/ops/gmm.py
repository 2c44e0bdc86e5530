# SPDX-License-Identifier: Apache-2.0
"""Gaussian mixtures by expectation-maximisation.

    p(x) = Σ_v P(v) N(x; μ_v, σ²_v),   r_nv = P(v | x_n)

Axes: N examples, D features, K components, S seeds.

Reference:
  Li et al., Ranking Neural Checkpoints, CVPR 2021, section 3.
"""

import dataclasses
import functools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Real

from neucrab_jax import parallel
from neucrab_jax.ops import (
  blocks,
  covariances,
  em,
  kmeans,
  posteriors,
  seeding,
  standardise,
)
from neucrab_jax.typing import Array, Key, Keys

# Lloyd's iterations at most, before EM goes on from there.
KMEANS_ITERATIONS = 100

# No iteration of EM lowers the mean log-likelihood by more than this, in nats:
# some roundings of f32 (seen: 8e-6, with components collapsed to the floor).
LIKELIHOOD_NOISE = 1e-4


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class GMM:
  """A mixture, or S of them with a leading axis on every field."""

  log_weights: Array  # [K], sums to one after exp
  means: Array  # [K, D]
  variances: Array  # [K, D] for diag, [K], [D, D] or [K, D, D]; floored
  num_iterations: Array  # [], of EM
  converged: Array  # [], false if max_iterations ended it
  # [max_iterations], nats, before each iteration; after the last one repeated.
  log_likelihoods: Array
  covariance: str = dataclasses.field(default='diag', metadata={'static': True})


def _finite(x, covariance, dtype):
  """Squares of the largest and the smallest floats are no floats."""
  limits = jnp.finfo(dtype)
  positive = covariance in ('diag', 'spherical')
  return jnp.clip(x, limits.tiny if positive else -limits.max, limits.max)


@functools.partial(
  jax.jit,
  static_argnames=('num_components', 'max_iterations', 'covariance', 'dtype'),
)
def _fit(
    noise, x, weights, affine, initial_means, num_dims, tolerance, *,
    num_components, max_iterations, covariance, dtype,
):  # fmt: skip
  mask = jnp.arange(x.shape[-1]) < num_dims

  def fit_one(noise, weights):
    data = em.make_data(x, weights, mask, covariance)
    if initial_means is None:
      centroids = seeding.seed(
        noise, x, weights, num_dims, num_clusters=num_components
      )
      centroids, _ = kmeans.lloyd(
        x,
        weights,
        centroids,
        num_dims,
        max_iterations=KMEANS_ITERATIONS,
        tolerance=kmeans.TOLERANCE,
      )
      parameters = em.start(data, centroids)
    else:
      centroids = (initial_means - affine.centre) / affine.scale
      parameters = dataclasses.replace(
        em.start(data, centroids), means=centroids
      )
    return em.run(
      data, parameters, max_iterations=max_iterations, tolerance=tolerance
    )

  if noise.ndim == 1:
    fitted = fit_one(noise, weights)
  elif jax.default_backend() == 'cpu':
    # One seed keeps all cores busy, and none waits for the slowest to converge.
    weights = jnp.broadcast_to(weights, (len(noise), *weights.shape[-2:]))
    fitted = jax.lax.map(lambda pair: fit_one(*pair), (noise, weights))
  else:
    axes = (0, 0 if weights.ndim == 3 else None)
    fitted = jax.vmap(fit_one, axes)(noise, weights)
  parameters, num_iterations, converged, history = fitted
  variances = parameters.variances
  if covariance == 'spherical':
    variances = variances[..., 0]
  variances = variances * affine.scale * affine.scale
  log_likelihoods = history - num_dims * jnp.log(affine.scale)
  means = parameters.means * affine.scale + affine.centre
  return GMM(
    log_weights=parameters.log_weights.astype(dtype),
    means=means.astype(dtype),
    variances=_finite(variances, covariance, dtype).astype(dtype),
    num_iterations=num_iterations.astype(jnp.int32),
    converged=converged,
    log_likelihoods=log_likelihoods.astype(dtype),
    covariance=covariance,
  )


def _resized(mixture: GMM, resize, width: int) -> GMM:
  """The mixture with `width` dimensions, by `blocks.pad` or `blocks.crop`."""
  d = mixture.means.shape[-1]
  if d == width:
    return mixture
  matrices = {'diag': 1, 'spherical': 0, 'tied': 2, 'full': 2}
  num_axes = matrices[mixture.covariance]
  variances = mixture.variances
  leading = variances.shape[: variances.ndim - num_axes]

  def host(x):
    return x if blocks.is_traced(x) else np.asarray(x)

  return dataclasses.replace(
    mixture,
    means=resize(host(mixture.means), (*mixture.means.shape[:-1], width)),
    variances=resize(host(variances), (*leading, *[width] * num_axes)),
  )


def fit_many(
  keys: Keys | Key,
  z: Float[Array, 'N D'] | standardise.Placed,
  *,
  num_components: int = 50,
  initial_means: Float[Array, 'K D'] | None = None,
  example_weights: Real[Array, '... N'] | None = None,
  covariance: str = 'diag',
  max_iterations: int = 100,
  tolerance: float = 1e-3,
  devices: Sequence | None = None,
) -> GMM:
  """Fits one mixture per key, in one program; otherwise as `fit`.

  Args:
    keys: [S] keys, of the initialisations; or one, for a mixture without S.
    z: [N, D], or what `em.place` made of it for as many components.
    num_components: as in `fit`, like all that follow.
    initial_means: [K, D]
    example_weights: [N], or [S, N] for weights of each mixture's own, such as
      those of a bootstrap. Variances are floored by the data's under the mean
      of the weights.
    covariance: see `fit`.
    max_iterations: see `fit`.
    tolerance: see `fit`.
    devices: see `fit`.

  Returns:
    The mixtures, each field with a leading axis S.

  Raises:
    ValueError: as `fit` does.
  """
  if initial_means is not None:
    num_components = len(initial_means)
  mean_weights = example_weights
  if example_weights is not None and np.ndim(example_weights) == 2:
    if len(example_weights) != len(keys):
      raise ValueError(
        f'Expected example_weights of shape [N] or [{len(keys)}, N], a row for '
        f'each key, got {np.shape(example_weights)}.'
      )
    mean_weights = example_weights.mean(axis=0)
  blocks.check(z, num_components, mean_weights)
  if covariance not in covariances.KINDS:
    raise ValueError(
      f'Unknown covariance {covariance!r}. '
      f'Known: {", ".join(covariances.KINDS)}.'
    )
  d = z.shape[1]
  if initial_means is not None and np.shape(initial_means)[1:] != (d,):
    raise ValueError(
      f'Expected initial means of shape [K, {d}], got '
      f'{np.shape(initial_means)}.'
    )
  if not isinstance(z, standardise.Placed):
    z = em.place(z, num_components, mean_weights, devices)
  x, weights = z.x, z.weights
  dtype = jnp.result_type(float)
  with jax.enable_x64(x.dtype == np.float64):
    if example_weights is not None:
      weights = blocks.place_weights(example_weights, weights.shape, devices)
    if initial_means is None:
      noise = seeding.draw_noise(
        keys, num_examples=math.prod(x.shape[:2]), num_clusters=num_components
      )
    else:
      initial_means = blocks.pad(
        blocks.as_float(initial_means), (num_components, x.shape[-1])
      )
      noise = np.zeros((*blocks.raw(keys).shape[:-1], 0))
    mixture = _fit(
      noise,
      x,
      weights,
      z.affine,
      initial_means,
      d,
      tolerance,
      num_components=num_components,
      max_iterations=max_iterations,
      covariance=covariance,
      dtype=dtype,
    )
  if devices is not None:
    mixture = parallel.fetch(mixture)
  return _resized(mixture, blocks.crop, d)


def fit(
  key: Key,
  z: Float[Array, 'N D'],
  *,
  num_components: int = 50,
  initial_means: Float[Array, 'K D'] | None = None,
  example_weights: Real[Array, 'N'] | None = None,
  covariance: str = 'diag',
  max_iterations: int = 100,
  tolerance: float = 1e-3,
  devices: Sequence | None = None,
) -> GMM:
  """Fits a mixture, from k-means or from given means.

  Variances are floored at 1e-6 of the data's mean variance, so that no result
  depends on the data's scale; for 'full' that much is added to each diagonal.

  >>> z = np.repeat([[0.0, 0.0], [8.0, 8.0]], 20, axis=0) + np.eye(40, 2)
  >>> mixture = fit(jax.random.key(0), z, num_components=2)
  >>> mixture.means.shape, sorted(np.exp(mixture.log_weights).round(2).tolist())
  ((2, 2), [0.5, 0.5])

  Args:
    key: of the initialisation; without effect where `initial_means` are given.
    z: [N, D], the examples.
    num_components: K, at most N.
    initial_means: [K, D]; weights and variances then start from the examples
      nearest to each. Overrides `num_components`.
    example_weights: [N], not negative: how often an example counts, zero to
      leave it out. All one if not given.
    covariance: 'diag', 'spherical', 'tied' or 'full'.
    max_iterations: of EM.
    tolerance: gain of the mean log-likelihood, in nats, that ends EM; zero to
      make all iterations.
    devices: to spread the examples over; one device if not given. Every process
      that owns one of them makes the same call.

  Returns:
    The mixture.

  Raises:
    ValueError: `z` is not [N, D], K is not between 1 and N, or the covariance
      is unknown.
  """
  return fit_many(
    key,
    z,
    num_components=num_components,
    initial_means=initial_means,
    example_weights=example_weights,
    covariance=covariance,
    max_iterations=max_iterations,
    tolerance=tolerance,
    devices=devices,
  )


def as_parameters(
  mixture: GMM, z: Float[Array, 'N D'] | standardise.Placed
) -> tuple[covariances.Parameters, int]:
  """Parameters padded to a bucket, and the number of dims, that of `z`."""
  d = mixture.means.shape[-1]
  if len(z.shape) != 2 or z.shape[1] != d:
    raise ValueError(
      f'This mixture takes [N, {d}] examples, got {np.shape(z)}.'
    )
  width = blocks.bucket(d)
  mixture = _resized(mixture, blocks.pad, width)
  variances = mixture.variances
  if mixture.covariance == 'spherical':
    variances = variances[..., None]
  parameters = covariances.Parameters(
    mixture.log_weights, mixture.means, variances
  )
  return parameters, d


def responsibilities(
  mixture: GMM, z: Float[Array, 'N D']
) -> Float[Array, 'N K']:
  """How much of each example each component accounts for, P(v | x).

  Args:
    mixture: a single one.
    z: [N, D].

  Returns:
    [N, K], rows sum to one.
  """
  parameters, d = as_parameters(mixture, z)
  z = blocks.pad(blocks.as_float(z), (len(z), blocks.bucket(d)))
  return posteriors.posterior(parameters, z, d, kind=mixture.covariance)


def log_likelihood(
  mixture: GMM,
  z: Float[Array, 'N D'],
  example_weights: Real[Array, 'N'] | None = None,
) -> Float[Array, '']:
  """Mean over examples of log p(x).

  Args:
    mixture: a single one.
    z: [N, D].
    example_weights: [N]; all one if not given.

  Returns:
    [], in nats.
  """
  parameters, d = as_parameters(mixture, z)
  x, weights = blocks.place(
    z, example_weights, parameters.log_weights.shape[-1], None
  )
  return posteriors.log_likelihood(
    parameters, x, weights, d, kind=mixture.covariance
  )
