# SPDX-License-Identifier: Apache-2.0
"""Linear: held-out accuracy of a logistic regression, a control.

Axes: N examples, D features, C classes, S splits, R weightings.
"""

import numpy as np
from jaxtyping import Float, Int

from neucrab_jax.measures import measure
from neucrab_jax.ops import linear as linear_ops
from neucrab_jax.ops import stratified
from neucrab_jax.typing import Array, Key


def linear(
  *,
  features: Float[Array, 'N D'],
  labels: Int[Array, 'N'],
  key: Key,
  example_weights: Float[Array, 'R N'],
  l2: float = 1e-3,
  num_splits: int = 5,
  max_iterations: int = 200,
) -> measure.Score:
  """How well a linear classifier on frozen features does on held-out examples.

  Args:
    features: [N, D].
    labels: [N], integers from 0 to C − 1.
    key: of the splits.
    example_weights: [R, N]; the classifiers are those of all.
    l2: strength of the penalty on the weights of the mean loss; 1e-3 is
      scikit-learn's C = 1 at 1,000 examples.
    num_splits: S, each of three quarters for training and one held out.
    max_iterations: of L-BFGS.

  Returns:
    [R] mean accuracies over splits, in [0, 1], and the standard deviation over
    splits.

  Raises:
    ValueError: if no class has two examples.

  Reference:
    Li et al., "Ranking Neural Checkpoints", CVPR 2021, section 3.1.
  """
  held_out = stratified.held_out(key, labels, num_splits=num_splits)
  std = np.std(features, axis=0)
  x = (features - np.mean(features, axis=0)) / np.where(std > 0, std, 1)
  classifiers = linear_ops.fit(
    x,
    labels,
    num_classes=int(np.max(labels)) + 1,
    l2=l2,
    max_iterations=max_iterations,
    example_weights=(~held_out).astype(x.dtype),
  )
  unfinished = num_splits - int(np.sum(classifiers.converged))
  warnings = ()
  if unfinished:
    warnings = (
      f'L-BFGS stopped at {max_iterations} iterations without converging on '
      f'{unfinished} of {num_splits} splits.',
    )
  right = np.asarray(linear_ops.predict(classifiers, x)) == labels
  accuracies = stratified.mean_held_out(right, held_out, example_weights)
  return measure.Score(
    accuracies.mean(axis=1), accuracies[0].std(ddof=1), warnings
  )


MEASURE = measure.Measure(
  linear,
  variant='held-out accuracy on stratified quarters, standardised features',
  spread='standard deviation over splits',
  limits={
    'l2': (0.0, None),
    'num_splits': (3, None),
    'max_iterations': (1, None),
  },
)
