# SPDX-License-Identifier: Apache-2.0
"""Principal components that keep a share of the variance.

The eigenvectors of the smaller of the two Gram matrices, D×D or N×N.

Axes: N examples, D features, k kept components, R = min(N, D).
"""

from collections.abc import Sequence

import flax
import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg  # noqa: F401 - the LAPACK that JAX calls on a CPU
import threadpoolctl

from neucrab_jax import parallel
from neucrab_jax.ops import blocks

# Cumulative energies closer than this are equal: f32 can't tell them apart, and
# without it the number of components would hang on the last bit of a sum.
ENERGY_ROUNDING = 1e-6


@flax.struct.dataclass
class Projection:
  mean: jax.Array  # [D]
  components: jax.Array  # [D, k], orthonormal columns, most variance first
  explained_energy: jax.Array  # [k], fractions of the total variance


def _unit_columns(v: jax.Array) -> jax.Array:
  """Length one, the largest entry positive; a zero column stays zero."""
  norm = jnp.linalg.norm(v, axis=0)
  rows = jnp.argmax(jnp.abs(v), axis=0)
  largest = jnp.take_along_axis(v, rows[None], axis=0)[0]
  sign = jnp.where(largest < 0, -1, 1)
  return v * (sign / jnp.where(norm > 0, norm, 1))


@jax.jit
def _decompose(x: jax.Array, num_examples: int) -> tuple[jax.Array, ...]:
  """Mean [D], variances [R] in descending order, components [D, R]."""
  n, d = x.shape
  present = (jnp.arange(n) < num_examples)[:, None]
  magnitude = blocks.magnitude(x)
  x = x / magnitude
  # Differences to one example are exact where an offset dwarfs the spread.
  shifted = jnp.where(present, x - x[0], 0)
  shift = jnp.sum(shifted, axis=0) / num_examples
  centred = jnp.where(present, shifted - shift, 0)
  scale = jnp.max(jnp.abs(centred))
  scale = jnp.where(scale > 0, scale, 1)
  centred = centred / scale
  wide = d > n
  gram = jnp.matmul(
    centred if wide else centred.T,
    centred.T if wide else centred,
    precision=blocks.PRECISION,
  )
  values, vectors = jnp.linalg.eigh(gram, symmetrize_input=False)
  values, vectors = jnp.maximum(values[::-1], 0), vectors[:, ::-1]
  if wide:
    vectors = jnp.matmul(centred.T, vectors, precision=blocks.PRECISION)
  vectors = jnp.where(values > 0, vectors, 0)
  return (x[0] + shift) * magnitude, values, _unit_columns(vectors)


def fit(
  x: jax.Array,
  *,
  energy: float = 0.8,
  devices: Sequence[jax.Device] | None = None,
) -> Projection:
  """Finds the fewest principal components with enough of the variance.

  Args:
    x: [N, D].
    energy: the share of the variance to keep, in (0, 1].
    devices: to spread the examples over; one device if not given. Every process
      that owns one of them makes the same call.

  Returns:
    The projection, with the smallest k whose cumulative energy is at least
    `energy`. Where nothing varies, one component of zeros.

  Raises:
    ValueError: `x` is not [N, D], or `energy` is not in (0, 1].
  """
  if np.ndim(x) != 2 or 0 in np.shape(x):
    raise ValueError(f'PCA needs features of shape [N, D], got {np.shape(x)}.')
  if not 0 < energy <= 1:
    raise ValueError(f'energy is a share in (0, 1], got {energy}.')
  x, num_examples = blocks.as_float(x), len(x)
  if devices is not None:
    rows = parallel.round_up(num_examples, multiple=len(devices))
    x = blocks.pad(x, (rows, x.shape[1]))
    x = parallel.spread(x, axis=0, devices=devices)
  # LAPACK's threads wait for one another in a spin, thousands of times in one
  # decomposition: on two busy cores two took fifty times as long as one. Only
  # libraries that are loaded can be limited, hence the import above.
  with threadpoolctl.threadpool_limits(1, user_api='blas'):
    decomposed = parallel.fetch(_decompose(x, num_examples))
  mean, variances, components = decomposed
  # How many are kept depends on the data, so the host decides.
  variances = np.asarray(variances, np.float64)
  total = variances.sum()
  explained = variances / total if total > 0 else variances
  enough = np.cumsum(explained) >= energy - ENERGY_ROUNDING
  kept = int(np.argmax(enough)) + 1 if total > 0 else 1
  return Projection(
    mean=mean,
    components=blocks.crop(components, (components.shape[0], kept)),
    explained_energy=jnp.asarray(explained[:kept], mean.dtype),
  )


@jax.jit
def _project(x: jax.Array, mean: jax.Array, components: jax.Array):
  magnitude = jnp.maximum(blocks.magnitude(x), blocks.magnitude(mean))
  centred = x / magnitude - mean / magnitude
  z = jnp.matmul(centred, components, precision=blocks.PRECISION)
  limit = jnp.finfo(z.dtype).max
  return jnp.clip(z * magnitude, -limit, limit)


def transform(projection: Projection, x: jax.Array) -> jax.Array:
  """Coordinates of examples along the principal components.

  Args:
    projection: from `fit`.
    x: [N, D].

  Returns:
    [N, k]

  Raises:
    ValueError: `x` has another number of features than `projection`.
  """
  d, k = projection.components.shape
  if np.ndim(x) != 2 or x.shape[1] != d:
    raise ValueError(
      f'This projection takes [N, {d}] features, got {np.shape(x)}.'
    )
  components = projection.components
  if not blocks.is_traced(components):
    components = np.asarray(components)
  components = blocks.pad(components, (d, blocks.bucket(k)))
  z = _project(blocks.as_float(x), projection.mean, components)
  return blocks.crop(z, (z.shape[0], k))
