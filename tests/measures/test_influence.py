# SPDX-License-Identifier: Apache-2.0
"""How sure scores are, against leaving out, resampling and drawing anew."""

import numpy as np
import problems
import pytest

from neucrab_jax import measures
from neucrab_jax.measures import measure, registry

SMOOTH = (
  'leep', 'nce', 'class_separation', 'h_score', 'h_score_regularized', 'logme',
  'transrate', 'gbc', 'parc', 'lfc', 'pactran_dirichlet', 'interclass_distance',
  'concept_variance',
)  # fmt: skip


def make(kind, *, num_examples, seed=0):
  x, labels = problems.make(kind, seed=seed, num_examples=num_examples)
  return {
    'features': x,
    'source_probs': problems.make_source_probs(labels, seed=seed),
    'labels': labels,
  }


def takes(name, problem):
  parameters = registry.find(name).parameters
  return {key: value for key, value in problem.items() if key in parameters}


@pytest.mark.parametrize('kind', ['plain', 'correlated', 'separable'])
@pytest.mark.parametrize('name', SMOOTH)
def test_influence_is_what_an_example_is_missed_by(name, kind):
  """The jackknife: the score without each of thirty examples."""
  function = registry.find(name).function
  given = takes(name, make(kind, num_examples=150))
  whole = function(**given)
  influence = measure.influence(whole)
  influence = influence - influence.mean()
  chosen = np.arange(0, 150, 5)
  missed = []
  for example in chosen:
    rest = np.arange(150) != example
    score = function(**{key: value[rest] for key, value in given.items()})
    missed.append(149 * (whole.value - score.value))
  if np.std(missed) < 1e-6:
    assert np.std(influence) < 1e-6
    return
  assert np.corrcoef(missed, influence[chosen])[0, 1] > 0.9
  assert np.std(missed) == pytest.approx(np.std(influence[chosen]), rel=0.35)


@pytest.mark.parametrize('num_dims', [10, 30])
def test_logme_without_one_of_a_few_of_a_class_is_known_well(num_dims):
  rng = np.random.default_rng(0)
  labels = np.repeat([0, 1, 2, 3], [4, 6, 20, 30])
  x = (
    rng.standard_normal((60, num_dims))
    + rng.standard_normal((4, num_dims))[labels]
  )
  function = registry.find('logme').function
  whole = function(features=x, labels=labels)
  missed = []
  for example in range(60):
    rest = np.arange(60) != example
    score = function(features=x[rest], labels=labels[rest])
    missed.append(59 * (whole.value - score.value))
  found = measure.influence(whole)
  found = found - found.mean()
  np.testing.assert_allclose(
    found, missed - np.mean(missed), atol=0.15 * np.std(missed)
  )


# Of 14,000 scores, whose shapes all other tests check.
@pytest.mark.usefixtures('unchecked_shapes')
@pytest.mark.parametrize(
  'name',
  [
    'leep',
    'nce',
    'class_separation',
    'h_score',
    'h_score_regularized',
    'lfc',
    'gbc',
  ],
)
@pytest.mark.parametrize(
  ('kind', 'num_examples', 'seed'),
  [
    ('plain', 400, 0),
    ('plain', 600, 1),
    ('correlated', 400, 2),
    ('large', 400, 3),
    ('tiny', 500, 4),
  ],
)
def test_standard_error_is_that_of_the_bootstrap(
  name, kind, num_examples, seed
):
  """Of 400 resamples, whose standard error is 4 % of itself."""
  given = make(kind, num_examples=num_examples, seed=seed)
  plain = measures.evaluate(name, **given)
  refitted = measures.evaluate(name, **given, num_resamples=400)
  assert plain.stderr == pytest.approx(refitted.stderr, rel=0.15)


