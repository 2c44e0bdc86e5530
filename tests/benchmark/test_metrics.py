# SPDX-License-Identifier: Apache-2.0
import itertools
import math

import numpy as np
import pytest
from scipy import stats

from neucrab_jax.benchmark import batched_metrics, metrics

ACCURACIES = np.array([0.9, 0.5, 0.7, 0.7, 0.2, 0.4])
SCORES = {
  'distinct': np.arange(6.0),
  'tied': np.array([0.0, 0.0, 1.0, 1.0, 1.0, 2.0]),
  'constant': np.zeros(6),
}


def orders_within_ties(scores):
  """Every order of the checkpoints, best first, that the scores allow."""
  groups = [np.flatnonzero(scores == s) for s in sorted(set(scores))[::-1]]
  for parts in itertools.product(*map(itertools.permutations, groups)):
    yield [i for part in parts for i in part]


def top_k_oracles(scores, accuracies, k):
  """Rel@k and both Recalls: means over every order within ties."""
  rel, recall, sfda = [], [], []
  for order in orders_within_ties(scores):
    top = accuracies[order[:k]]
    rel.append(top.max() / accuracies.max())
    recall.append(top.max() == accuracies.max())
    sfda.append((accuracies > accuracies[order[0]]).sum() < k)
  return np.mean(rel), np.mean(recall), np.mean(sfda)


def tau_oracle(x, y, weigh=lambda i, j: 1.0):
  """Kendall's τ-b pair by pair."""
  top = bottom_x = bottom_y = 0.0
  for i, j in itertools.combinations(range(len(x)), 2):
    a, b = np.sign(x[i] - x[j]), np.sign(y[i] - y[j])
    weight = weigh(i, j)
    top += weight * a * b
    bottom_x += weight * abs(a)
    bottom_y += weight * abs(b)
  return top / math.sqrt(bottom_x * bottom_y) if bottom_x * bottom_y else np.nan


@pytest.mark.parametrize('k', [1, 2, 3, 6, 9])
def test_top_k_over_all_orders_of_six(k):
  for order in itertools.permutations(range(6)):
    scores = np.array(order, np.float64)
    expected = top_k_oracles(scores, ACCURACIES, k)
    found = (
      metrics.rel_at_k(scores, ACCURACIES, k),
      metrics.recall_at_k(scores, ACCURACIES, k),
      metrics.recall_at_k_sfda(scores, ACCURACIES, k),
    )
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize('k', [1, 2, 3, 4])
def test_ties_earn_what_a_random_order_within_them_does(k):
  for scores in itertools.product(range(3), repeat=6):
    if scores > scores[::-1]:
      continue  # Half of them, for time.
    scores = np.array(scores, np.float64)
    expected = top_k_oracles(scores, ACCURACIES, k)
    found = (
      metrics.rel_at_k(scores, ACCURACIES, k),
      metrics.recall_at_k(scores, ACCURACIES, k),
      metrics.recall_at_k_sfda(scores, ACCURACIES, k),
    )
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    if k == 1:
      assert found[1] == pytest.approx(found[2])


def test_correlations_over_all_orders_of_six():
  for order in itertools.permutations(range(6)):
    scores = np.array(order, np.float64)
    tau = metrics.kendall_tau(scores, ACCURACIES)
    assert tau == pytest.approx(tau_oracle(scores, ACCURACIES), abs=1e-12)
    assert tau == pytest.approx(
      stats.kendalltau(scores, ACCURACIES).statistic, abs=1e-12
    )
    assert metrics.weighted_kendall_tau(scores, ACCURACIES) == pytest.approx(
      stats.weightedtau(scores, ACCURACIES).statistic, abs=1e-12
    )
    assert metrics.pearson(scores, ACCURACIES) == pytest.approx(
      np.corrcoef(scores, ACCURACIES)[0, 1], abs=1e-12
    )


