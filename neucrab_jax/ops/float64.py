# SPDX-License-Identifier: Apache-2.0
"""Linear algebra in f64, for scores that f32 cannot resolve.

Log-determinants, inverses and small eigenvalues of Gram matrices lose in f32
what their features never had. On a CPU, LAPACK does the work from within XLA.

Axes: N examples, D features, C classes, R weightings.
"""

import contextlib
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jaxtyping import Float, Int, Real

from neucrab_jax.ops import pca
from neucrab_jax.typing import Array


@contextlib.contextmanager
def precision() -> Iterator[None]:
  """Arrays are f64, where the device has it, and LAPACK keeps to one thread.

  More of them wait for one another in a spin: see `pca.one_lapack_thread`.
  """
  # A TPU has no f64 of its own.
  wide = jax.default_backend() != 'tpu' or jnp.result_type(float) == np.float64
  with jax.enable_x64(wide), pca.one_lapack_thread():
    yield


def compact(features: Real[Array, 'N D']) -> Float[np.ndarray, 'N _']:
  """Rotates examples into as few dimensions as hold them.

  Whatever depends on inner products only is the same, at less cost; and all
  checkpoints with D >= N share one shape, thus one compilation.

  Args:
    features: [N, D].

  Returns:
    [N, min(N, D)] f64.
  """
  x = np.asarray(features, np.float64)
  n, d = x.shape
  if d <= n:
    return x
  # Fᵀ = Q R, so F = Rᵀ Qᵀ, and R has all the inner products.
  # The stubs do not tell the modes apart.
  (r,) = scipy.linalg.qr(x.T, mode='r', check_finite=False)  # pyright: ignore
  return np.ascontiguousarray(np.transpose(r[:n]))


def one_hot(labels: Int[Array, 'N']) -> Float[np.ndarray, 'N C']:
  """[N, C] f64, C being the largest label and one more."""
  return np.eye(int(np.max(labels)) + 1)[np.asarray(labels)]


def centre(features: Real[Array, 'N D']) -> Float[np.ndarray, 'N D']:
  """[N, D] f64, less their mean: in f64, before any square is taken."""
  x = np.asarray(features, np.float64)
  return x - x.mean(axis=0)


def rank_tolerance(values: Float[Array, 'K'], size: int) -> Float[Array, '']:
  """Eigenvalues up to this are rounding of zero.

  Args:
    values: [K], of a positive semi-definite matrix.
    size: the longer side of the matrix of which it is the Gram matrix.
  """
  return size * jnp.finfo(values.dtype).eps * jnp.max(values)
