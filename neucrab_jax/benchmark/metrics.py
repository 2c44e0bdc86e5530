# SPDX-License-Identifier: Apache-2.0
"""How well scores put checkpoints in the order of their accuracies.

Where scores tie, Rel@k and Recall@k are expected values over a random order
within the tie: constant scores earn what chance earns. τ is τ-b. A checkpoint
whose score is NaN, to which the measure doesn't apply, is left out of the pair.
Pearson's r and the τs are NaN where all scores, or all accuracies, are equal.

Axes: M checkpoints.

Reference:
  Li et al., "Ranking Neural Checkpoints", CVPR 2021, section 4.
"""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, Shaped

from neucrab_jax.benchmark import batched_metrics
from neucrab_jax.measures import columns

# [M]; what is no vector is refused by `pair`.
Vector = Shaped[np.ndarray, '...'] | Sequence


def pair(
  scores: Vector, accuracies: Vector, *, at_least: int = 2
) -> tuple[Float[np.ndarray, 'm'], Float[np.ndarray, 'm']]:
  """Scores and accuracies of the checkpoints that have a score.

  Args:
    scores: [M], NaN where there is none.
    accuracies: [M].
    at_least: how many must have one.

  Returns:
    Both as f64, with the same order.

  Raises:
    ValueError: if they are no such vectors, or too few.
  """
  columns.check_same_rows(scores=scores, accuracies=accuracies)
  scores = np.asarray(scores, np.float64)
  accuracies = np.asarray(accuracies, np.float64)
  if scores.ndim != 1 or scores.shape != accuracies.shape:
    raise ValueError(
      'scores and accuracies must be vectors of one length, but have shapes '
      f'{scores.shape} and {accuracies.shape}.'
    )
  if not np.isfinite(accuracies).all():
    raise ValueError(
      f'accuracies must be finite, but one is '
      f'{accuracies[~np.isfinite(accuracies)][0]}.'
    )
  if np.isinf(scores).any():
    raise ValueError(
      'scores must not be infinite. Where a measure does not apply, use NaN.'
    )
  there = ~np.isnan(scores)
  if there.sum() < at_least:
    raise ValueError(
      f'{there.sum()} of {len(scores)} checkpoints have a score; at least '
      f'{at_least} must.'
    )
  return scores[there], accuracies[there]


def _check_k(k: int) -> None:
  if k < 1:
    raise ValueError(f'k must be at least 1, not {k}.')


def _once(x: np.ndarray, y: np.ndarray) -> batched_metrics.Resamples:
  """The checkpoints as they are, as the only resample."""
  columns = (values[:, np.newaxis] for values in (x, y, np.ones_like(x)))
  return batched_metrics.Resamples(*columns)


def kendall_tau(scores: Vector, accuracies: Vector) -> float:
  """Kendall's τ-b: concordant less discordant pairs, over those not tied.

      τ = Σ_ij sign(S_i − S_j) sign(G_i − G_j) / √(n_S n_G)

  with n_S the number of pairs whose scores differ, and n_G likewise.

  Args:
    scores: [M], larger predicts better; NaN where there is none.
    accuracies: [M].

  Returns:
    From −1 to 1; NaN if either is constant.

  Raises:
    ValueError: if the vectors don't match, or fewer than two have a score.

  Reference:
    Kendall, "The treatment of ties in ranking problems", Biometrika, 1945.
  """
  x, y = pair(scores, accuracies)
  return float(batched_metrics.kendall_tau(_once(x, y))[0])


def weighted_kendall_tau(scores: Vector, accuracies: Vector) -> float:
  """Kendall's τ with more weight on the top: a pair counts 1/r_i + 1/r_j.

  r is the rank, the mean of the τ with ranks by score and that by accuracy, as
  `scipy.stats.weightedtau` has it.

  Args:
    scores: [M], larger predicts better; NaN where there is none.
    accuracies: [M].

  Returns:
    From −1 to 1; NaN if either is constant.

  Raises:
    ValueError: if the vectors don't match, or fewer than two have a score.

  Reference:
    Vigna, "A weighted correlation index for rankings with ties", WWW 2015.
  """
  x, y = pair(scores, accuracies)
  return float(batched_metrics.weighted_kendall_tau(_once(x, y))[0])


