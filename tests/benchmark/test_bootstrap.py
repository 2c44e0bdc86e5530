# SPDX-License-Identifier: Apache-2.0
import itertools

import numpy as np
import pytest
from scipy import stats

from neucrab_jax.benchmark import joining, predictions, truth, uncertainty

NAMES = tuple('abcdefgh')
RNG = np.random.default_rng(0)
ACCURACIES = RNG.permutation(np.linspace(0.3, 0.9, len(NAMES)))
# Near the truth, and nothing to do with it.
GOOD = ACCURACIES + 0.05 * RNG.standard_normal(len(NAMES))
BAD = RNG.standard_normal(len(NAMES))


def make(*, tasks=('t',), resamples=(), by_seed=(), error=0.0, **scores):
  """A contest of the same scores and accuracies on every task."""
  given = [
    predictions.Scores(
      measure,
      task,
      {
        name: predictions.Score(
          value, 'ranking.json', tuple(value + r for r in resamples)
        )
        for name, value in zip(NAMES, values, strict=True)
        if not np.isnan(value)
      },
    )
    for measure, values in scores.items()
    for task in tasks
  ]
  table = {
    name: truth.Accuracy(
      value,
      'accuracies.csv',
      by_seed=tuple(value + s for s in by_seed),
      standard_error=error,
    )
    for name, value in zip(NAMES, ACCURACIES, strict=True)
  }
  truths = {'accuracy': dict.fromkeys(tasks, table)}
  (duel,) = joining.join('group', scores=given, truths=truths)
  return duel


def draw(duel, **options):
  rng = np.random.default_rng(0)
  return uncertainty.draw(duel, rng, num=2_000, **options)


def test_only_what_is_named_is_resampled():
  duel = make(
    tasks=('t', 'u'), resamples=(-0.1, 0.1), by_seed=(0, 0.01), good=GOOD
  )
  (entrant,) = duel.contestants
  assert uncertainty.available(duel) == uncertainty.SOURCES
  for source in uncertainty.SOURCES:
    draws = draw(duel, sources={source})
    moved = {
      'checkpoints': np.ptp(draws.weights) > 0,
      'tasks': np.ptp(draws.task_weights) > 0,
      'examples': draws.phases is not None,
      'seeds': draws.accuracies[0].ndim == 2,
    }
    assert [name for name, there in moved.items() if there] == [source]
    assert draws.weights.shape == (2_000, len(NAMES))
    taus = uncertainty.agreements('kendall_tau', entrant, draws)
    assert taus.shape == (2, 2_000)
  nothing = draw(duel, sources=())
  taus = uncertainty.agreements('kendall_tau', entrant, nothing)
  assert np.ptp(taus) == 0


def test_what_is_not_recorded_is_not_available():
  assert uncertainty.available(make(good=GOOD)) == ('checkpoints',)
  assert 'examples' in uncertainty.available(make(good=GOOD, error=0.01))


def test_the_noise_of_test_examples_is_their_standard_error():
  drawn = draw(make(good=GOOD, error=0.02), sources={'examples'}).accuracies[0]
  np.testing.assert_allclose(drawn.std(axis=0), 0.02, rtol=0.1)
  np.testing.assert_allclose(drawn.mean(axis=0), ACCURACIES, atol=2e-3)


def test_means_of_seeds_have_the_spread_of_a_mean():
  seeds = np.array([-0.03, 0.0, 0.03])
  drawn = draw(make(good=GOOD, by_seed=seeds), sources={'seeds'}).accuracies[0]
  np.testing.assert_allclose(
    drawn.std(axis=0), seeds.std() / np.sqrt(3), rtol=0.1
  )


def test_the_bootstrap_is_that_of_scipy():
  duel = make(good=GOOD)
  (entrant,) = duel.contestants
  taus = uncertainty.agreements('pearson', entrant, draw(duel))[0]
  theirs = stats.bootstrap(
    (GOOD, ACCURACIES),
    lambda x, y: stats.pearsonr(x, y).statistic,
    paired=True,
    vectorized=False,
    n_resamples=2_000,
    method='percentile',
    random_state=1,
  ).confidence_interval
  np.testing.assert_allclose(uncertainty.interval(taus), theirs, atol=0.02)


@pytest.mark.parametrize('scores', [GOOD, BAD])
def test_the_p_value_is_that_of_all_orders(scores):
  duel = make(m=scores)
  orders = np.array(list(itertools.permutations(range(len(NAMES)))))
  null = uncertainty.null(duel.contestants[0], duel, orders)[0]
  exact = stats.kendalltau(scores, ACCURACIES, method='exact')
  found = uncertainty.p_value(exact.statistic, null)
  assert found == pytest.approx(exact.pvalue, abs=2 / len(orders))


def test_random_orders_are_orders_and_uniform():
  orders = uncertainty.permutations(np.random.default_rng(0), num=6_000, size=3)
  found, counts = np.unique(orders, axis=0, return_counts=True)
  assert len(found) == 6
  assert stats.chisquare(counts).pvalue > 1e-3


def test_an_average_is_over_the_tasks_drawn():
  values = np.array([[1.0, 1.0, np.nan], [0.0, 0.0, 0.5]])
  task_weights = np.array([[1, 1], [2, 0], [1, 1]])
  np.testing.assert_array_equal(
    uncertainty.average(values, task_weights), [0.5, 1.0, 0.5]
  )


def test_no_interval_of_nothing():
  assert uncertainty.interval(np.full(5, np.nan)) is None


def test_holm_by_its_definition():
  p = np.array([0.04, 0.01, 0.03, 0.5])
  # 4 × .01; 3 × .03; 2 × .04, but not below the one before; .5.
  np.testing.assert_allclose(
    uncertainty.holm(p), [0.09, 0.04, 0.09, 0.5], rtol=1e-12
  )
  assert (uncertainty.holm([0.9, 0.8]) == 1).all()
  assert uncertainty.holm([]).size == 0


def test_holm_keeps_its_promise_where_nothing_differs():
  rng = np.random.default_rng(0)
  wrong = [uncertainty.holm(rng.random(10)).min() < 0.05 for _ in range(2_000)]
  assert np.mean(wrong) < 0.065


def test_the_good_beats_its_opposite_and_not_itself():
  duel = make(good=GOOD, twin=GOOD.copy(), worst=-ACCURACIES)
  found = uncertainty.compare(
    duel, draw(duel), entrants={'good', 'twin', 'worst'}
  )
  by_pair = {(c['better'], c['worse']): c for c in found}
  assert len(found) == 3
  assert by_pair['good', 'worst']['p_holm'] < 0.01
  assert by_pair['good', 'worst']['low'] > 0
  twins = by_pair['good', 'twin']
  assert twins['p_holm'] == 1
  assert twins['difference'] == 0


def test_two_are_compared_on_what_both_have_scored():
  gappy = GOOD.copy()
  gappy[[0, 3]] = np.nan
  duel = make(whole=BAD, gappy=gappy)
  (found,) = uncertainty.compare(duel, draw(duel), entrants={'whole', 'gappy'})
  there = ~np.isnan(gappy)
  expected = abs(
    stats.kendalltau(gappy[there], ACCURACIES[there]).statistic
    - stats.kendalltau(BAD[there], ACCURACIES[there]).statistic
  )
  assert found['difference'] == pytest.approx(expected, abs=1e-12)
