# SPDX-License-Identifier: Apache-2.0
"""Ridge regression onto the labels, judged on each example left out in turn.

Axes: N examples, D features, K rank, C classes.
"""

import numpy as np
from jaxtyping import Float, Int
from scipy import special

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
    left: [N], 1 − H_ii.
    errors: [N, C], of the prediction of an example by all others.
    predictions: [N, C].
  """

  def __init__(self, spectrum, one_hot, strength):
    values = spectrum.values
    self._u, self._shares = (
      spectrum.left,
      values / (values + strength * values.sum()),
    )
    self._n = len(one_hot)
    # The intercept is refitted too: its share of the hat matrix is 1/N.
    leverage = 1 / self._n + float64.leverages(self._u, self._shares)
    self.left = np.maximum(1 - leverage, _LEAST_LEFT)[:, None]
    self.errors = (one_hot - self.fit(one_hot)) / self.left
    self.predictions = one_hot - self.errors

  def fit(self, targets: np.ndarray) -> np.ndarray:
    """H times the targets: [N, C]."""
    shares = self._shares[:, None]
    return targets.mean(axis=0) + self._u @ (shares * (self._u.T @ targets))

  def pull(self, slopes: np.ndarray) -> np.ndarray:
    """How the others' predictions change by an example: [N].

    Args:
      slopes: [N, C], of what is summed by the predictions.
    """
    reach = slopes / self.left
    own = (1 - self.left) * reach
    return np.einsum('nc,nc->n', self.errors, self.fit(reach) - own)


def _accuracy(fit: _Fit, labels: np.ndarray) -> measure.Score:
  rows = np.arange(len(labels))
  predictions = fit.predictions.copy()
  own = predictions[rows, labels]
  right = np.argmax(predictions, axis=1) == labels
  predictions[rows, labels] = -np.inf
  rival = np.argmax(predictions, axis=1)
  margin = own - predictions[rows, rival]
  # A count is no smooth function of the fit. Its mean is, over examples like
  # these: by as much as there are with a margin near zero.
  width = margin.std()
  if not width:
    return measure.mean_over_examples(right.astype(np.float64))
  density = np.exp(-0.5 * (margin / width) ** 2) / (width * np.sqrt(2 * np.pi))
  slopes = np.zeros_like(fit.predictions)
  slopes[rows, labels] = density
  slopes[rows, rival] = -density
  return measure.Score(
    right.mean(), influence=right - right.mean() + fit.pull(slopes)
  )


def _log_loss(fit: _Fit, labels: np.ndarray) -> measure.Score:
  # Spherical Gaussian errors make a softmax of distances to the one-hots.
  variance = max(np.mean(fit.errors**2), np.finfo(float).eps)
  logs = special.log_softmax(fit.predictions / variance, axis=1)
  slopes = (float64.one_hot(labels) - np.exp(logs)) / variance
  logs = logs[np.arange(len(labels)), labels]
  return measure.Score(
    logs.mean(), influence=logs - logs.mean() + fit.pull(slopes)
  )


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
  judge = {'accuracy': _accuracy, 'log_loss': _log_loss}[variant]
  found = [
    judge(_Fit(spectrum, one_hot, strength), labels) for strength in _STRENGTHS
  ]
  best = max(score.value for score in found)
  return [score for score in found if score.value == best][-1]


MEASURE = measure.Measure(
  ridge_loo,
  bounds=lambda num_classes: (-np.inf, 1.0),
  variant=_VARIANTS,
  leaves_out=True,
  limits={'variant': tuple(_VARIANTS)},
)
