# SPDX-License-Identifier: Apache-2.0
"""Gaussian mixtures by expectation-maximisation, and LEEP on their posteriors.

    p(x) = Σ_v P(v) N(x; μ_v, σ²_v),   r_nv = P(v | x_n)

Axes: N examples, D features, K components, C classes, S seeds.

Reference:
  Li et al., Ranking Neural Checkpoints, CVPR 2021, section 3.
"""

import functools

import flax
import jax
import jax.numpy as jnp
import numpy as np

from neucrab_jax.ops import blocks, em, kmeans

# Lloyd's iterations before EM goes on from there.
KMEANS_ITERATIONS = 100


@flax.struct.dataclass
class GMM:
  """A mixture, or S of them with a leading axis on every field."""

  log_weights: jax.Array  # [K], sums to one after exp
  means: jax.Array  # [K, D]
  variances: jax.Array  # [K, D], floored
  num_iterations: jax.Array  # [], of EM
  converged: jax.Array  # [], false if max_iterations ended it
  log_likelihoods: jax.Array  # [max_iterations], nats, before each iteration;
  # after the last one repeated


def _finite(x):
  """Squares of the largest and the smallest floats are no floats."""
  limits = jnp.finfo(x.dtype)
  return jnp.clip(x, limits.tiny, limits.max)


@functools.partial(
  jax.jit, static_argnames=('num_components', 'max_iterations')
)
def _fit(
    keys, x, weights, initial_means, num_dims, tolerance, *,
    num_components, max_iterations,
):  # fmt: skip
  mask = jnp.arange(x.shape[-1]) < num_dims
  x, affine = blocks.standardise(x, weights, num_dims)

  def fit_one(key):
    if initial_means is None:
      centroids = kmeans.seed(key, x, weights, num_clusters=num_components)
      centroids, _ = kmeans.lloyd(
        x,
        weights,
        centroids,
        max_iterations=KMEANS_ITERATIONS,
        tolerance=kmeans.TOLERANCE,
      )
      parameters = em.start(x, weights, centroids, mask)
    else:
      centroids = (initial_means - affine.centre) / affine.scale
      parameters = em.start(x, weights, centroids, mask)
      parameters = parameters.replace(means=centroids)
    return em.run(
      x,
      weights,
      parameters,
      mask,
      max_iterations=max_iterations,
      tolerance=tolerance,
    )

  run = fit_one if keys.ndim == 0 else jax.vmap(fit_one)
  parameters, num_iterations, converged, history = run(keys)
  return GMM(
    log_weights=parameters.log_weights,
    means=parameters.means * affine.scale + affine.centre,
    variances=_finite(parameters.variances * affine.scale**2),
    num_iterations=num_iterations,
    converged=converged,
    log_likelihoods=history - num_dims * jnp.log(affine.scale),
  )


def _typed(keys: jax.Array) -> jax.Array:
  """Keys of the new style: [] or [S], whichever style they came in."""
  if jnp.issubdtype(keys.dtype, jax.dtypes.prng_key):
    return keys
  return jax.random.wrap_key_data(keys)


def fit_many(
  keys: jax.Array,
  z: jax.Array,
  *,
  num_components: int = 50,
  initial_means: jax.Array | None = None,
  example_weights: jax.Array | None = None,
  covariance: str = 'diag',
  max_iterations: int = 100,
  tolerance: float = 1e-3,
) -> GMM:
  """Fits one mixture per key, in one program; otherwise as `fit`.

  Args:
    keys: [S] keys, of the initialisations.
    z: [N, D].
    num_components: as in `fit`, like all that follow.
    initial_means: [K, D]
    example_weights: [N]
    covariance: see `fit`.
    max_iterations: see `fit`.
    tolerance: see `fit`.

  Returns:
    The mixtures, each field with a leading axis S.

  Raises:
    ValueError: as `fit` does.
  """
  if initial_means is not None:
    num_components = len(initial_means)
  blocks.check(z, num_components, example_weights)
  if covariance != 'diag':
    raise ValueError(f'Unknown covariance {covariance!r}. Known: diag.')
  n, d = z.shape
  shape = blocks.block_shape(n, num_components)
  width = blocks.bucket(d)
  if initial_means is not None:
    initial_means = blocks.pad(
      blocks.as_float(initial_means), (num_components, width)
    )
  mixture = _fit(
    _typed(keys),
    blocks.to_blocks(blocks.pad(blocks.as_float(z), (n, width)), shape),
    blocks.to_blocks(blocks.weights_of(n, example_weights), shape),
    initial_means,
    d,
    tolerance,
    num_components=num_components,
    max_iterations=max_iterations,
  )
  cropped = (*mixture.means.shape[:-1], d)
  return mixture.replace(
    means=blocks.crop(mixture.means, cropped),
    variances=blocks.crop(mixture.variances, cropped),
  )


