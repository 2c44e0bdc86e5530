# SPDX-License-Identifier: Apache-2.0
"""PARC: rank correlation of distances of features with those of labels.

Axes: N examples, D features, C classes, T blocks, B examples of a block, R
weightings.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from neucrab_jax.measures import measure
from neucrab_jax.ops import blocks
from neucrab_jax.typing import Array

# Pairs in one bin tie. What that takes from the variance of the ranks is the
# square of a bin's share of all pairs.
_NUM_BINS = 1 << 18


@jax.jit
def _bins(rows, row_ids, units):
  """The bin of 1 − correlation of each pair, [B, N]; the last for itself."""
  correlations = jnp.matmul(rows, units.T, precision=blocks.PRECISION)
  distances = jnp.clip((1 - correlations) / 2, 0, 1)
  bins = jnp.round(distances * (_NUM_BINS - 1)).astype(jnp.int32)
  self = row_ids[:, None] == jnp.arange(len(units))
  return jnp.where(self, _NUM_BINS, bins)


def _count(bins, weights):
  counts = np.bincount(bins.ravel(), weights, minlength=_NUM_BINS + 1)
  return counts[:_NUM_BINS]


def _rank_correlation(pairs: np.ndarray, alike: np.ndarray) -> float:
  """Spearman's, of distances in bins with the two values of label distances.

  Args:
    pairs: the mass of all pairs in each bin, nearest first.
    alike: the mass of those of one class.
  """
  total, mass = pairs.sum(), alike.sum()
  ranks = np.cumsum(pairs) - pairs / 2  # of the middle of each bin
  centred = ranks - total / 2
  variance = pairs @ centred**2 * mass * (total - mass) / total
  if variance <= 0:
    return 0.0
  # Two examples of one class have the smaller distance of labels.
  return float(-(alike @ centred) / np.sqrt(variance))


def parc(
  *,
  features: Float[Array, 'N D'],
  labels: Int[Array, 'N'],
  example_weights: Float[Array, 'R N'],
) -> Float[Array, 'R']:
  """Whether examples whose features differ more have different labels.

      PARC = Spearman(1 − corr(f_i, f_j), 1 − corr(y_i, y_j)),  i < j

  over pairs of standardised features and of one-hot labels. N² distances are
  counted, never held.

  Args:
    features: [N, D].
    labels: [N], integers from 0 to C − 1.
    example_weights: [R, N]; a pair weighs the product of two.

  Returns:
    [R], in [-1, 1].

  Reference:
    Bolya, Mittapalli and Hoffman, "Scalable Diverse Model Selection for
    Accessible Transfer Learning", NeurIPS 2021, section 4.
  """
  x = np.asarray(features, np.float64)
  labels = np.asarray(labels)
  n = len(x)
  std = x.std(axis=0)
  x = (x - x.mean(axis=0)) / np.where(std > 0, std, 1)
  x -= x.mean(axis=1, keepdims=True)
  norms = np.linalg.norm(x, axis=1, keepdims=True)
  units = jnp.asarray(x / np.where(norms > 0, norms, 1), jnp.float32)
  shape = blocks.block_shape(n, n)
  rows = blocks.to_blocks(units, shape)
  row_ids = np.arange(rows.shape[0] * rows.shape[1]).reshape(rows.shape[:2])
  pairs = np.zeros((len(example_weights), _NUM_BINS))
  alike = np.zeros_like(pairs)
  even = (np.asarray(example_weights) == 1).all(axis=1)
  for block, ids in zip(rows, row_ids, strict=True):
    ids_here = ids[ids < n]
    bins = np.asarray(_bins(block, ids, units))[: len(ids_here)]
    same = labels[ids_here][:, None] == labels
    same_bins = bins[same]
    for r, weights in enumerate(example_weights):
      if not even[r]:
        products = np.outer(weights[ids_here], weights)
      pairs[r] += _count(bins, None if even[r] else products.ravel())
      alike[r] += _count(same_bins, None if even[r] else products[same])
  return np.array([*map(_rank_correlation, pairs, alike)])


MEASURE = measure.Measure(
  parc,
  variant='paper, without its PCA and not in per cent',
)
