# SPDX-License-Identifier: Apache-2.0
"""The pieces of work of `kernels`: their sizes, their data, their flops."""

import numpy as np

GROWTH = {'N': (5000, 10000, 20000), 'K': (250, 500, 1000)}

# What EM does: work to N, D, K and iterations.
EM = {
  'em_5000x128_500': (5000, 128, 500, 10),
  'em_20000x200_1000': (20000, 200, 1000, 3),
  'memory_200000x128_2000': (200000, 128, 2000, 1),
  **{f'growth_N_{n}': (n, 128, 500, 5) for n in GROWTH['N']},
  **{f'growth_K_{k}': (10000, 128, k, 5) for k in GROWTH['K']},
}

# How far the classes of `_features` are apart, in standard deviations: near
# enough that NLEEP does not saturate at zero.
_SEPARATION = 0.45

# Sides of the matrices whose product shows what the machine can do.
CEILING_SIDE = 2048


def _mixture(n, d, clusters, seed=0):
  """Examples of overlapping clusters, and their labels."""
  rng = np.random.default_rng(seed)
  labels = rng.integers(clusters, size=n)
  centres = rng.normal(size=(clusters, d)).astype('f4')
  noise = rng.normal(size=(n, d)).astype('f4')
  return centres[labels] + noise, labels


def _features(n, d, classes, seed=0):
  """Like a network's: a decaying spectrum, classes apart, a constant offset."""
  rng = np.random.default_rng(seed)
  labels = rng.integers(classes, size=n)
  scales = (1 + np.arange(d)) ** -0.5
  centres = _SEPARATION * rng.normal(size=(classes, d))
  hidden = centres[labels] + rng.normal(size=(n, d))
  rotation = np.linalg.qr(rng.normal(size=(d, d)))[0]
  return ((hidden * scales) @ rotation + 0.5).astype('f4'), labels


def ceiling_flops() -> float:
  """Of the work 'ceiling'."""
  return 2 * CEILING_SIDE**3


def em_flops(work: str) -> float:
  """Of the matmuls in a work of `EM`, those of its start included."""
  n, d, k, iterations = EM[work]
  return 2 * n * k * (d + iterations * 2 * (2 * d + 1))


def make_data(work: str):
  """The same for all peers, and not in the time of any."""
  if work == 'ceiling':
    side = CEILING_SIDE
    return np.random.default_rng(0).normal(size=(side, side)).astype('f4')
  if work in EM:
    n, d, _, _ = EM[work]
    return _mixture(n, d, 100)[0]
  if work == 'nleep_5000x2048_500':
    return [_features(5000, 2048, 100)]
  if work == 'nleep_16_checkpoints':
    dims = np.linspace(512, 2048, 16).astype(int)
    return [_features(2000, d, 20, seed=d) for d in dims]
  if work == 'kmeans_20000x200_1000':
    return _mixture(20000, 200, 300)[0]
  if work.startswith('pca'):
    n = int(work.split('_')[1].split('x')[0])
    return _features(n, 2048, 100)[0]
  return _mixture(5000, 128, 50)[0]
