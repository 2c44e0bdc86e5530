# SPDX-License-Identifier: Apache-2.0
"""What the kernels should say, by scikit-learn and NumPy in f64."""

import warnings

import numpy as np
from sklearn import exceptions, mixture

# As the kernels have it: a component's least share of the mean variance.
VARIANCE_FLOOR = 1e-6


class ClampedMixture(mixture.GaussianMixture):
  """scikit-learn's EM, its variances clamped to a floor, not raised by one."""

  floor = 0.0

  def _m_step(self, x, log_resp, xp=None):
    resp = np.exp(log_resp)
    mass = resp.sum(0) + 10 * np.finfo(float).eps
    self.means_ = resp.T @ x / mass[:, None]
    squares = resp.T @ x**2 / mass[:, None] - self.means_**2
    self.covariances_ = np.maximum(squares, self.floor)
    self.precisions_cholesky_ = 1 / np.sqrt(self.covariances_)
    self.weights_ = mass / mass.sum()


def start(x, means):
  """Weights and variances of the examples nearest to each mean."""
  x, means = np.float64(x), np.float64(means)
  squares = ((x[:, None] - means) ** 2).sum(-1)
  nearest = squares.argmin(1)
  floor = VARIANCE_FLOOR * x.var(0).mean()
  weights = np.bincount(nearest, minlength=len(means)) / len(x)
  variances = np.full(means.shape, x.var(0).mean())
  for k in np.unique(nearest):
    variances[k] = np.maximum(x[nearest == k].var(0), floor)
  return weights, variances


def fit(x, means, *, max_iterations=100, tolerance=1e-3):
  """The f64 mixture that EM makes of the same start."""
  x = np.float64(x)
  weights, variances = start(x, means)
  result = ClampedMixture(
    len(means),
    covariance_type='diag',
    means_init=np.float64(means),
    weights_init=weights,
    precisions_init=1 / variances,
    reg_covar=0,
    max_iter=max_iterations,
    tol=tolerance,
    init_params='random_from_data',
  )
  result.floor = VARIANCE_FLOOR * x.var(0).mean()
  with warnings.catch_warnings():
    warnings.simplefilter('ignore', exceptions.ConvergenceWarning)
    with np.errstate(divide='ignore'):
      return result.fit(x)


def leep(posteriors, labels, weights=None):
  """Σ_n w_n log Σ_v P(y_n | v) r_nv / Σ_n w_n."""
  weights = np.ones(len(labels)) if weights is None else np.float64(weights)
  weighted = posteriors * weights[:, None]
  joint = np.stack(
    [weighted[labels == c].sum(0) for c in range(labels.max() + 1)]
  )
  mass = joint.sum(0)
  conditional = joint / np.where(mass > 0, mass, 1)
  p = (conditional[labels] * posteriors).sum(1)
  return (weights * np.log(p, where=weights > 0, out=0 * p)).sum() / (
    weights.sum()
  )
