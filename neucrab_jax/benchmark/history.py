# SPDX-License-Identifier: Apache-2.0
"""How checkpoints did on other tasks, as a prediction of how they will do here.

Nobody has to compute anything for it, so a measure is worth what it adds to it.
The task that is predicted is never among the rows.

Axes: S other tasks, M checkpoints, P measures, K factors.
"""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float
from scipy import special

# One factor predicts unknown tasks best on published tables of 180 networks on
# ten tasks; further ones learn what single tasks have in common.
NUM_FACTORS = 1
# Half of the variance is noise, and half is what all tasks want alike: where
# the iterations start, and the prior's mean of the first loadings. Others' is
# zero. Priors decide where there are fewer checkpoints than numbers to learn:
# that of a loading is normal with this precision, and a noise variance is as if
# one more checkpoint had been seen, with noise of 1.
_FIRST_NOISE = 0.5
_LOADING_PRECISION = 1.0
_SEEN_NOISE = 1.0
_MAX_ITERATIONS = 200
_TOLERANCE = 1e-6
# Equal histories must tie, whatever order floats were added in.
_DECIMALS = 10


def ranks(values: Float[np.ndarray, 'M']) -> Float[np.ndarray, 'M']:
  """Ranks as shares, (rank − ½) / n, of the n that are known; else NaN.

  Args:
    values: [M], NaN where not known; equal ones share their mean rank.

  Returns:
    [M], larger for larger values, in (0, 1).
  """
  values = np.asarray(values, np.float64)
  known = ~np.isnan(values)
  found = np.full(values.shape, np.nan)
  given = values[known]
  below, level = (
    np.sum(relation(given, given[:, np.newaxis]), axis=1)
    for relation in (np.less, np.equal)
  )
  # Ranks are from 1, and (below + 1 + below + level) / 2 their mean.
  found[known] = (below + level / 2) / max(len(given), 1)
  return found


def normal_scores(values: Float[np.ndarray, 'M']) -> Float[np.ndarray, 'M']:
  """Ranks, as the quantiles of a standard normal distribution.

  Args:
    values: [M], NaN where not known.

  Returns:
    [M]
  """
  return np.asarray(special.ndtri(ranks(values)))


def mean_ranks(others: Float[np.ndarray, 'S M']) -> Float[np.ndarray, 'M']:
  """The mean of a checkpoint's ranks on other tasks.

  Args:
    others: [S, M] accuracies, NaN where not known.

  Returns:
    [M], larger for those that did better; NaN for who did nothing else.
  """
  found = np.stack([ranks(row) for row in others])
  known = ~np.isnan(found)
  with np.errstate(invalid='ignore'):
    mean = np.where(known, found, 0).sum(axis=0) / known.sum(axis=0)
  return np.round(mean, _DECIMALS)


@dataclasses.dataclass(frozen=True)
class Forecast:
  """What is expected on a task that nothing is known of.

  Attributes:
    mean: [M] expected normal scores; NaN for who did nothing else.
    std: [M] standard deviations of what the normal scores will be.
  """

  mean: Float[np.ndarray, 'M']
  std: Float[np.ndarray, 'M']


def _factors(
  x: Float[np.ndarray, 'S M'],
  known: Bool[np.ndarray, 'S M'],
  loadings: Float[np.ndarray, 'S K'],
  noise: Float[np.ndarray, 'S'],
) -> tuple[Float[np.ndarray, 'M K'], Float[np.ndarray, 'M K K']]:
  """Means and covariances of each checkpoint's factors, given its row."""
  share = known / noise[:, None]  # [S, M]
  precision = np.einsum('sm,sk,sl->mkl', share, loadings, loadings)
  covariance = np.linalg.inv(precision + np.eye(loadings.shape[1]))
  return np.einsum('mkl,sl,sm->mk', covariance, loadings, share * x), covariance


def forecast(
  others: Float[np.ndarray, 'S M'],
  *,
  scores: Float[np.ndarray, 'P M'] | None = None,
  num_factors: int = NUM_FACTORS,
) -> Forecast:
  """Expects of a new task what a low-rank model learns from the other ones.

  Normal scores of the accuracies, x, are factors of the checkpoints times
  loadings of the tasks, and noise of each task's own size:

      x_sm = w_s · z_m + ε_sm,   z_m ~ N(0, I),   ε_sm ~ N(0, ψ_s)

  fitted by EM to the entries that are known. A new task has the other tasks'
  mean loading, w̄, give or take their covariance, and their mean noise.

  Args:
    others: [S, M] accuracies, NaN where not known.
    scores: [P, M] of the new task, where measures have seen it: further rows to
      know the factors from, each as far as it goes along with the others.
    num_factors: K; no more than there are tasks are used.

  Returns:
    Means w̄ · E[z], and standard deviations that have the uncertainty of z and
    w, and the noise.

  Reference:
    Rubin and Thayer, "EM algorithms for ML factor analysis", 1982.
  """
  given = others if scores is None else np.concatenate([others, scores])
  normal = np.stack([normal_scores(row) for row in given])
  known = ~np.isnan(normal)
  x = np.where(known, normal, 0.0)
  left, sizes, _ = np.linalg.svd(x, full_matrices=False)
  size = min(num_factors, len(sizes))
  loadings = left[:, :size] * sizes[:size] / np.sqrt(max(x.shape[1], 1))
  # The first is what all tasks want alike, also tables without a common name,
  # whose factors would else have signs of their own.
  loadings[:, 0] = np.sqrt(1 - _FIRST_NOISE)
  noise = np.full(len(x), _FIRST_NOISE)
  prior = _LOADING_PRECISION * np.eye(size)
  pull = np.zeros(size)
  pull[0] = _LOADING_PRECISION * loadings[0, 0]
  for _ in range(_MAX_ITERATIONS):
    z, covariance = _factors(x, known, loadings, noise)
    squares = covariance + z[:, :, None] * z[:, None, :]  # [M, K, K]
    moments = np.einsum('sm,mkl->skl', known, squares)
    products = x @ z  # [S, K]
    updated = np.linalg.solve(
      moments + noise[:, None, None] * prior,
      (products + noise[:, None] * pull)[..., None],
    )[..., 0]
    residuals = (
      np.sum(x**2, axis=1)
      - 2 * np.sum(updated * products, axis=1)
      + np.einsum('sk,skl,sl->s', updated, moments, updated)
    )
    noise = (residuals + _SEEN_NOISE) / (known.sum(axis=1) + 1)
    change = np.abs(updated - loadings).max(initial=0.0)
    loadings = updated
    if change < _TOLERANCE:
      break
  z, covariance = _factors(x, known, loadings, noise)
  of_tasks = loadings[: len(others)]
  typical = of_tasks.mean(axis=0)
  spread = np.atleast_2d(np.cov(of_tasks.T, bias=True))
  variance = (
    np.einsum('mkl,k,l->m', covariance, typical, typical)
    + np.einsum('mkl,kl->m', covariance + z[:, :, None] * z[:, None, :], spread)
    + noise[: len(others)].mean()
  )
  seen = known.any(axis=0)
  return Forecast(
    mean=np.where(seen, np.round(z @ typical, _DECIMALS), np.nan),
    std=np.where(seen, np.sqrt(variance), np.nan),
  )
