# SPDX-License-Identifier: Apache-2.0
"""L2-regularised multinomial logistic regression by L-BFGS.

    loss = 1/N Σ_n w_n CE(x_n W + b, y_n) + l2/2 ‖W‖²

Axes: N examples, D features, C classes.
"""

import collections
import dataclasses
from collections.abc import Callable

import jax
import numpy as np
from jaxtyping import Bool, Float, Int, Real

from neucrab_jax.ops import blocks, float64
from neucrab_jax.typing import Array

# The gradient's largest entry at which to stop, where the mean variance of the
# features is one. Not far above the rounding of an f32 mean.
GRADIENT_TOLERANCE = 1e-5

# Of the variance of a feature, what is taken for the curvature of the loss by
# its weights. Any would do; with this the fewest steps were needed on features
# of real checkpoints.
_CURVATURE = 3e-5

# Steps that L-BFGS knows of when it takes the next.
_REMEMBERED = 10


# A step, [P], what the gradient changed by in it, [P], and their product.
_Step = tuple[np.ndarray, np.ndarray, float]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Linear:
  kernel: np.ndarray  # [D, C]
  bias: np.ndarray  # [C]
  num_iterations: np.ndarray | int  # []
  converged: np.ndarray | bool  # [], false if max_iterations ended it


# A step is taken if the loss falls by this share of what its slope promises...
_SUFFICIENT = 1e-4
# ...but for the rounding of a mean of losses in f32; else half of it is tried.
_ROUNDING = 1e-7
_SMALLEST_STEP = 2.0**-20


def _direction(
  gradient: np.ndarray, steps: collections.deque[_Step]
) -> np.ndarray:
  """Minus the gradient times an inverse Hessian, by the two-loop recursion.

  Args:
    gradient: [P].
    steps: the last ones.

  Reference:
    Nocedal and Wright, "Numerical Optimization", 2006, algorithm 7.4.
  """
  q = gradient.copy()
  shares = []
  for step, change, product in reversed(steps):
    share = (step @ q) / product
    shares.append(share)
    q -= share * change
  if steps:
    _, change, product = steps[-1]
    q *= product / (change @ change)
  for (step, change, product), share in zip(
    steps, reversed(shares), strict=True
  ):
    q += (share - (change @ q) / product) * step
  return -q


def _minimise(
  loss_of: Callable[[np.ndarray], tuple[float, np.ndarray, float]],
  parameters: np.ndarray,
  *,
  max_iterations: int,
  tolerance: float,
) -> tuple[np.ndarray, int, float]:
  """L-BFGS, with a few vectors' work beside each loss.

  SciPy's spends more time between the losses of a wide classifier than in them.

  Args:
    loss_of: to the loss, its gradient, and how steep it is.
    parameters: to start from, [P].
    max_iterations: steps.
    tolerance: how steep it may be at the end.

  Returns:
    The parameters, the number of steps, and how steep it is there.
  """
  loss, gradient, steepest = loss_of(parameters)
  steps = collections.deque(maxlen=_REMEMBERED)
  for iteration in range(max_iterations):
    if steepest <= tolerance:
      return parameters, iteration, steepest
    direction = _direction(gradient, steps)
    slope = gradient @ direction
    size = 1.0 if steps else min(1.0, 1 / np.abs(gradient).sum())
    while True:
      step = size * direction
      new_loss, new_gradient, new_steepest = loss_of(parameters + step)
      allowed = _SUFFICIENT * size * slope + _ROUNDING * abs(loss)
      if new_loss <= loss + allowed:
        break
      size /= 2
      if size < _SMALLEST_STEP:
        return parameters, iteration, steepest
    change = new_gradient - gradient
    # Of a convex loss all are positive, but for rounding.
    product = step @ change
    if product > 0:
      steps.append((step, change, product))
    parameters = parameters + step
    loss, gradient, steepest = new_loss, new_gradient, new_steepest
  return parameters, max_iterations, steepest