def fit(
  key: jax.Array,
  z: jax.Array,
  *,
  num_components: int = 50,
  initial_means: jax.Array | None = None,
  example_weights: jax.Array | None = None,
  covariance: str = 'diag',
  max_iterations: int = 100,
  tolerance: float = 1e-3,
) -> GMM:
  """Fits a mixture, from k-means or from given means.

  Variances are floored at 1e-6 of the data's mean variance, so that no result
  depends on the data's scale.

  Args:
    key: of the initialisation; without effect where `initial_means` are given.
    z: [N, D], the examples.
    num_components: K, at most N.
    initial_means: [K, D]; weights and variances then start from the examples
      nearest to each. Overrides `num_components`.
    example_weights: [N], not negative: how often an example counts, zero to
      leave it out. All one if not given.
    covariance: 'diag'.
    max_iterations: of EM.
    tolerance: gain of the mean log-likelihood, in nats, that ends EM; zero to
      make all iterations.

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
  )


def _standard(mixture: GMM, x: jax.Array, num_dims: jax.Array):
  """Examples and coefficients where the mixture has mean 0 and variance 1."""
  mask = jnp.arange(x.shape[-1]) < num_dims
  weights = jnp.exp(mixture.log_weights)[:, None]
  largest = jnp.maximum(
    jnp.max(jnp.abs(mixture.means)), jnp.sqrt(jnp.max(mixture.variances))
  )
  means = mixture.means / largest
  centre = jnp.sum(weights * means, axis=0)
  means = means - centre
  variances = mixture.variances / largest / largest
  spread = jnp.sum(weights * jnp.where(mask, variances + means**2, 0))
  scale = jnp.sqrt(spread / num_dims)
  parameters = em.Parameters(
    log_weights=mixture.log_weights,
    means=means / scale,
    variances=jnp.where(mask, variances / scale / scale, 1),
  )
  x = (x / largest - centre) / scale
  return x, em.coefficients(parameters, num_dims), scale * largest


@jax.jit
def _posterior(mixture, x, num_dims):
  """[N, K] responsibilities and [N] log densities, in nats."""
  x, coefs, scale = _standard(mixture, x, num_dims)
  unnormalised, total, log_density = em.expect(x, coefs)
  return unnormalised / total, log_density - num_dims * jnp.log(scale)


@jax.jit
def _log_likelihood(mixture, x, weights, num_dims):
  x, coefs, scale = _standard(mixture, x, num_dims)

  def add_block(total, block):
    x, w = block
    return total + jnp.sum(w * em.expect(x, coefs)[2]), None

  total, _ = jax.lax.scan(add_block, jnp.zeros((), x.dtype), (x, weights))
  return total / jnp.sum(weights) - num_dims * jnp.log(scale)


@functools.partial(jax.jit, static_argnames='num_classes')
def _leep(mixture, x, labels, weights, num_dims, *, num_classes):
  x, coefs, _ = _standard(mixture, x, num_dims)
  num_components = coefs.shape[1]
  total_weight = jnp.sum(weights)

  def add_joint(joint, block):
    x, y, w = block
    unnormalised, total, _ = em.expect(x, coefs)
    add = jax.ops.segment_sum(
      unnormalised * (w[:, None] / total), y, num_classes
    )
    return joint + add, None

  joint = jnp.zeros((num_classes, num_components), x.dtype)
  joint, _ = jax.lax.scan(add_joint, joint, (x, labels, weights))
  mass = jnp.sum(joint, axis=0)  # N P(v), [K]
  # A component without examples predicts nothing, and is never asked.
  conditional = joint / jnp.where(mass > 0, mass, 1)  # P(y | v), [C, K]

  def add_score(score, block):
    x, y, w = block
    unnormalised, total, _ = em.expect(x, coefs)
    p = jnp.sum(conditional[y] * unnormalised, axis=1) / total[:, 0]
    tiny = jnp.finfo(p.dtype).tiny
    return score + jnp.sum(w * jnp.log(jnp.maximum(p, tiny))), None

  score, _ = jax.lax.scan(
    add_score, jnp.zeros((), x.dtype), (x, labels, weights)
  )
  return score / total_weight


def _widen(mixture: GMM, z):
  """The mixture and the examples, padded to a bucket of dimensions."""
  d = mixture.means.shape[-1]
  if np.ndim(z) != 2 or z.shape[1] != d:
    raise ValueError(
      f'This mixture takes [N, {d}] examples, got {np.shape(z)}.'
    )
  width = blocks.bucket(d)
  z = blocks.pad(blocks.as_float(z), (z.shape[0], width))
  if width != d:
    padded = (*mixture.means.shape[:-1], width)
    means, variances = mixture.means, mixture.variances
    if not blocks.is_traced(means, variances):
      means, variances = np.asarray(means), np.asarray(variances)
    mixture = mixture.replace(
      means=blocks.pad(means, padded),
      variances=blocks.pad(variances, padded),
    )
  return mixture, z, d


def responsibilities(mixture: GMM, z: jax.Array) -> jax.Array:
  """How much of each example each component accounts for, P(v | x).

  Args:
    mixture: a single one.
    z: [N, D].

  Returns:
    [N, K], rows sum to one.
  """
  mixture, z, d = _widen(mixture, z)
  return _posterior(mixture, z, d)[0]


def _blocked(mixture, z, example_weights):
  mixture, z, d = _widen(mixture, z)
  shape = blocks.block_shape(len(z), mixture.log_weights.shape[-1])
  weights = blocks.weights_of(len(z), example_weights)
  return (
    mixture,
    blocks.to_blocks(z, shape),
    blocks.to_blocks(weights, shape),
    d,
  )


def log_likelihood(
  mixture: GMM, z: jax.Array, example_weights: jax.Array | None = None
) -> jax.Array:
  """Mean over examples of log p(x).

  Args:
    mixture: a single one.
    z: [N, D].
    example_weights: [N]; all one if not given.

  Returns:
    [], in nats.
  """
  return _log_likelihood(*_blocked(mixture, z, example_weights))


def leep(
  mixture: GMM,
  z: jax.Array,
  labels: jax.Array,
  *,
  num_classes: int,
  example_weights: jax.Array | None = None,
) -> jax.Array:
  """LEEP on the mixture's posteriors, never holding N×K of them.

      P(y | v) = Σ_{n: y_n = y} r_nv / Σ_n r_nv
      LEEP     = 1/N Σ_n log Σ_v P(y_n | v) r_nv

  Args:
    mixture: a single one, or S of them from `fit_many`.
    z: [N, D], the examples.
    labels: [N], integers from 0 to C − 1.
    num_classes: C.
    example_weights: [N], how often an example counts in both sums; all one if
      not given.

  Returns:
    [] or [S], in nats, at most zero; larger is better.

  Reference:
    Li et al., section 3.2; Nguyen et al., LEEP, ICML 2020, equation 2.
  """
  mixture, x, weights, d = _blocked(mixture, z, example_weights)
  labels = labels if blocks.is_traced(labels) else np.asarray(labels)
  labels = blocks.to_blocks(labels, weights.shape)
  score = functools.partial(_leep, num_classes=num_classes)
  if mixture.log_weights.ndim == 2:
    score = jax.vmap(score, in_axes=(0, None, None, None, None))
  return score(mixture, x, labels, weights, d)