def pearson(scores: Vector, accuracies: Vector) -> float:
  """Pearson's linear correlation.

  Args:
    scores: [M], larger predicts better; NaN where there is none.
    accuracies: [M].

  Returns:
    From −1 to 1; NaN if either is constant.

  Raises:
    ValueError: if the vectors don't match, or fewer than two have a score.
  """
  x, y = pair(scores, accuracies)
  return float(batched_metrics.pearson(_once(x, y))[0])


def rel_at_k(scores: Vector, accuracies: Vector, k: int = 1) -> float:
  """Relative accuracy of the best among the k with the highest scores.

      Rel@k = max_{j in top k by S} G_j / max_j G_j

  Args:
    scores: [M], larger predicts better; NaN where there is none.
    accuracies: [M], not negative, and one above zero.
    k: how many are tried.

  Returns:
    From 0 to 1; its expected value where scores tie.

  Raises:
    ValueError: if the vectors don't match, none has a score, k is below 1, or
      accuracies are negative or all zero.
  """
  _check_k(k)
  x, y = pair(scores, accuracies, at_least=1)
  if y.min() < 0 or y.max() == 0:
    raise ValueError(
      'Rel@k needs accuracies from 0 up, one of them above 0, but they go from '
      f'{y.min()} to {y.max()}.'
    )
  return float(batched_metrics.rel_at_k(_once(x, y), k=k)[0])


def recall_at_k(scores: Vector, accuracies: Vector, k: int = 1) -> float:
  """Whether the truly best checkpoint is among the k with the highest scores.

  Args:
    scores: [M], larger predicts better; NaN where there is none.
    accuracies: [M]; of several that share the highest, one is enough.
    k: how many are tried.

  Returns:
    0 or 1; between them, its expected value, where scores tie.

  Raises:
    ValueError: if the vectors don't match, none has a score, or k is below 1.
  """
  _check_k(k)
  x, y = pair(scores, accuracies, at_least=1)
  return float(batched_metrics.recall_at_k(_once(x, y), k=k)[0])


def recall_at_k_sfda(scores: Vector, accuracies: Vector, k: int = 1) -> float:
  """Whether the checkpoint with the highest score is among the truly best k.

  Recall@k as the code of SFDA reads it, the other way round; the two are equal
  at k = 1.

  Args:
    scores: [M], larger predicts better; NaN where there is none.
    accuracies: [M].
    k: how many count as best, and whoever equals the k-th.

  Returns:
    0 or 1; between them, its expected value, where scores tie.

  Raises:
    ValueError: if the vectors don't match, none has a score, or k is below 1.

  Reference:
    The code of SFDA, TencentARC/SFDA.
  """
  _check_k(k)
  x, y = pair(scores, accuracies, at_least=1)
  return float(batched_metrics.recall_at_k_sfda(_once(x, y), k=k)[0])


# Name → what tables call it, and the function of scores and accuracies; in the
# paper's order, then the other reading of Recall.
METRICS: dict[str, tuple[str, Callable[[Vector, Vector], float]]] = {
  'recall_at_1': ('Recall@1', recall_at_k),
  'recall_at_3': ('Recall@3', lambda x, y: recall_at_k(x, y, k=3)),
  'rel_at_1': ('Rel@1', rel_at_k),
  'rel_at_3': ('Rel@3', lambda x, y: rel_at_k(x, y, k=3)),
  'pearson': ('Pearson', pearson),
  'kendall_tau': ('Kendall τ', kendall_tau),
  'weighted_kendall_tau': ('weighted τ', weighted_kendall_tau),
  'recall_at_3_sfda': (
    'Recall@3 (SFDA)',
    lambda x, y: recall_at_k_sfda(x, y, k=3),
  ),
}
