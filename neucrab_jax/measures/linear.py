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


def _pull(
  spectrum: float64.Spectrum,
  labels: np.ndarray,
  logits: np.ndarray,
  held_out: np.ndarray,
  l2: float,
) -> Float[np.ndarray, 'N']:
  """How the accuracy on held-out examples changes by those trained on.

  To first order, by a curvature of the loss that is alike for all classes; and
  as `ridge_loo` does, by the density of margins near zero.

  Args:
    spectrum: of the features.
    labels: [N].
    logits: [N, C], of the classifier.
    held_out: [N] bool.
    l2: of the classifier.

  Returns:
    [N], by the sum over held-out examples; zero for these themselves.
  """
  rows = np.flatnonzero(held_out)
  own, rival = labels[rows], logits[rows]
  places = np.arange(len(rows))
  margin = rival[places, own]
  rival[places, own] = -np.inf
  other = np.argmax(rival, axis=1)
  margin = margin - rival[places, other]
  width = margin.std()
  n, values = len(labels) - len(rows), spectrum.values
  if not width or not len(values):
    return np.zeros(len(labels))
  density = np.exp(-0.5 * (margin / width) ** 2) / (width * np.sqrt(2 * np.pi))
  slopes = np.zeros_like(logits)
  slopes[rows, own] = density
  slopes[rows, other] = -density
  p = special.softmax(logits, axis=1)
  curvature = np.mean((p * (1 - p))[~held_out])
  curved = curvature * values / len(labels) + l2
  leverage = curvature * float64.leverages(spectrum.left, values / curved) / n
  errors = float64.one_hot(labels) - p
  errors[held_out] = 0
  # As large as the features, these are never all there.
  blocks = tuple(float64.row_blocks(*spectrum.left.shape))
  by_kernel = sum(spectrum.coordinates(b).T @ slopes[b] for b in blocks)
  by_kernel = by_kernel / curved[:, None] / n
  found = np.concatenate(
    [np.sum(spectrum.coordinates(b) @ by_kernel * errors[b], 1) for b in blocks]
  )
  return found / (1 - np.minimum(leverage, _LARGEST_LEVERAGE))


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
  spectrum = float64.spectrum(features, float64.standardise)
  x = np.empty((len(features), max(len(spectrum.values), 1)), np.float32)
  blocks = tuple(float64.row_blocks(*x.shape))
  for rows in blocks:
    x[rows] = spectrum.coordinates(rows)
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
  logits = [
    linear_ops.logits(classifiers, spectrum.coordinates(rows))
    for rows in blocks
  ]
  logits = np.concatenate(logits, axis=1)
  for split, chosen in zip(logits, held_out, strict=True):
    right = np.argmax(split, axis=1) == labels
    accuracy = right[chosen].mean()
    accuracies.append(accuracy)
    changes = chosen * (right - accuracy)
    changes = changes + _pull(spectrum, labels, split, chosen, l2)
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
