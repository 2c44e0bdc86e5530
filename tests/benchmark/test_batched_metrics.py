# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from scipy import stats

from neucrab_jax.benchmark import batched_metrics, metrics

CORRELATIONS = ('pearson', 'kendall_tau', 'weighted_kendall_tau')
TOP_K = tuple(name for name in metrics.METRICS if name not in CORRELATIONS)
ROWS = 200


def make(seed=0, size=9):
  """Scores and accuracies with ties, and bootstrap weights."""
  rng = np.random.default_rng(seed)
  scores = rng.integers(0, 6, size).astype(np.float64)
  accuracies = rng.integers(1, 8, size) / 10
  weights = rng.multinomial(size, [1 / size] * size, size=ROWS)
  return scores, accuracies, weights


def agreement(name, scores, accuracies, weights):
  found = batched_metrics.agreements((name,), scores, accuracies, weights)
  return found[name]


def copied(weights, *vectors):
  return (np.repeat(vector, weights) for vector in vectors)


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('seed', range(3))
@pytest.mark.parametrize('name', CORRELATIONS)
def test_weights_are_copies_to_scipy(name, seed):
  function = {
    'pearson': stats.pearsonr,
    'kendall_tau': stats.kendalltau,
    'weighted_kendall_tau': stats.weightedtau,
  }[name]
  scores, accuracies, weights = make(seed)
  found = agreement(name, scores, accuracies, weights)
  expected = [
    function(*copied(row, scores, accuracies)).statistic for row in weights
  ]
  np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize('name', TOP_K)
def test_a_checkpoint_drawn_twice_takes_one_place_among_the_top(name):
  scores, accuracies, weights = make()
  found = agreement(name, scores, accuracies, weights)
  expected = [
    metrics.METRICS[name][1](scores[row > 0], accuracies[row > 0])
    for row in weights
  ]
  np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize('name', metrics.METRICS)
def test_rows_of_scores_are_what_each_is_alone(name):
  scores, accuracies, weights = make()
  rng = np.random.default_rng(1)
  rows = rng.permuted(np.tile(scores, (ROWS, 1)), axis=1)
  truths = rng.permuted(np.tile(accuracies, (ROWS, 1)), axis=1)
  found = agreement(name, rows, truths, weights)
  alone = [
    agreement(name, x, y, w[None])[0]
    for x, y, w in zip(rows, truths, weights, strict=True)
  ]
  np.testing.assert_allclose(found, alone, rtol=0, atol=1e-12)


@pytest.mark.parametrize('name', metrics.METRICS)
def test_what_is_missing_has_no_weight(name):
  scores, accuracies, weights = make()
  gappy, holey = scores.copy(), accuracies.copy()
  gappy[2], holey[5] = np.nan, np.nan
  without = weights.copy()
  without[:, [2, 5]] = 0
  np.testing.assert_array_equal(
    agreement(name, gappy, holey, weights),
    agreement(name, scores, accuracies, without),
  )


def test_metrics_together_are_what_each_is_alone():
  given = make()
  together = batched_metrics.agreements(tuple(metrics.METRICS), *given)
  assert tuple(together) == tuple(metrics.METRICS)
  for name, found in together.items():
    np.testing.assert_array_equal(found, agreement(name, *given))


@pytest.mark.parametrize('name', CORRELATIONS)
def test_one_checkpoint_alone_has_no_correlation(name):
  scores, accuracies, _ = make()
  weights = np.eye(len(scores))[:1] * len(scores)
  assert np.isnan(agreement(name, scores, accuracies, weights))
