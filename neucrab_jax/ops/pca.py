# SPDX-License-Identifier: Apache-2.0
"""Principal components that keep a share of the variance.

The eigenvectors of the smaller of the two Gram matrices, D×D or N×N. On a CPU
NumPy finds them: XLA's matmul is no faster there, and to compile it for the
width of each checkpoint took longer than the work.

Axes: N examples, D features, k kept components, R = min(N, D).
"""

import math
from collections.abc import Sequence

import flax
import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
import threadpoolctl

from neucrab_jax import parallel
from neucrab_jax.ops import blocks

# Examples to centre at once, in f64.
HOST_ROWS = 4096

# Cumulative energies closer than this are equal: f32 can't tell them apart, and
# without it the number of components would hang on the last bit of a sum.
ENERGY_ROUNDING = 1e-6


@flax.struct.dataclass
class Projection:
  mean: jax.Array  # [D]
  components: jax.Array  # [D, k], orthonormal columns, most variance first
  explained_energy: jax.Array  # [k], fractions of the total variance


def _on_host(*arrays) -> bool:
  return jax.default_backend() == 'cpu' and not blocks.is_traced(*arrays)


def _unit_columns(v, module):
  """Length one, the largest entry positive; a zero column stays zero."""
  norm = module.linalg.norm(v, axis=0)
  rows = module.argmax(module.abs(v), axis=0)
  largest = module.take_along_axis(v, rows[None], axis=0)[0]
  length = module.where(norm > 0, norm, 1)
  return v / module.where(largest < 0, -length, length)


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
  return (x[0] + shift) * magnitude, values, _unit_columns(vectors, jnp)


def _decompose_on_host(x: np.ndarray) -> tuple[np.ndarray, ...]:
  """As `_decompose`, without padding."""
  n, d = x.shape
  mean = np.mean(x, axis=0, dtype=np.float64)
  scale = max(np.max(x.max(0) - mean), np.max(mean - x.min(0))) or 1
  centred = np.empty_like(x)
  for start in range(0, n, HOST_ROWS):
    rows = slice(start, start + HOST_ROWS)
    centred[rows] = (x[rows] - mean) / scale  # in f64
  wide = d > n
  gram = centred @ centred.T if wide else centred.T @ centred
  # LAPACK's threads wait for one another in a spin, thousands of times in one
  # decomposition: on two busy cores two took fifty times as long as one.
  with threadpoolctl.threadpool_limits(1, user_api='blas'):
    values, vectors = scipy.linalg.eigh(gram, driver='evd', check_finite=False)
  values, vectors = np.maximum(values[::-1], 0), vectors[:, ::-1]
  if wide:
    vectors = centred.T @ vectors
  vectors = np.where(values > 0, vectors, 0)
  return jnp.asarray(mean, x.dtype), values, _unit_columns(vectors, np)


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
  if devices is None and _on_host(x):
    mean, variances, components = _decompose_on_host(x)
  else:
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


def _project_on_host(x, mean, components) -> np.ndarray:
  """As `_project`."""
  largest = max(float(np.abs(x).max()), float(np.abs(mean).max())) or 1.0
  magnitude = math.ldexp(1, math.frexp(largest)[1] - 1)
  z = (x / magnitude - mean / magnitude) @ components
  limit = np.finfo(z.dtype).max
  with np.errstate(over='ignore'):
    return np.clip(z * magnitude, -limit, limit)


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
  mean, components = projection.mean, projection.components
  if _on_host(x, mean, components):
    z = _project_on_host(
      blocks.as_float(x), np.asarray(mean), np.asarray(components)
    )
    return jnp.asarray(z)
  if not blocks.is_traced(components):
    components = np.asarray(components)
  components = blocks.pad(components, (d, blocks.bucket(k)))
  z = _project(blocks.as_float(x), mean, components)
  return blocks.crop(z, (z.shape[0], k))
