# SPDX-License-Identifier: Apache-2.0
"""Features for the tests of kernels, the same in every process."""

import numpy as np


def make_features(seed=0, *, n=600, d=24, classes=6, spread=1.5):
  """Examples of overlapping clusters with a decaying spectrum."""
  rng = np.random.default_rng(seed)
  labels = rng.integers(classes, size=n)
  scales = np.exp(-np.arange(d) / d)
  centres = spread * rng.normal(size=(classes, d))
  x = (centres[labels] + rng.normal(size=(n, d))) * scales
  return x.astype(np.float32), labels.astype(np.int32)
