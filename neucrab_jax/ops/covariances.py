# SPDX-License-Identifier: Apache-2.0
"""The four kinds of covariance a mixture can have.

    diag       [K, D]     a variance for each component and dimension
    spherical  [K]        a variance for each component
    tied       [D, D]     one matrix for all components
    full       [K, D, D]  a matrix for each component

Within EM, `spherical` is [K, D] too. Everything is in standardised units
(`standardise.standardise`), and a padded dimension has variance one and no
covariance, so that it adds nothing to a density.

Axes: N examples, D features, K components, T blocks, B examples of a block.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from neucrab_jax.ops import blocks
from neucrab_jax.typing import Array

KINDS = ('diag', 'spherical', 'tied', 'full')

# The least variance of a component, as a share of the data's mean variance: a
# component on duplicated examples would have none, and infinite density.
VARIANCE_FLOOR = 1e-6

# What to add to the diagonal of a matrix that rounding left indefinite, as
# multiples of the floor: f32 keeps seven digits, so the last always does.
JITTERS = (1.0, 10.0, 1e3, 1e5)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Parameters:
  log_weights: Array  # [K]
  means: Array  # [K, D]
  variances: Array  # as above, `spherical` as `diag`


def diagonal(p: Parameters, kind: str) -> Float[Array, 'K D']:
  """[K, D] variances, whatever the kind."""
  if kind == 'tied':
    return jnp.broadcast_to(jnp.diagonal(p.variances), p.means.shape)
  if kind == 'full':
    return jnp.diagonal(p.variances, axis1=1, axis2=2)
  return jnp.broadcast_to(p.variances, p.means.shape)


def scaled(p: Parameters, factor: Float[Array, '']) -> Parameters:
  """The mixture of `factor` times the data, squared once and once more."""
  return dataclasses.replace(
    p, means=p.means * factor, variances=p.variances * factor * factor
  )


# One matrix after the other: under jaxlib 0.10, two factorisations at once may
# wait for ever for the threads that each of them has.
@jax.custom_batching.sequential_vmap
def _inverse_root(covariance: Array) -> jax.Array:
  """[D, D] lower L⁻ᵀ with L Lᵀ the covariance: whitens rows from the right."""
  identity = jnp.eye(covariance.shape[-1], dtype=covariance.dtype)
  root = jnp.linalg.cholesky(covariance, symmetrize_input=False)
  for jitter in JITTERS:
    raised = covariance + jitter * VARIANCE_FLOOR * identity
    root = jax.lax.cond(
      jnp.isfinite(root).all(),
      lambda root, unused: root,
      lambda unused, raised: jnp.linalg.cholesky(
        raised, symmetrize_input=False
      ),
      root,
      raised,
    )
  # Beyond help: the variances alone.
  spread = jnp.sqrt(jnp.maximum(jnp.diagonal(covariance), VARIANCE_FLOOR))
  root = jnp.where(jnp.isfinite(root).all(), root, jnp.diag(spread))
  return jax.scipy.linalg.solve_triangular(root, identity, lower=True).T


def log_joint_of(
  p: Parameters, num_dims: Array | int, kind: str
) -> Callable[[jax.Array], jax.Array]:
  """The function from examples [B, D] to log P(v) p(x | v), [B, K]."""
  constant = p.log_weights - 0.5 * num_dims * jnp.log(2 * jnp.pi)
  if kind == 'full':
    whiten = jax.lax.map(_inverse_root, p.variances)
    log_det = jnp.sum(jnp.log(jnp.diagonal(whiten, axis1=1, axis2=2)), axis=1)

    def log_joint_full(x):
      def one(component):
        mean, whiten, constant = component
        white = jnp.matmul(x - mean, whiten, precision=blocks.PRECISION)
        return constant - 0.5 * jnp.sum(white**2, axis=1)

      return jax.lax.map(one, (p.means, whiten, constant + log_det)).T

    return log_joint_full

  if kind == 'tied':
    whiten = _inverse_root(p.variances)
    means = jnp.matmul(p.means, whiten, precision=blocks.PRECISION)
    log_det = jnp.sum(jnp.log(jnp.diagonal(whiten)))
    constant = constant + log_det - 0.5 * jnp.sum(means**2, axis=1)

    def log_joint_tied(x):
      white = jnp.matmul(x, whiten, precision=blocks.PRECISION)
      product = jnp.matmul(white, means.T, precision=blocks.PRECISION)
      return product + constant - 0.5 * jnp.sum(white**2, 1, keepdims=True)

    return log_joint_tied

  precisions = 1 / p.variances
  constant = constant - 0.5 * jnp.sum(
    jnp.log(p.variances) + p.means**2 * precisions, axis=1
  )
  coefficients = _interleave(constant, p.means * precisions, -0.5 * precisions)

  def log_joint(x):
    statistics = moments(x)

    def at_width(w):
      used = slice(2 * w + 1)
      return jnp.matmul(
        statistics[:, used],
        coefficients[:, used].T,
        precision=blocks.PRECISION,
      )

    return blocks.at_width(num_dims, x.shape[1], at_width)

  return log_joint


def refine(
  p: Parameters,
  num_dims: Array | int,
  log_joint: Float[Array, 'B K'],
  total: Float[Array, 'B 1'],
  x: Float[Array, 'B D'],
) -> Float[Array, 'B']:
  """Log densities, exact in the component that accounts for each example.

  The moments cancel: x² / σ² and μ² / σ² may be millions where the density
  hangs on their difference, (x − μ)² / σ². That is worth computing for one
  component, for diagonal covariances.

  Args:
    p: the mixture.
    num_dims: of the D dimensions, those that are not padding.
    log_joint: [B, K], from the moments.
    total: [B, 1], Σ_v exp(log_joint − its largest), from `em.expect`.
    x: [B, D]

  Returns:
    [B]
  """
  largest = jnp.max(log_joint, axis=1)
  k = log_joint.shape[1]
  # Several times faster on a CPU than argmax, and equal to it.
  index = jnp.where(log_joint >= largest[:, None], jnp.arange(k), k - 1)
  top = jnp.min(index, axis=1)
  constant = p.log_weights - 0.5 * (
    num_dims * jnp.log(2 * jnp.pi) + jnp.sum(jnp.log(p.variances), axis=1)
  )
  squares = (x - p.means[top]) ** 2 / p.variances[top]
  exact = constant[top] - 0.5 * jnp.sum(squares, axis=1)
  # All the others: the largest itself counts one.
  rest = jnp.maximum(total[:, 0] - 1, 0)
  return jnp.logaddexp(exact, largest + jnp.log(rest))


def _interleave(constant, first, second) -> jax.Array:
  """[M], [M, D] and [M, D] to [M, 2 D + 1], padded dimensions at the end."""
  pairs = jnp.stack([first, second], axis=-1).reshape(len(first), -1)
  return jnp.concatenate([constant[:, None], pairs], axis=1)


def moments(x: Float[Array, 'B D']) -> Float[Array, 'B 2*D+1']:
  """[B, D] to [B, 2 D + 1]: all that a diagonal Gaussian sees of an example."""
  return _interleave(jnp.ones_like(x[:, 0]), x, x**2)


def separate(
  sums: Float[Array, 'K _'],
) -> tuple[Float[Array, 'K'], Float[Array, 'K D'], Float[Array, 'K D']]:
  """[K, 2 D + 1] sums of moments to [K] mass, [K, D] of x and [K, D] of x²."""
  return sums[:, 0], sums[:, 1::2], sums[:, 2::2]


def weighted_moments(
  weights: Float[Array, 'B K'],
  scale: Float[Array, 'B'],
  x: Float[Array, 'B D'],
  num_dims: Array | int,
) -> Float[Array, 'K 2*D+1']:
  """[B, K] weights, times [B] scale, and [B, D] to [K, 2 D + 1] sums."""
  statistics, d = moments(x) * scale[:, None], x.shape[1]

  def at_width(w):
    sums = jnp.matmul(
      weights.T, statistics[:, : 2 * w + 1], precision=blocks.PRECISION
    )
    return jnp.pad(sums, ((0, 0), (0, 2 * (d - w))))

  return blocks.at_width(num_dims, d, at_width)


def second_moment(
  x: Float[Array, 'T B D'], weights: Float[Array, 'T B']
) -> Float[Array, 'D D']:
  """[T, B, D] and [T, B] to [D, D], the mean of x xᵀ."""

  def add_block(total, block):
    x, w = block
    product = jnp.matmul((x * w[:, None]).T, x, precision=blocks.PRECISION)
    return total + product, None

  zeros = jnp.zeros((x.shape[-1],) * 2, x.dtype)
  return jax.lax.scan(add_block, zeros, (x, weights))[0] / jnp.sum(weights)


def tied(
  second: Float[Array, 'D D'],
  means: Float[Array, 'K D'],
  shares: Float[Array, 'K'],
  mask: Bool[Array, 'D'],
) -> Float[Array, 'D D']:
  """What the components' means leave of the second moment: [D, D]."""
  between = jnp.matmul(
    (means * shares[:, None]).T, means, precision=blocks.PRECISION
  )
  values, vectors = jnp.linalg.eigh(second - between)
  values = jnp.maximum(values, VARIANCE_FLOOR)
  within = jnp.matmul(vectors * values, vectors.T, precision=blocks.PRECISION)
  return pad_identity(within, mask)