def test_weighted_tau_weighs_the_top():
  truth = np.arange(8.0)[::-1]
  wrong_at_top, wrong_below = truth.copy(), truth.copy()
  wrong_at_top[[0, 1]] = wrong_at_top[[1, 0]]
  wrong_below[[6, 7]] = wrong_below[[7, 6]]
  for scores, bound in ((wrong_at_top, np.less), (wrong_below, np.greater)):
    assert bound(
      metrics.weighted_kendall_tau(scores, truth),
      metrics.kendall_tau(scores, truth),
    )


@pytest.mark.parametrize('name', metrics.METRICS)
@pytest.mark.parametrize('kind', SCORES)
def test_missing_scores_are_dropped_with_their_accuracies(name, kind):
  _, function = metrics.METRICS[name]
  scores, there = SCORES[kind].copy(), [0, 1, 3, 4]
  scores[[2, 5]] = np.nan
  np.testing.assert_equal(
    function(scores, ACCURACIES), function(scores[there], ACCURACIES[there])
  )


@pytest.mark.parametrize('name', metrics.METRICS)
def test_a_rising_map_of_scores_changes_only_pearson(name):
  _, function = metrics.METRICS[name]
  scores = SCORES['tied']
  same = function(np.exp(scores), ACCURACIES) == function(scores, ACCURACIES)
  assert same == (name != 'pearson')


@pytest.mark.parametrize('name', metrics.METRICS)
def test_perfect_scores_earn_one(name):
  _, function = metrics.METRICS[name]
  assert function(ACCURACIES, ACCURACIES) == pytest.approx(1)


@pytest.mark.parametrize(
  'name', ['pearson', 'kendall_tau', 'weighted_kendall_tau']
)
def test_constant_scores_have_no_correlation(name):
  _, function = metrics.METRICS[name]
  assert math.isnan(function(SCORES['constant'], ACCURACIES))
  assert math.isnan(function(np.full(6, 0.1), ACCURACIES))


def test_works_on_lists_and_leaves_arrays_alone():
  scores, accuracies = SCORES['tied'].copy(), ACCURACIES.copy()
  for _, function in metrics.METRICS.values():
    found = function(scores, accuracies)
    assert isinstance(found, float)
    assert found == function(scores.tolist(), accuracies.tolist())
  np.testing.assert_array_equal(scores, SCORES['tied'])
  np.testing.assert_array_equal(accuracies, ACCURACIES)


@pytest.mark.parametrize(
  ('scores', 'accuracies', 'message'),
  [
    ([1, 2, 3], [0.1, 0.2], r'shapes \(3,\) and \(2,\)'),
    ([[1, 2]], [[0.1, 0.2]], 'vectors'),
    ([1, 2, 3], [0.1, 0.2, np.nan], 'finite, but one is nan'),
    ([1, 2, np.inf], [0.1, 0.2, 0.3], 'use NaN'),
    ([np.nan] * 3, [0.1, 0.2, 0.3], '0 of 3 checkpoints'),
    ([], [], '0 of 0 checkpoints'),
  ],
)
@pytest.mark.parametrize('name', metrics.METRICS)
def test_bad_vectors_are_refused(name, scores, accuracies, message):
  with pytest.raises(ValueError, match=message):
    metrics.METRICS[name][1](scores, accuracies)


@pytest.mark.parametrize(
  'function',
  [metrics.rel_at_k, metrics.recall_at_k, metrics.recall_at_k_sfda],
)
def test_k_below_one_is_refused(function):
  with pytest.raises(ValueError, match='not 0'):
    function([1, 2], [0.1, 0.2], k=0)


@pytest.mark.parametrize('accuracies', [[0.0, 0.0], [-0.1, 0.5]])
def test_rel_needs_accuracies_above_zero(accuracies):
  with pytest.raises(ValueError, match=r'Rel@k needs'):
    metrics.rel_at_k([1, 2], accuracies)


def test_both_tables_name_the_same_metrics():
  assert tuple(metrics.METRICS) == tuple(batched_metrics.METRICS)
