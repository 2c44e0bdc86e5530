# SPDX-License-Identifier: Apache-2.0
"""The Bayesian bootstrap, and measures as a user would add them."""

import pathlib
import sys
import types

import jax.numpy as jnp
import numpy as np
import problems
import pytest
from scipy import stats

from neucrab_jax import measures
from neucrab_jax.measures import measure, registry, resampling


def test_weights_are_ones_and_then_those_of_the_bayesian_bootstrap():
  weights = resampling.weightings(500, seed=0, num_resamples=40)
  assert weights.shape == (41, 500)
  np.testing.assert_array_equal(weights[0], 1)
  np.testing.assert_allclose(weights.mean(axis=1), 1)
  assert (weights > 0).all()
  assert stats.kstest(weights[1:].ravel(), 'expon').pvalue > 1e-3


def test_weights_depend_on_the_seed_and_the_number_of_examples():
  def draw(n, seed):
    return resampling.weightings(n, seed=seed, num_resamples=2)[1]

  np.testing.assert_array_equal(draw(9, 0), draw(9, 0))
  assert not np.array_equal(draw(9, 0), draw(9, 1))
  assert not np.array_equal(draw(9, 0), draw(10, 0)[:9])


def test_copies_keep_every_example_s_class():
  labels = np.array([2, 0, 1, 1, 0, 2, 2, 0, 1, 1] * 30)
  copies = resampling.copies(labels, seed=0, num_resamples=50)
  np.testing.assert_array_equal(labels[copies], np.tile(labels, (50, 1)))
  # Each example is drawn as often as any other of its class.
  counts = np.bincount(copies.ravel(), minlength=300)
  assert stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize('name', ['knn', 'lfc', 'class_separation'])
def test_standard_error_is_the_spread_over_other_examples(name):
  """Of 30 data sets from one distribution, against the mean estimate."""
  scores, errors = [], []
  for seed in range(30):
    x, labels = problems.make('plain', seed=7, num_examples=4000)
    chosen = np.random.default_rng(seed).choice(4000, 200, replace=False)
    found = measures.evaluate(
      name, features=x[chosen], labels=labels[chosen], num_resamples=20
    )
    scores.append(found.score)
    errors.append(found.stderr)
  # The standard deviation of 30 has a standard error of an eighth of itself.
  assert np.mean(errors) == pytest.approx(np.std(scores, ddof=1), rel=0.4)


@pytest.fixture
def between_variance(monkeypatch):
  """The measure of ten lines that CONTRIBUTING.md adds."""
  readme = pathlib.Path(__file__).parents[2] / 'CONTRIBUTING.md'
  (source,) = (
    block.split('```')[0]
    for block in readme.read_text(encoding='utf-8').split('```python\n')
    if 'def between_variance' in block.split('```')[0]
  )
  module = types.ModuleType('between_variance')
  exec(source, module.__dict__)
  monkeypatch.setitem(sys.modules, 'between_variance', module)
  monkeypatch.setitem(registry.MODULES, 'between_variance', 'between_variance')


@pytest.mark.usefixtures('between_variance')
def test_a_measure_of_ten_lines_is_scored_and_resampled():
  x, labels = problems.make('plain', num_examples=100)
  assert 'between_variance' in measures.names()
  found = measures.evaluate('between_variance', features=x, labels=labels)
  means = np.stack([x[labels == c].mean(axis=0) for c in range(5)])
  expected = means.var(axis=0).sum() / x.var(axis=0).sum()
  assert found.score == pytest.approx(expected, rel=1e-5)
  assert len(found.resamples) == 20
  assert 0 < found.std == found.stderr
  assert 'resampled' in measures.spread('between_variance')
  assert measures.default_options('between_variance') == {'power': 1.0}
  with pytest.raises(ValueError, match=r'at least 0\.0, not -1'):
    measures.score('between_variance', features=x, labels=labels, power=-1.0)
  with pytest.raises(ValueError, match='NaN or Inf'):
    measures.score('between_variance', features=jnp.nan * x, labels=labels)


def test_scores_that_are_no_numbers_are_refused(monkeypatch):
  from neucrab_jax.measures import lfc

  def give(function):
    monkeypatch.setattr(lfc, 'MEASURE', measure.Measure(function, 'bad'))

  give(lambda *, labels, example_weights: np.nan * example_weights[:, 0])
  with pytest.raises(ValueError, match='lfc came to nan'):
    measures.score('lfc', labels=np.arange(10) % 2)
  give(lambda *, labels, example_weights: np.ones(3))
  with pytest.raises(ValueError, match=r'\(3,\) scores for 1 weightings'):
    measures.score('lfc', labels=np.arange(10) % 2)
