# SPDX-License-Identifier: Apache-2.0
"""Measured and known together: scores, size and history, weighed.

The weights are learnt on tasks other than the one at hand, and so is the
history of each of them: neither that task's accuracies nor those of a task of
the same data have a part in what is predicted for it.

Axes: P predictors, T tasks, M checkpoints.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float
from scipy import optimize

from neucrab_jax.benchmark import history

# Of each weight, as a share of its evidence's mean square: it decides where
# several predictors say the same.
_RIDGE = 0.05
# The same, of the largest, for a predictor that counts nowhere.
_FLOOR = 1e-9
# No order of two says anything.
_MIN_CHECKPOINTS = 3


def _evidence(
  scores: Float[np.ndarray, 'P M'], others: Float[np.ndarray, 'S M']
) -> Float[np.ndarray, 'M n']:
  """History and scores on one task, in normal scores, 0 where not known.

  History is a forecast that has seen the scores, too: how far they go along
  with the other tasks is known before anything is fine-tuned. Beside it each
  predictor stands for itself, for tasks that want what no other does.
  """
  measured = (~np.isnan(scores)).any(axis=0)
  enough = (~np.isnan(scores)).sum(axis=1) >= _MIN_CHECKPOINTS
  forecast = history.forecast(others, scores=scores[enough]).mean
  columns = [np.where(measured, forecast, np.nan), *scores]
  return np.nan_to_num(np.stack([*map(history.normal_scores, columns)], axis=1))


def _weights(
  gram: Float[np.ndarray, 'n n'], products: Float[np.ndarray, 'n']
) -> Float[np.ndarray, 'n']:
  """Ridge regression with weights of zero and more.

  A predictor that looks better the worse a checkpoint does has no weight.
  """
  squares = np.diag(gram)
  ridge = _RIDGE * squares + _FLOOR * squares.max()
  root = np.linalg.cholesky(gram + np.diag(ridge))  # The product is root rootᵀ.
  found, _ = optimize.nnls(root.T, np.linalg.solve(root, products))
  return found


def predict(
  scores: Float[np.ndarray, 'P T M'],
  accuracies: Float[np.ndarray, 'T M'],
  t: int,
  *,
  same: Bool[np.ndarray, 'T T'],
) -> Float[np.ndarray, 'M'] | None:
  """What scores and history say together of one task.

  Args:
    scores: [P, T, M], NaN where there is none.
    accuracies: [T, M], NaN where not known; those of `t` are not used.
    t: the task at hand.
    same: [T, T], which tasks are of the same data.

  Returns:
    [M], NaN for checkpoints without a score; none where there are too few other
    tasks to learn from.
  """
  size = len(scores) + 1
  gram, products = np.zeros((size, size)), np.zeros(size)
  for s in np.flatnonzero(~same[t]):
    others = accuracies[~(same[t] | same[s])]
    paired = ~np.isnan(scores[:, s]).all(axis=0) & ~np.isnan(accuracies[s])
    if not len(others) or paired.sum() < _MIN_CHECKPOINTS:
      continue
    x = _evidence(scores[:, s], others)[paired]
    y = history.normal_scores(accuracies[s, paired])
    gram, products = gram + x.T @ x, products + x.T @ y
  if not gram.any():
    return None
  weights = _weights(gram, products)
  found = _evidence(scores[:, t], accuracies[~same[t]]) @ weights
  return np.where(np.isnan(scores[:, t]).all(axis=0), np.nan, found)


def predict_all(
  scores: Float[np.ndarray, 'P T M'],
  accuracies: Float[np.ndarray, 'T M'],
  tasks: Sequence[int],
  *,
  same: Bool[np.ndarray, 'T T'],
) -> Float[np.ndarray, 't M'] | None:
  """`predict` for several tasks; none where one of them can't be predicted."""
  found = [predict(scores, accuracies, t, same=same) for t in tasks]
  there = [row for row in found if row is not None]
  return np.stack(there) if len(there) == len(found) else None
