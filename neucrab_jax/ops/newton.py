# SPDX-License-Identifier: Apache-2.0
"""L2-regularised multinomial logistic regression to its very optimum.

    loss = 1/N Σ_n CE(W x_n + b, y_n) + l2/2 ‖W‖²

Where a score is the least loss itself, and the penalty is small, `linear`'s
L-BFGS needs hundreds of steps in f64 and may not be there yet. Newton's need a
dozen. Their directions are found by conjugate gradients in f32, which is enough
for a direction; the loss and its gradient are in f64, of some examples at a
time.

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
  hessian = np.zeros((x.shape[1],) * 2, np.float32)
  for rows in float64.row_blocks(*x.shape):
    own = p[rows]
    weights = np.sum(own * (1 - own), axis=1, keepdims=True) / count
    weighted = x[rows] * np.sqrt(weights)
    hessian += weighted.T @ weighted
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

  blocks_of = tuple(float64.row_blocks(*x.shape))

  def hessian_times(v):
    in_f32 = v.astype(np.float32)
    total = np.zeros_like(in_f32)
    for rows in blocks_of:
      own = p[rows].T
      moved = in_f32 @ x[rows].T  # [C, B]
      moved = (moved - np.sum(own * moved, axis=0)) * own
      total += moved @ x[rows]
    return total.astype(np.float64) / len(x) + l2 * v

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
    features: [N, D]; they are centred and scaled in their own precision.
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
  blocks_of = tuple(float64.row_blocks(n, d + 1))
  first = np.asarray(given[0], np.float64)
  moved = sum(np.sum(given[rows] - first, axis=0) for rows in blocks_of) / n
  centre = first + moved
  squares = sum(
    np.sum((given[rows] - first - moved) ** 2) for rows in blocks_of
  )
  size = np.sqrt(squares / given.size) or 1.0
  x = np.ones((n, d + 1), given.dtype)
  for rows in blocks_of:
    x[rows, :d] = (given[rows] - first - moved) / size
  in_f32 = x.astype(np.float32, copy=False)
  # The penalty is on the kernel of the features as given.
  penalty = np.append(np.full(d, l2 / size**2), 0)

  def loss_of(weights):
    loss, gradient = 0.0, np.zeros_like(weights)
    p = np.empty((n, num_classes), np.float32)
    for rows in blocks_of:
      part = x[rows].astype(np.float64, copy=False)
      own = np.arange(len(part)), labels[rows]
      logs = special.log_softmax(part @ weights.T, axis=1)
      loss -= np.sum(logs[own])
      errors = np.exp(logs)
      p[rows] = errors
      errors[own] -= 1
      gradient += errors.T @ part
    loss = loss / n + 0.5 * np.sum(penalty * weights**2)
    return loss, gradient / n + penalty * weights, p

  weights = np.zeros((num_classes, d + 1))
  loss, gradient, p = loss_of(weights)
  iteration, step = 0, 1.0
  while iteration < max_iterations and step >= _SMALLEST_STEP:
    if np.abs(gradient).max() <= tolerance:
      break
    direction = _direction(in_f32, p, penalty, gradient)
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