def _log_softmax(logits: np.ndarray) -> np.ndarray:
  """By rows; SciPy's takes longer to begin than a small one takes."""
  shifted = logits - logits.max(axis=1, keepdims=True)
  return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def _fit(
  x, labels, used, weights, l2, start, *, max_iterations, tolerance
) -> Linear:
  """Fits to those used of standardised features, in their own precision.

  Args:
    x: [N, D].
    labels: [N].
    used: [M], which of the examples.
    weights: [M], of these.
    l2: strength of the penalty.
    start: the classifier to start from.
    max_iterations: of L-BFGS.
    tolerance: where to stop.
  """
  shape = start.kernel.shape
  shares = weights / weights.sum()
  blocks_of = tuple(float64.row_blocks(len(used), max(shape)))

  def load(rows):
    chosen = used[rows]
    return x[chosen], labels[chosen], shares[rows]

  # A copy of all is as large as the features: each is made when it is needed,
  # but for one that is all.
  parts = [load(rows) for rows in blocks_of] if len(blocks_of) == 1 else None

  def blocks_used():
    return parts or (load(rows) for rows in blocks_of)

  variances = sum(
    share @ np.square(part, dtype=np.float64)
    for part, _, share in blocks_used()
  )
  # So that the loss is curved alike in all directions, which saves steps.
  scale = np.sqrt(variances * _CURVATURE + l2)
  scale = np.where(scale > 0, scale / scale.max(), 1)[:, None]

  def split(parameters):
    kernel, bias = parameters[: -shape[1]], parameters[-shape[1] :]
    return kernel.reshape(shape) / scale, bias

  def loss_of(parameters):
    kernel, bias = split(parameters)
    in_kind = kernel.astype(x.dtype), bias.astype(x.dtype)
    loss, by_kernel, by_bias = 0.0, l2 * kernel, np.zeros(shape[1])
    for part, own, share in blocks_used():
      logs = _log_softmax(part @ in_kind[0] + in_kind[1])
      places = np.arange(len(own)), own
      loss -= share @ logs[places].astype(np.float64)
      errors = np.exp(logs)
      errors[places] -= 1
      errors *= share.astype(x.dtype)[:, None]
      by_kernel = by_kernel + (part.T @ errors).astype(np.float64)
      by_bias = by_bias + np.sum(errors, axis=0, dtype=np.float64)
    return (
      loss + 0.5 * l2 * np.sum(kernel**2),
      np.append((by_kernel / scale).ravel(), by_bias),
      max(np.abs(by_kernel).max(), np.abs(by_bias).max()),
    )

  found, num_iterations, steepest = _minimise(
    loss_of,
    np.append((start.kernel * scale).ravel(), start.bias),
    max_iterations=max_iterations,
    tolerance=tolerance,
  )
  kernel, bias = split(found)
  return Linear(
    kernel=kernel,
    bias=bias,
    num_iterations=num_iterations,
    converged=bool(steepest <= tolerance),
  )


def _standard(
  given: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.floating | float]:
  """Features of mean zero and mean variance one, as they were given.

  By blocks, so that there is no copy in f64.

  Args:
    given: [N, D].

  Returns:
    [N, D], what was taken from them [D], and then divided by.
  """
  n, d = given.shape
  blocks = tuple(float64.row_blocks(n, d))
  first = np.asarray(given[0], np.float64)
  mean = sum(np.sum(given[b] - first, axis=0) for b in blocks) / n
  squares = sum(np.sum((given[b] - first - mean) ** 2) for b in blocks)
  size = np.sqrt(squares / given.size) or 1.0
  x = np.empty_like(given)
  for rows in blocks:
    x[rows] = (given[rows] - first - mean) / size
  return x, first + mean, size


def fit(
  features: Float[Array, 'N D'],
  labels: Int[Array, 'N'],
  *,
  num_classes: int,
  l2: float = 1e-4,
  max_iterations: int = 200,
  tolerance: float = GRADIENT_TOLERANCE,
  example_weights: Real[Array, '... N'] | Bool[Array, '... N'] | None = None,
) -> Linear:
  """Fits a linear classifier; the bias is not regularised.

  Splits are weights: with [S, N] of them, S classifiers are fitted at once.

  >>> features, labels = np.array([[-1.0], [1.0]] * 4), np.arange(8) % 2
  >>> classifier = fit(features, labels, num_classes=2)
  >>> predict(classifier, features).tolist() == labels.tolist()
  True

  Args:
    features: [N, D].
    labels: [N], integers from 0 to C − 1.
    num_classes: C.
    l2: strength of the penalty. scikit-learn's C is 1 / (l2 Σ_n w_n).
    max_iterations: of L-BFGS.
    tolerance: the gradient's largest entry at which to stop.
    example_weights: [N] or [S, N], not negative, zero to leave an example out;
      all one if not given.

  Returns:
    The classifier, or S of them with a leading axis.

  Raises:
    ValueError: `features` is not [N, D], or labels or weights are not as many.
  """
  blocks.check(features, 1, labels)
  n, d = features.shape
  if example_weights is None:
    example_weights = np.ones(n)
  weights = np.asarray(example_weights, np.float64)
  if weights.shape[-1] != n or weights.ndim > 2:
    raise ValueError(
      f'Expected weights of shape [{n}] or [S, {n}], got {weights.shape}.'
    )
  x, centre, size = _standard(np.asarray(features))
  found, classifier = (
    [],
    Linear(np.zeros((d, num_classes)), np.zeros(num_classes), 0, False),
  )
  for split in np.atleast_2d(weights):
    used = np.flatnonzero(split)
    classifier = _fit(
      x,
      np.asarray(labels),
      used,
      split[used],
      # The penalty is on the kernel of the features as given.
      l2 / size**2,
      # Splits share most of their examples, and nearly all of the way.
      classifier,
      max_iterations=max_iterations,
      tolerance=tolerance,
    )
    kernel = classifier.kernel / size
    found.append(
      dataclasses.replace(
        classifier, kernel=kernel, bias=classifier.bias - centre @ kernel
      )
    )
  if weights.ndim == 1:
    return found[0]
  return jax.tree.map(lambda *fields: np.stack(fields), *found)


def logits(
  classifier: Linear, features: Float[Array, 'N D']
) -> Float[np.ndarray, '*S N C']:
  """Unnormalised log-probabilities of the classes.

  Args:
    classifier: from `fit`, one or S of them.
    features: [N, D].

  Returns:
    [N, C] or [S, N, C]
  """
  product = float64.as_given(features) @ classifier.kernel
  return product + classifier.bias[..., None, :]


def predict(
  classifier: Linear, features: Float[Array, 'N D']
) -> Int[np.ndarray, '*S N']:
  """The most probable class: [N] or [S, N], the smallest of equals."""
  return np.argmax(logits(classifier, features), axis=-1)
