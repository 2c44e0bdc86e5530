# SPDX-License-Identifier: Apache-2.0
import numpy as np
from scipy import stats

from neucrab_jax.benchmark import bootstrap
from tests.benchmark.aligned_scores import ACCURACIES, GOOD, NAMES, draw, make


def agreements(metric, aligned, draws):
  scores = bootstrap.draw_scores(aligned, 0, draws)
  return bootstrap.agreements((metric,), scores, draws)[metric]


def test_only_what_is_named_is_resampled():
  aligned = make(
    tasks=('t', 'u'), resamples=(-0.1, 0.1), by_seed=(0, 0.01), good=GOOD
  )
  assert bootstrap.available(aligned) == bootstrap.SOURCES
  for source in bootstrap.SOURCES:
    draws = draw(aligned, sources={source})
    moved = {
      'checkpoints': np.ptp(draws.weights) > 0,
      'tasks': np.ptp(draws.task_weights) > 0,
      'examples': draws.phases is not None,
      'seeds': draws.accuracies[0].ndim == 2,
    }
    assert [name for name, there in moved.items() if there] == [source]
    assert draws.weights.shape == (2_000, len(NAMES))
    taus = agreements('kendall_tau', aligned, draws)
    assert taus.shape == (2, 2_000)
  nothing = draw(aligned, sources=())
  taus = agreements('kendall_tau', aligned, nothing)
  assert np.ptp(taus) == 0


def test_what_is_not_recorded_is_not_available():
  assert bootstrap.available(make(good=GOOD)) == ('checkpoints',)
  assert 'examples' in bootstrap.available(make(good=GOOD, error=0.01))


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
  aligned = make(good=GOOD)
  taus = agreements('pearson', aligned, draw(aligned))[0]
  theirs = stats.bootstrap(
    (GOOD, ACCURACIES),
    lambda x, y: stats.pearsonr(x, y).statistic,
    paired=True,
    vectorized=False,
    n_resamples=2_000,
    method='percentile',
    random_state=1,
  ).confidence_interval
  np.testing.assert_allclose(bootstrap.interval(taus), theirs, atol=0.02)


def test_an_average_is_over_the_tasks_drawn():
  values = np.array([[1.0, 1.0, np.nan], [0.0, 0.0, 0.5]])
  task_weights = np.array([[1, 1], [2, 0], [1, 1]])
  np.testing.assert_array_equal(
    bootstrap.average(values, task_weights), [0.5, 1.0, 0.5]
  )


def test_taus_are_averaged_over_the_tasks_drawn():
  aligned = make(tasks=('t', 'u'), by_seed=(0, 0.01), good=GOOD)
  draws = draw(aligned)
  np.testing.assert_array_equal(
    bootstrap.taus(bootstrap.draw_scores(aligned, 0, draws), draws),
    bootstrap.average(
      agreements('kendall_tau', aligned, draws), draws.task_weights
    ),
  )


def test_no_interval_of_nothing():
  assert bootstrap.interval(np.full(5, np.nan)) is None