def full(
  x: Float[Array, 'T B D'],
  weights: Float[Array, 'T B'],
  posteriors_of: Callable,
  means: Float[Array, 'K D'],
  mass: Float[Array, 'K'],
  mask: Bool[Array, 'D'],
) -> Float[Array, 'K D D']:
  """[K, D, D] about known means, by a second pass over the examples.

  Centred before they are squared: in f32 nothing is left of a difference of
  moments once a component has fewer examples than dimensions.

  Args:
    x: [T, B, D]
    weights: [T, B]
    posteriors_of: from [B, D] to [B, K].
    means: [K, D]
    mass: [K], the summed responsibilities, not zero.
    mask: [D], false where a dimension is padding.
  """

  def add_block(total, block):
    x, w = block
    r = posteriors_of(x) * w[:, None]

    def one(component):
      mean, r = component
      centred = x - mean
      return jnp.matmul(
        (centred * r[:, None]).T, centred, precision=blocks.PRECISION
      )

    return total + jax.lax.map(one, (means, r.T)), None

  zeros = jnp.zeros((*means.shape, means.shape[1]), x.dtype)
  total = jax.lax.scan(add_block, zeros, (x, weights))[0]
  covariance = total / mass[:, None, None]
  floor = VARIANCE_FLOOR * jnp.eye(means.shape[1], dtype=x.dtype)
  return pad_identity(covariance + floor, mask)


def pad_identity(
  covariance: Float[Array, '*K D D'], mask: Bool[Array, 'D']
) -> Float[Array, '*K D D']:
  """[..., D, D] with the identity where a dimension is padding."""
  identity = jnp.eye(mask.shape[0], dtype=covariance.dtype)
  return jnp.where(mask[:, None] & mask, covariance, identity)
