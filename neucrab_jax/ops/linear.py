# SPDX-License-Identifier: Apache-2.0
"""L2-regularised multinomial logistic regression by L-BFGS.

    loss = 1/N Σ_n w_n CE(x_n W + b, y_n) + l2/2 ‖W‖²

Axes: N examples, D features, C classes.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct
from jaxtyping import Bool, Float, Int, Real

from neucrab_jax.ops import blocks, standardise
from neucrab_jax.typing import Array

# The gradient's largest entry at which to stop, where the mean variance of the
# features is one. Not far above the rounding of an f32 mean.
GRADIENT_TOLERANCE = 1e-5


@struct.dataclass
class Linear:
  kernel: Array  # [D, C]
  bias: Array  # [C]
  num_iterations: Array  # []
  converged: Array  # [], false if max_iterations ended it


@functools.partial(jax.jit, static_argnames=('num_classes', 'max_iterations'))
def _fit(
  x, labels, weights, l2, num_dims, tolerance, *, num_classes, max_iterations
):
  x, affine = standardise.standardise(x[None], weights[None], num_dims)
  x, weights = x[0], weights / jnp.sum(weights)
  one_hot = jax.nn.one_hot(labels, num_classes, dtype=x.dtype)
  # The penalty is on the kernel of the features as given.
  l2 = l2 / affine.scale**2

  def loss_of(parameters):
    kernel, bias = parameters
    logits = jnp.matmul(x, kernel, precision=blocks.PRECISION) + bias
    losses = optax.softmax_cross_entropy(logits, one_hot)
    return jnp.sum(weights * losses) + 0.5 * l2 * jnp.sum(kernel**2)

  optimizer = optax.lbfgs()
  value_and_grad = optax.value_and_grad_from_state(loss_of)

  def step(state) -> Any:
    parameters, optimizer_state, i, _ = state
    value, gradient = value_and_grad(parameters, state=optimizer_state)
    updates, optimizer_state = optimizer.update(
      gradient,
      optimizer_state,
      parameters,
      value=value,
      grad=gradient,
      value_fn=loss_of,
    )
    parameters = optax.apply_updates(parameters, updates)
    gradient = optax.tree.get(optimizer_state, 'grad')
    return (
      parameters,
      optimizer_state,
      i + 1,
      optax.tree.norm(gradient, ord=jnp.inf),
    )

  def unfinished(state):
    return (state[2] < max_iterations) & (state[3] > tolerance)

  parameters = (
    jnp.zeros((x.shape[1], num_classes), x.dtype),
    jnp.zeros(num_classes, x.dtype),
  )
  state = (
    parameters,
    optimizer.init(parameters),
    0,
    jnp.array(jnp.inf, x.dtype),
  )
  (kernel, bias), _, num_iterations, steepest = jax.lax.while_loop(
    unfinished, step, state
  )
  kernel = kernel / affine.scale
  shift = jnp.matmul(affine.centre, kernel, precision=blocks.PRECISION)
  return Linear(
    kernel=kernel,
    bias=bias - shift,
    num_iterations=num_iterations,
    converged=steepest <= tolerance,
  )


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
  weights = blocks.as_float(example_weights)
  if weights.shape[-1] != n or weights.ndim > 2:
    raise ValueError(
      f'Expected weights of shape [{n}] or [S, {n}], got {weights.shape}.'
    )
  run = functools.partial(
    _fit, num_classes=num_classes, max_iterations=max_iterations
  )
  if weights.ndim == 2:
    run = jax.vmap(run, in_axes=(None, None, 0, None, None, None))
  x = blocks.pad(blocks.as_float(features), (n, blocks.bucket(d)))
  labels = labels if blocks.is_traced(labels) else np.asarray(labels)
  found = run(x, labels, weights, l2, d, tolerance)
  shape = (*found.kernel.shape[:-2], d, num_classes)
  return dataclasses.replace(found, kernel=blocks.crop(found.kernel, shape))


@jax.jit
def logits(
  classifier: Linear, features: Float[Array, 'N D']
) -> Float[Array, '*S N C']:
  """Unnormalised log-probabilities of the classes.

  Args:
    classifier: from `fit`, one or S of them.
    features: [N, D].

  Returns:
    [N, C] or [S, N, C]
  """
  product = jnp.matmul(features, classifier.kernel, precision=blocks.PRECISION)
  return product + classifier.bias[..., None, :]


def predict(
  classifier: Linear, features: Float[Array, 'N D']
) -> Int[Array, '*S N']:
  """The most probable class: [N] or [S, N], the smallest of equals."""
  return jnp.argmax(logits(classifier, features), axis=-1)
