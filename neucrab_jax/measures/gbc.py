# SPDX-License-Identifier: Apache-2.0
"""GBC: overlap of the classes' Gaussians, by the Bhattacharyya coefficient.

Axes: N examples, D features, K components, C classes.
"""

import numpy as np
from jaxtyping import Float, Int

from neucrab_jax.measures import measure
from neucrab_jax.ops import float64
from neucrab_jax.typing import Array

# Of the authors' code, in the units of the features squared.
_SMALLEST_VARIANCE = 1e-4


def gbc(
  *,
  features: Float[Array, 'N D'],
  labels: Int[Array, 'N'],
  covariance: str = 'spherical',
  num_components: int = 64,
) -> measure.Score:
  """How little the classes overlap, each taken for a Gaussian.

      D_B(c, c') = ⅛ (μ_c − μ_c')ᵀ Σ⁻¹ (μ_c − μ_c')
                   + ½ log(|Σ| / sqrt(|Σ_c| |Σ_c'|)),   Σ = (Σ_c + Σ_c')/2
      GBC        = −Σ_{c≠c'} exp(−D_B(c, c'))

  of features on their first principal components. As in the authors' code, the
  second term of 'spherical' counts its one variance once.

  Args:
    features: [N, D].
    labels: [N], integers from 0 to C − 1.
    covariance: of each class, 'spherical' or 'diag'.
    num_components: K, as many as there are if fewer.

  Returns:
    A number at most 0.

  Reference:
    Pándy et al., "Transferability Estimation using Bhattacharyya Class
    Separability", CVPR 2022, equations 4 to 6.
  """
  labels = np.asarray(labels)
  n = len(labels)
  z = float64.spectrum(features).coordinates(num_axes=num_components)
  counts = np.bincount(labels)
  means = float64.class_means(z, labels)
  z -= means[labels]
  raw = float64.class_means(z**2, labels)
  variances = np.maximum(raw, _SMALLEST_VARIANCE)
  if covariance == 'spherical':
    variances = variances.mean(axis=1, keepdims=True)
  logs = np.log(variances)
  total = 0.0
  by_mean, by_variance = np.zeros_like(means), np.zeros_like(variances)
  for c in range(len(means)):
    average = (variances[c] + variances) / 2
    away = means[c] - means
    distances = np.sum(away**2 / average, axis=1) / 8
    distances += 0.5 * np.sum(np.log(average) - 0.5 * (logs[c] + logs), axis=1)
    overlaps = np.exp(-distances)[:, None]
    overlaps[c] = 0  # Of each class with itself, it is one.
    total += overlaps.sum()
    # Each pair comes twice, and each time counts for the class c.
    by_mean[c] = np.sum(overlaps * away / average, axis=0) / 2
    bends = 0.5 / average - 0.5 / variances[c]
    pulls = away**2 / average**2 / 8
    if covariance == 'spherical':
      pulls = pulls.sum(axis=1, keepdims=True)
    by_variance[c] = np.sum(overlaps * (bends - pulls), axis=0)
  moved = by_variance * (raw > _SMALLEST_VARIANCE)
  if covariance == 'spherical':
    moved = moved / z.shape[1]
  influence = np.sum(by_mean[labels] * z, axis=1)
  influence += np.sum(moved[labels] * (z**2 - raw[labels]), axis=1)
  return measure.Score(-total, influence=influence * n / counts[labels])


MEASURE = measure.Measure(
  gbc,
  bounds=lambda num_classes: (-np.inf, 0.0),
  variant="authors' code: variances of at least 1e-4",
  limits={
    'covariance': ('spherical', 'diag'),
    'num_components': (1, None),
  },
)
