# SPDX-License-Identifier: Apache-2.0
"""Ridge regression onto the labels, judged on each example left out in turn.

Axes: N examples, D features, K rank, C classes.
"""

import numpy as np
from jaxtyping import Float, Int

from neucrab_jax.measures import measure
from neucrab_jax.ops import float64
from neucrab_jax.typing import Array

_VARIANTS = {
  'accuracy': 'share of examples whose class has the largest prediction',
  'log_loss': 'log-probability of the class, errors taken for Gaussian',
}


# Strengths, as shares of the sum of all eigenvalues, two to a factor of ten:
# from hardly any shrinkage of the largest to hardly anything but the mean.
_STRENGTHS = np.logspace(-6, 0, 13)

# An example whose own weight in its prediction is this near one says nothing of
# what it would be without it.
_LEAST_LEFT = 1e-9


class _Fit:
  """One strength's regressions, each example left out in turn.

  Attributes:
    left: [N, 1], 1 − H_ii.
    errors: [N, C], of the prediction of an example by all others.
    predictions: [N, C].
  """

  def __init__(self, u, one_hot, seen, shares, leverage):
    self._u, self._shares = u, shares[:, None]
    # The intercept is refitted too: its share of the hat matrix is 1/N.
    left = 1 - 1 / len(one_hot) - leverage
    self.left = np.maximum(left, _LEAST_LEFT)[:, None]
    fitted = one_hot.mean(axis=0) + u @ (self._shares * seen)
    self.errors = (one_hot - fitted) / self.left
    self.predictions = one_hot - self.errors

  def pull(self, slopes: np.ndarray) -> np.ndarray:
    """How the others' predictions change by an example: [N].

    Args:
      slopes: [N, C], of what is summed by the predictions.
    """
    reach = slopes / self.left
    fitted = self._u @ (self._shares * (self._u.T @ reach))
    others = reach.mean(axis=0) + fitted - (1 - self.left) * reach
    return np.einsum('nc,nc->n', self.errors, others)


class _Accuracy:
  """Whether the largest prediction is that of an example's class."""

  @staticmethod
  def values(fit: _Fit, labels: np.ndarray) -> np.ndarray:
    """[N]"""
    return (np.argmax(fit.predictions, axis=1) == labels).astype(np.float64)

  @staticmethod
  def slopes(fit: _Fit, labels: np.ndarray) -> np.ndarray:
    """[N, C], of the sum of the values by the predictions.

    A count is no smooth function of the fit. Its mean is, over examples like
    these: by as much as there are with a margin near zero.
    """
    rows = np.arange(len(labels))
    predictions = fit.predictions.copy()
    own = predictions[rows, labels]
    predictions[rows, labels] = -np.inf
    rival = np.argmax(predictions, axis=1)
    margin = own - predictions[rows, rival]
    slopes, width = np.zeros_like(predictions), margin.std()
    if width:
      density = np.exp(-0.5 * (margin / width) ** 2)
      density /= width * np.sqrt(2 * np.pi)
      slopes[rows, labels] = density
      slopes[rows, rival] = -density
    return slopes


class _LogLoss:
  """The log-probability of an example's class."""

  @staticmethod
  def _log_probs(fit: _Fit) -> tuple[np.ndarray, float]:
    # Slow to import, and an accuracy has no need of it.
    from scipy import special

    # Spherical Gaussian errors make a softmax of distances to the one-hots.
    variance = max(np.mean(fit.errors**2), np.finfo(float).eps)
    return special.log_softmax(fit.predictions / variance, axis=1), variance

  @classmethod
  def values(cls, fit: _Fit, labels: np.ndarray) -> np.ndarray:
    """[N]"""
    return cls._log_probs(fit)[0][np.arange(len(labels)), labels]

  @classmethod
  def slopes(cls, fit: _Fit, labels: np.ndarray) -> np.ndarray:
    """[N, C], of the sum of the values by the predictions."""
    logs, variance = cls._log_probs(fit)
    return (float64.one_hot(labels) - np.exp(logs)) / variance


def ridge_loo(
  *,
  features: Float[Array, 'N D'],
  labels: Int[Array, 'N'],
  variant: str = 'accuracy',
) -> measure.Score:
  """Exact leave-one-out score of ridge regression onto one-hot labels.

      H    = 11ᵀ/N + F (FᵀF + λ I)⁻¹ Fᵀ,  F standardised
      ŷ_−i = y_i − (y_i − (H Y)_i) / (1 − H_ii)

  One eigendecomposition serves every example and every λ; the λ of the best
  score is taken, the largest of equals. For 'log_loss' the probabilities are
  softmax(ŷ_−i / σ²), with σ² the mean squared error of the ŷ_−i: the posterior
  of a class under Gaussian errors. Mean and scale of the features, and λ, are
  those of all examples.

  Args:
    features: [N, D].
    labels: [N], integers from 0 to C − 1.
    variant: 'accuracy' or 'log_loss'.

  Returns:
    A mean, in [0, 1] or, for 'log_loss', in nats and at most 0.

  Reference:
    Golub, Heath and Wahba, "Generalized Cross-Validation as a Method for
    Choosing a Good Ridge Parameter", Technometrics 1979.
  """
  labels = np.asarray(labels)
  spectrum = float64.spectrum(features, float64.standardise)
  one_hot = float64.one_hot(labels)
  judge = {'accuracy': _Accuracy, 'log_loss': _LogLoss}[variant]
  u, values = spectrum.left, spectrum.values[:, None]
  shares = values / (values + _STRENGTHS * values.sum())
  leverages, seen = float64.leverages(u, shares), u.T @ one_hot

  def fit(place):
    return _Fit(u, one_hot, seen, shares[:, place], leverages[:, place])

  def mean(place):
    return np.mean(judge.values(fit(place), labels))

  # The last one of equals. How it hangs on the examples takes as long again.
  best = fit(
    max(range(len(_STRENGTHS)), key=lambda place: (mean(place), place))
  )
  found = judge.values(best, labels)
  pull = best.pull(judge.slopes(best, labels))
  return measure.Score(found.mean(), influence=found - found.mean() + pull)


MEASURE = measure.Measure(
  ridge_loo,
  bounds=lambda num_classes: (-np.inf, 1.0),
  variant=_VARIANTS,
  leaves_out=True,
  limits={'variant': tuple(_VARIANTS)},
)
