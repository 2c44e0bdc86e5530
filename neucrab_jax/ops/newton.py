# SPDX-License-Identifier: Apache-2.0
"""L2-regularised multinomial logistic regression to its very optimum.

    loss = 1/N Σ_n CE(W x_n + b, y_n) + l2/2 ‖W‖²

Where a score is the least loss itself, and the penalty is small, `linear`'s
L-BFGS needs hundreds of steps in f64 and may not be there yet. Newton's need a
dozen. Their directions are found by conjugate gradients in f32, which is enough
for a direction; the loss and its gradient are in f64.

Axes: N examples, D features, C classes.

Reference:
  Nocedal and Wright, "Numerical Optimization", 2006, algorithm 7.1.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int
from scipy import special
from scipy.linalg import lapack

from neucrab_jax.ops import blocks, float64
from neucrab_jax.ops.linear import Linear
from neucrab_jax.typing import Array

# A step is taken if the loss falls by this share of what its slope promises,
# but for the rounding of a mean in f64; else half of it is tried.
_SUFFICIENT = 1e-4
_ROUNDING = 1e-15
_SMALLEST_STEP = 2.0**-30

# Products with the Hessian for one direction, at most.
_MOST_PRODUCTS = 100

# What to add to a diagonal of ones that rounding left indefinite: f32 keeps
# seven digits, so the last always does.
_JITTERS = (1e-6, 1e-4, 1e-2)


def _inverse(matrix: np.ndarray) -> np.ndarray:
  """Of [D, D] f32 with ones on the diagonal, that rounding left indefinite.

  Explicit, as SciPy lets no other thread go on while it solves, and there are
  hundreds of right-hand sides one after the other.
  """
  d = len(matrix)
  for jitter in _JITTERS:
    matrix[np.diag_indices(d)] = 1 + jitter
    # The stubs lack LAPACK's routines.
    factor, failed = lapack.spotrf(matrix, lower=1)  # pyright: ignore
    if not failed:
      inverse, _ = lapack.spotri(factor, lower=1)  # pyright: ignore
      lower = np.tril(inverse)
      return lower + np.tril(lower, -1).T
  return np.eye(d, dtype=np.float32)


def _preconditioner(
  x: np.ndarray, p: np.ndarray, l2: np.ndarray
) -> Callable[[np.ndarray], np.ndarray]:
  """Divides [C, D] by the Hessian of one class, the same for all of them.

  Args:
    x: [N, D] f32.
    p: [N, C] f32, the probabilities of the classes.
    l2: [D], the penalty.
  """
  count = len(p) * (p.shape[1] - 1)
  weights = np.sum(p * (1 - p), axis=1, keepdims=True) / count
  weighted = x * np.sqrt(weights)
  hessian = weighted.T @ weighted
  diagonal = np.diagonal(hessian) + l2  # in f64: a penalty can be of any size
  floor = np.finfo(np.float32).eps * max(diagonal.max(), 1e-20)
  scale = 1 / np.sqrt(np.maximum(diagonal, floor))
  hessian *= scale.astype(np.float32)
  hessian *= scale.astype(np.float32)[:, None]
  inverse = _inverse(hessian)

  def divide(gradient):
    scaled = gradient * scale
    size = np.abs(scaled).max() or 1.0
    solved = (scaled / size).astype(np.float32) @ inverse
    return solved.astype(np.float64) * scale * size

  return divide


def _direction(
  x: np.ndarray, p: np.ndarray, l2: np.ndarray, gradient: np.ndarray
) -> np.ndarray:
  """Minus the inverse Hessian times the gradient, [C, D], as near as pays."""
  divide = _preconditioner(x, p, l2)

  def hessian_times(v):
    moved = v.astype(np.float32) @ x.T  # [C, N]
    moved = (moved - np.sum(p.T * moved, axis=0)) * p.T
    return (moved @ x).astype(np.float64) / len(x) + l2 * v

  residual = -gradient
  ahead = divide(residual)
  along, found = ahead, np.zeros_like(gradient)
  size = np.sum(residual * ahead)
  # Nearer and nearer, so that the last steps are Newton's own.
  enough = size * min(0.3, np.sqrt(np.abs(gradient).max())) ** 2
  for _ in range(_MOST_PRODUCTS):
    product = hessian_times(along)
    curvature = np.sum(along * product)
    if not curvature > 0:  # Nothing but rounding is left.
      break
    share = size / curvature
    found += share * along
    residual -= share * product
    ahead = divide(residual)
    before, size = size, np.sum(residual * ahead)
    if not size > enough:
      break
    along = ahead + size / before * along
  return found


def fit(
  features: Float[Array, 'N D'],
  labels: Int[Array, 'N'],
  *,
  num_classes: int,
  l2: float,
  max_iterations: int,
  tolerance: float,
) -> Linear:
  """Fits a linear classifier; the bias is not regularised.

  >>> x, y = np.array([[-1.0], [1.0]] * 4), np.arange(8) % 2
  >>> options = dict(num_classes=2, l2=0.1, max_iterations=9, tolerance=1e-9)
  >>> found = fit(x, y, **options)
  >>> bool(found.converged), found.kernel.shape
  (True, (1, 2))

  Args:
    features: [N, D].
    labels: [N], integers from 0 to C − 1.
    num_classes: C, at least 2.
    l2: strength of the penalty, not zero.
    max_iterations: Newton's steps.
    tolerance: the gradient's largest entry at which to stop, where the mean
      variance of the features is one.

  Returns:
    The classifier, in f64.

  Raises:
    ValueError: `features` is not [N, D], or the labels are not as many.
  """
  blocks.check(features, 1, labels)
  given = np.asarray(features)
  n, d = given.shape
  x = np.empty((n, d + 1))
  x[:, :d] = float64.centre(given)
  centre = np.asarray(given[0], np.float64) - x[0, :d]
  size = np.sqrt(np.mean(x[:, :d] ** 2)) or 1.0
  x /= size
  x[:, d] = 1
  in_f32 = x.astype(np.float32)
  members = float64.one_hot(labels)
  # The penalty is on the kernel of the features as given.
  penalty = np.append(np.full(d, l2 / size**2), 0)

  def loss_of(weights):
    logs = special.log_softmax((weights @ x.T).T, axis=1)
    loss = -np.sum(members * logs) / n + 0.5 * np.sum(penalty * weights**2)
    p = np.exp(logs)
    return loss, (p - members).T @ x / n + penalty * weights, p

  weights = np.zeros((num_classes, d + 1))
  loss, gradient, p = loss_of(weights)
  iteration, step = 0, 1.0
  while iteration < max_iterations and step >= _SMALLEST_STEP:
    if np.abs(gradient).max() <= tolerance:
      break
    direction = _direction(in_f32, p.astype(np.float32), penalty, gradient)
    slope = np.sum(gradient * direction)
    step = 1.0
    while step >= _SMALLEST_STEP:
      tried = loss_of(weights + step * direction)
      allowed = _SUFFICIENT * step * slope + _ROUNDING * abs(loss)
      if tried[0] <= loss + allowed:
        weights = weights + step * direction
        loss, gradient, p = tried
        break
      step /= 2
    iteration += 1
  kernel = weights[:, :d].T / size
  return Linear(
    kernel=kernel,
    bias=weights[:, d] - centre @ kernel,
    num_iterations=iteration,
    converged=bool(np.abs(gradient).max() <= tolerance),
  )