@pytest.mark.parametrize(
  'name',
  ['knn', 'ridge_loo', 'nleep', 'linear', 'h_score_regularized'],
)
def test_standard_error_is_the_spread_over_new_examples(name):
  """Of 25 draws from one distribution, against the mean estimate."""
  x, labels = problems.make('plain', seed=7, num_examples=4000)
  # As hard as real tasks: neither certain nor at chance.
  x = x + np.random.default_rng(7).standard_normal(x.shape).astype(x.dtype)
  draws = [
    np.sort(np.random.default_rng(seed).choice(4000, 200, replace=False))
    for seed in range(25)
  ]
  found = [
    measures.evaluate(name, features=x[chosen], labels=labels[chosen])
    for chosen in draws
  ]
  spread = np.std([one.score for one in found], ddof=1)
  # The spread of 25 has a standard error of a seventh of itself.
  assert np.mean([one.stderr for one in found]) == pytest.approx(
    spread, rel=0.5
  )


def test_what_is_not_of_the_checkpoint_is_told():
  rng = np.random.default_rng(0)
  labels = rng.permutation(np.arange(60) % 3)
  noise = rng.standard_normal((60, 200))

  def told(name, features, **options):
    found = measures.evaluate(name, features=features, labels=labels, **options)
    return ' '.join(found.warnings)

  # With as many dimensions as examples any labels are explained.
  assert 'largest score that there can be' in told('h_score', noise)
  assert 'largest score that there can be' in told('sfda', 10 * noise)
  assert 'Permuted labels score' in told('transrate', noise)
  for name in ('h_score', 'transrate', 'knn', 'lfc'):
    assert told(name, noise[:, :6] + 0.3 * labels[:, None]) == ''
  dead = noise[:, :6] * np.array([1, 1, 0, 1, 0, 1])
  assert '2 of 6 features are the same' in told('lfc', dead)
  assert '20 of 60 rows' in told('knn', noise[np.arange(60) % 40, :6])


@pytest.mark.parametrize('scale', [2.0**-80, 1e-20, 1e30])
@pytest.mark.parametrize('offset', [0.0, 1e5, 1e9])
@pytest.mark.parametrize(
  'name', ['nleep', 'knn', 'linear', 'ridge_loo', 'lfc', 'concept_variance']
)
def test_neither_a_unit_nor_an_offset_counts(name, offset, scale):
  x, labels = problems.make('plain', num_examples=100)
  # So that they are the same in f64 with the offset.
  x = np.round(x.astype(np.float64) * 2**16) / 2**16
  plain = measures.score(name, features=x, labels=labels)
  moved = measures.score(name, features=(x + offset) * scale, labels=labels)
  assert moved == pytest.approx(plain, rel=1e-3, abs=0.02)


@pytest.mark.parametrize(
  ('name', 'change', 'like'),
  [
    ('sfda', lambda x: x * 1e39, lambda x: x * 1e6),
    ('class_separation', lambda x: x * 1e39, lambda x: x),
    ('class_separation', lambda x: x + 1e9, lambda x: x + 1e5),
  ],
)
def test_units_and_offsets_cost_no_digits_where_they_count(name, change, like):
  x, labels = problems.make('plain', num_examples=100)
  scores = [
    measures.score(name, features=form(np.float64(x)), labels=labels)
    for form in (change, like)
  ]
  assert scores[0] == pytest.approx(scores[1], rel=1e-3, abs=0.01)


def test_logme_of_an_offset_costs_its_logarithm():
  x, labels = problems.make('plain', num_examples=100)
  # The prior of the one direction that is as long as the offset.
  far, near = (
    measures.score('logme', features=np.float64(x) + offset, labels=labels)
    + np.log(offset) / len(x)
    for offset in (1e9, 1e4)
  )
  assert far == pytest.approx(near, abs=1e-4)


@pytest.mark.parametrize('scale', [2.0**64, 1e3])
def test_logme_says_where_it_ends_too_early(scale):
  x, labels = problems.make('plain', num_examples=100)
  found = measures.evaluate('logme', features=x * scale, labels=labels)
  assert 'Divide all' in ' '.join(found.warnings)
  assert not measures.evaluate('logme', features=x, labels=labels).warnings


def test_what_has_no_square_is_refused():
  x, labels = problems.make('plain', num_examples=40)
  for scale in (1e100, 1e-100):
    with pytest.raises(ValueError, match='no fourth power'):
      measures.score('knn', features=np.float64(x) * scale, labels=labels)
