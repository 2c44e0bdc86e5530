# SPDX-License-Identifier: Apache-2.0
"""Resampled examples, and measures as a user would add them."""

import dataclasses
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
from neucrab_jax.ops import stratified


def test_copies_keep_every_example_s_class():
  labels = np.array([2, 0, 1, 1, 0, 2, 2, 0, 1, 1] * 30)
  copies = resampling.copies(labels, seed=0, num_resamples=50)
  np.testing.assert_array_equal(labels[copies], np.tile(labels, (50, 1)))
  # Each example is drawn as often as any other of its class.
  counts = np.bincount(copies.ravel(), minlength=300)
  assert stats.chisquare(counts).pvalue > 1e-3


def test_halves_keep_half_of_every_class():
  labels = np.repeat([0, 1, 2], [1, 5, 8])
  halves = resampling.halves(labels, seed=0, num_resamples=6)
  for place, half in enumerate(halves):
    assert (np.diff(half) > 0).all()
    counts = np.bincount(labels[half])
    np.testing.assert_array_equal(counts, [1, 2 + place % 2, 4])
  assert len({tuple(half) for half in halves}) > 1


def test_first_order_resamples_have_the_standard_error():
  influence = np.random.default_rng(0).standard_normal(400)
  influence -= influence.mean()
  found = resampling.first_order(2.0, influence, noise=0.05, num_resamples=4000)
  assert np.mean(found) == pytest.approx(2, abs=0.01)
  expected = np.hypot(influence.std() / 20, 0.05)
  assert np.std(found) == pytest.approx(expected, rel=0.1)
  # Those of a sum are the sums of each: the same examples are drawn.
  doubled = resampling.first_order(4.0, 2 * influence, num_resamples=20)
  plain = resampling.first_order(2.0, influence, num_resamples=20)
  np.testing.assert_allclose(doubled, 2 * np.array(plain))


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
  assert 'examples' in measures.spread('between_variance')
  assert measures.default_options('between_variance') == {'power': 1.0}
  with pytest.raises(ValueError, match=r'at least 0\.0, not -1'):
    measures.score('between_variance', features=x, labels=labels, power=-1.0)
  with pytest.raises(ValueError, match='NaN or Inf'):
    measures.score('between_variance', features=jnp.nan * x, labels=labels)


def test_scores_that_are_no_numbers_are_refused(monkeypatch):
  from neucrab_jax.measures import lfc

  def give(function):
    monkeypatch.setattr(lfc, 'MEASURE', measure.Measure(function, 'bad'))

  give(lambda *, labels: np.nan)
  with pytest.raises(ValueError, match='lfc came to nan'):
    measures.score('lfc', labels=np.arange(10) % 2)
  give(lambda *, labels: np.ones(3))
  with pytest.raises(ValueError, match=r'lfc came to \[1\. 1\. 1\.\]'):
    measures.score('lfc', labels=np.arange(10) % 2)


@pytest.mark.parametrize('name', ['knn', 'parc'])
def test_of_many_examples_a_stratified_sample_is_compared(name, monkeypatch):
  rng = np.random.default_rng(0)
  labels = np.repeat([0, 1, 2], [300, 90, 30])
  features = rng.normal(size=(420, 4)) + labels[:, None]
  small = dataclasses.replace(registry.find(name), most_examples=140)
  monkeypatch.setattr(registry, 'find', lambda unused: small)
  found = measures.evaluate(name, features=features, labels=labels)
  chosen = stratified.sample(labels, num_examples=140)
  assert np.bincount(labels[chosen]).tolist() == [100, 30, 10]
  alone = measures.evaluate(
    name, features=features[chosen], labels=labels[chosen]
  )
  assert found.score == alone.score
  assert found.stderr == alone.stderr
  assert found.influence.shape == (420,)
  variance = np.mean(found.influence**2) / 420
  assert np.sqrt(variance) == pytest.approx(alone.stderr)
  assert '140 of 420 were taken' in ' '.join(found.warnings)
