# SPDX-License-Identifier: Apache-2.0
"""Linear: held-out accuracy of a logistic regression, a control.

Axes: N examples, D features, C classes, S splits.
"""

import numpy as np
from jaxtyping import Float, Int
from scipy import special

from neucrab_jax.measures import measure
from neucrab_jax.ops import float64, stratified
from neucrab_jax.ops import linear as linear_ops
from neucrab_jax.typing import Array, Key

# An example has no more of its own prediction than this.
_LARGEST_LEVERAGE = 0.9


def _judge(
  x: Float[np.ndarray, 'N K'],
  values: Float[np.ndarray, 'R'],
  kernel: np.ndarray,
  bias: np.ndarray,
  labels: np.ndarray,
  held_out: np.ndarray,
  l2: float,
) -> tuple[float, Float[np.ndarray, 'N']]:
  """The accuracy on held-out examples, and how each example changes it.

  Those trained on: to first order, by a curvature of the loss that is alike for
  all classes; and as `ridge_loo` does, by the density of margins near zero.
  Examples by classes can be as large as the features, and are never all there.

  Args:
    x: [N, K], coordinates on the features' principal axes.
    values: [R], their sums of squares; K is R, or 1 where R is 0.
    kernel: [K, C], of the classifier of the coordinates.
    bias: [C], of the classifier.
    labels: [N].
    held_out: [N] bool.
    l2: of the classifier.

  Returns:
    The accuracy, and [N] by its sum over held-out examples.
  """
  n = len(labels)
  blocks = tuple(float64.row_blocks(n, max(kernel.shape)))

  def blocks_of_logits():
    for rows in blocks:
      coordinates = x[rows].astype(np.float64)
      yield rows, coordinates, coordinates @ kernel + bias

  rivals = np.zeros(n, np.int64)
  margins, right = np.zeros(n), np.zeros(n, bool)
  curvature = 0.0
  for rows, _, logits in blocks_of_logits():
    own = np.arange(len(logits)), labels[rows]
    right[rows] = np.argmax(logits, axis=1) == labels[rows]
    p = special.softmax(logits[~held_out[rows]], axis=1)
    curvature += np.sum(p * (1 - p))
    margins[rows] = logits[own]
    logits[own] = -np.inf
    rivals[rows] = np.argmax(logits, axis=1)
    margins[rows] -= np.max(logits, axis=1)
  accuracy = right[held_out].mean()
  changes = held_out * (right - accuracy)
  num_trained = n - held_out.sum()
  width = margins[held_out].std()
  if not width or not len(values):
    return float(accuracy), changes
  density = np.exp(-0.5 * (margins / width) ** 2) / (width * np.sqrt(2 * np.pi))
  density *= held_out
  by_kernel = np.zeros_like(kernel)
  for rows in blocks:
    slopes = np.zeros((rows.stop - rows.start, len(bias)))
    places = np.arange(len(slopes))
    slopes[places, labels[rows]] = density[rows]
    slopes[places, rivals[rows]] = -density[rows]
    by_kernel += x[rows].T @ slopes
  curvature /= num_trained * len(bias)
  curved = curvature * values / n + l2
  leverage = float64.leverages(x, 1 / curved)
  leverage = np.minimum(curvature * leverage / num_trained, _LARGEST_LEVERAGE)
  by_kernel = by_kernel / curved[:, None] / num_trained
  for rows, coordinates, logits in blocks_of_logits():
    errors = -special.softmax(logits, axis=1)
    errors[np.arange(len(errors)), labels[rows]] += 1
    errors[held_out[rows]] = 0
    pull = np.sum(coordinates @ by_kernel * errors, axis=1)
    changes[rows] += pull / (1 - leverage[rows])
  return float(accuracy), changes


def linear(
  *,
  features: Float[Array, 'N D'],
  labels: Int[Array, 'N'],
  key: Key,
  l2: float = 1e-3,
  num_splits: int = 5,
  max_iterations: int = 200,
) -> measure.Score:
  """How well a linear classifier on frozen features does on held-out examples.

  Args:
    features: [N, D].
    labels: [N], integers from 0 to C − 1.
    key: of the splits.
    l2: strength of the penalty on the weights of the mean loss; 1e-3 is
      scikit-learn's C = 1 at 1,000 examples.
    num_splits: S, each of three quarters for training and one held out.
    max_iterations: of L-BFGS.

  Returns:
    The mean accuracy over splits, in [0, 1], and the standard deviation over
    splits.

  Raises:
    ValueError: if no class has two examples.

  Reference:
    Li et al., "Ranking Neural Checkpoints", CVPR 2021, section 3.1.
  """
  held_out = stratified.held_out(key, labels, num_splits=num_splits)
  # On their principal axes, where there are as few as N, and the penalty the
  # same.
  x, values = float64.coordinates(features, float64.standardise)
  x = x.astype(np.float32, copy=False)
  labels = np.asarray(labels)
  classifiers = linear_ops.fit(
    x,
    labels,
    num_classes=int(np.max(labels)) + 1,
    l2=l2,
    max_iterations=max_iterations,
    example_weights=~held_out,
  )
  unfinished = num_splits - int(np.sum(classifiers.converged))
  warnings = ()
  if unfinished:
    warnings = (
      f'L-BFGS stopped at {max_iterations} iterations without converging on '
      f'{unfinished} of {num_splits} splits.',
    )
  accuracies, influence = [], np.zeros(len(labels))
  for kernel, bias, chosen in zip(
    classifiers.kernel, classifiers.bias, held_out, strict=True
  ):
    accuracy, changes = _judge(x, values, kernel, bias, labels, chosen, l2)
    accuracies.append(accuracy)
    influence += changes * len(labels) / chosen.sum() / num_splits
  return measure.Score(
    np.mean(accuracies),
    influence=influence,
    std=np.std(accuracies, ddof=1),
    warnings=warnings,
  )


MEASURE = measure.Measure(
  linear,
  bounds=lambda num_classes: (0.0, 1.0),
  variant='held-out accuracy on stratified quarters, standardised features',
  leaves_out=True,
  spread='standard deviation over splits',
  limits={
    'l2': (0.0, None),
    'num_splits': (3, None),
    'max_iterations': (1, None),
  },
)
