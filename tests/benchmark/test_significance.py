# SPDX-License-Identifier: Apache-2.0
import itertools

import numpy as np
import pytest
from scipy import stats

from neucrab_jax.benchmark import significance
from tests.benchmark.aligned_scores import (
  ACCURACIES,
  BAD,
  GOOD,
  NAMES,
  draw,
  make,
)


@pytest.mark.parametrize('scores', [GOOD, BAD])
def test_the_p_value_is_that_of_all_orders(scores):
  aligned = make(m=scores)
  orders = np.array(list(itertools.permutations(range(len(NAMES)))))
  null = significance.null(aligned.scores[0], aligned.accuracies, orders)[0]
  exact = stats.kendalltau(scores, ACCURACIES, method='exact')
  found = significance.p_value(exact.statistic, null)
  assert found == pytest.approx(exact.pvalue, abs=2 / len(orders))


def test_random_orders_are_orders_and_uniform():
  orders = significance.permutations(
    np.random.default_rng(0), num=6_000, size=3
  )
  found, counts = np.unique(orders, axis=0, return_counts=True)
  assert len(found) == 6
  assert stats.chisquare(counts).pvalue > 1e-3


def test_holm_by_its_definition():
  p = np.array([0.04, 0.01, 0.03, 0.5])
  # 4 × .01; 3 × .03; 2 × .04, but not below the one before; .5.
  np.testing.assert_allclose(
    significance.holm(p), [0.09, 0.04, 0.09, 0.5], rtol=1e-12
  )
  assert (significance.holm([0.9, 0.8]) == 1).all()
  assert significance.holm([]).size == 0


def test_holm_keeps_its_promise_where_nothing_differs():
  rng = np.random.default_rng(0)
  wrong = [significance.holm(rng.random(10)).min() < 0.05 for _ in range(2_000)]
  assert np.mean(wrong) < 0.065


def test_the_good_beats_its_opposite_and_not_itself():
  aligned = make(good=GOOD, twin=GOOD.copy(), worst=-ACCURACIES)
  found = significance.compare(aligned, draw(aligned), chosen=range(3))
  by_pair = {(c.better, c.worse): c for c in found}
  assert len(found) == 3
  assert by_pair['good', 'worst'].p_holm < 0.01
  assert by_pair['good', 'worst'].low > 0
  twins = by_pair['good', 'twin']
  assert twins.p_holm == 1
  assert twins.difference == 0


def test_two_are_compared_on_what_both_have_scored():
  gappy = GOOD.copy()
  gappy[[0, 3]] = np.nan
  aligned = make(whole=BAD, gappy=gappy)
  (found,) = significance.compare(aligned, draw(aligned), chosen=(0, 1))
  there = ~np.isnan(gappy)
  expected = abs(
    stats.kendalltau(gappy[there], ACCURACIES[there]).statistic
    - stats.kendalltau(BAD[there], ACCURACIES[there]).statistic
  )
  assert found.difference == pytest.approx(expected, abs=1e-12)
