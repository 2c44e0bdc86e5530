# SPDX-License-Identifier: Apache-2.0
"""What every measure promises, tested for every measure there is."""

import pathlib

import numpy as np
import problems
import pytest

from neucrab_jax import measures

NAMES = measures.names()
# Controls that see no example but what is known of the checkpoint.
BLIND = ('num_parameters', 'upstream_accuracy', 'early_stopping')
ABOUT = {
  'num_parameters': 1000,
  'upstream_accuracy': 0.7,
  'fine_tune': lambda **options: np.linspace(0.4, 0.6, options['num_seeds']),
}


def takes(name, needed):
  return (
    measures.lacks(
      name, **{**ABOUT, 'features': 1, 'source_probs': 1, needed: None}
    )
    is not None
  )


def score(name, x, labels, probs, num_resamples=2, **options):
  return measures.evaluate(
    name,
    features=x,
    labels=labels,
    source_probs=probs,
    **ABOUT,
    num_resamples=num_resamples,
    **options,
  )


@pytest.fixture
def problem():
  x, labels = problems.make('plain', num_examples=40)
  return x, labels, problems.make_source_probs(labels)


def test_every_measure_has_its_own_file_and_tests():
  package = pathlib.Path(measures.__file__).parent
  files = {file.stem for file in package.glob('*.py')} - {
    '__init__',
    'columns',
    'doubts',
    'evaluation',
    'inputs',
    'measure',
    'registry',
    'resampling',
  }
  assert files == set(NAMES)
  tests = pathlib.Path(__file__).parent.glob('test_*.py')
  text = '\n'.join(t.read_text() for t in tests if t.name != 'test_contract.py')
  assert not [name for name in NAMES if f"'{name}'" not in text]


@pytest.mark.parametrize('name', NAMES)
def test_inputs_are_left_alone(name, problem):
  before = [array.copy() for array in problem]
  for array in problem:
    array.flags.writeable = False
  score(name, *problem)
  for array, copy in zip(problem, before, strict=True):
    np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize('name', NAMES)
def test_same_seed_same_bytes(name, problem):
  assert score(name, *problem) == score(name, *problem)


@pytest.mark.parametrize('name', NAMES)
def test_order_of_examples_matters_no_more_than_chance(name, problem):
  order = np.random.default_rng(0).permutation(len(problem[1]))
  plain = score(name, *problem)
  shuffled = score(name, *(array[order] for array in problem))
  drawn = 'standard deviation' in measures.spread(name)
  tolerance = 4 * plain.std if drawn else 1e-6
  assert shuffled.score == pytest.approx(plain.score, rel=1e-5, abs=tolerance)


@pytest.mark.parametrize('name', NAMES)
def test_names_of_classes_matter_no_more_than_chance(name, problem):
  x, labels, probs = problem
  renamed = np.array([3, 0, 4, 1, 2])[labels]
  plain, other = score(name, *problem), score(name, x, renamed, probs)
  drawn = 'standard deviation' in measures.spread(name)
  tolerance = 4 * plain.std if drawn else 1e-6
  assert other.score == pytest.approx(plain.score, rel=1e-5, abs=tolerance)


@pytest.mark.parametrize('name', NAMES)
def test_how_sure_a_score_is_comes_of_its_examples(name, problem):
  found = score(name, *problem, num_resamples=0)
  assert found.resamples == ()
  if name in BLIND or name == 'random':
    assert found.influence is None
    return
  assert found.influence.shape == problem[1].shape
  by_class = np.bincount(problem[1], found.influence)
  np.testing.assert_allclose(by_class, 0, atol=1e-9)
  variance = np.mean(found.influence**2) / len(problem[1])
  assert found.stderr == pytest.approx(np.sqrt(variance + found.noise**2))
  assert found.stderr > 0


@pytest.mark.parametrize('name', ['knn', 'lfc', 'nce', 'random'])
def test_resampling_is_beside_the_score(name, problem):
  resampled = score(name, *problem)
  plain = score(name, *problem, num_resamples=0)
  assert plain.score == pytest.approx(resampled.score, rel=1e-12)
  if name == 'random':
    assert resampled.resamples == ()
    return
  assert len(resampled.resamples) == 2
  assert resampled.stderr == pytest.approx(np.std(resampled.resamples, ddof=1))
  assert resampled.influence is None


EDGES = ('constant', 'duplicates', 'single', 'tiny', 'empty')


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('edge', EDGES)
def test_no_nan_at_the_edges(name, edge):
  x, labels = problems.make('plain', num_examples=40)
  if edge == 'constant':
    x = np.ones_like(x)
  elif edge == 'duplicates':
    x = np.repeat(x[:4], 10, axis=0)
  elif edge == 'single':
    # Still five classes: another number of them is another program.
    labels = np.where(np.arange(40) == 7, 4, labels % 4)
  elif edge == 'tiny':
    x = x * np.float32(1e-30)
  probs = problems.make_source_probs(labels)
  if edge == 'empty':  # a class of the task and one of the source
    labels = np.where(labels > 2, labels + 1, labels)
    probs = np.where(np.arange(8) == 3, 0, probs)
    probs /= probs.sum(axis=1, keepdims=True)
  found = score(name, x, labels, probs)
  assert np.isfinite([found.score, found.std, *found.resamples]).all()


@pytest.mark.parametrize('name', NAMES)
def test_a_class_with_one_example_is_told(name, problem):
  x, labels, probs = problem
  labels = np.where(np.arange(len(labels)) == 7, 5, labels)
  found = measures.check_inputs(
    name, features=x, labels=labels, source_probs=probs, **ABOUT
  )
  (warning,) = found.warnings
  assert 'single example' in warning


@pytest.mark.parametrize('name', NAMES)
def test_default_options_are_within_their_limits(name):
  measures.check_options(name, measures.default_options(name))


@pytest.mark.parametrize('name', NAMES)
def test_has_a_variant_and_a_spread(name):
  assert measures.variant(name, measures.default_options(name))
  assert measures.spread(name).split(' over ')[0] in (
    'standard deviation',
    'standard error',
  )


BAD_FEATURES = {
  'NaN': (lambda x: np.where(x == x[3, 3], np.nan, x), 'NaN or Inf.*row 3'),
  'Inf': (lambda x: np.where(x == x[3, 3], np.inf, x), 'NaN or Inf.*row 3'),
  'rank': (lambda x: x[:, :, None], r'rank 2.*\(40, 24, 1\)'),
  'rows': (lambda x: x[:-1], '39 rows of .* 40 labels'),
  'complex': (lambda x: x.astype(np.complex64), 'real numbers.*complex64'),
  'empty': (lambda x: x[:, :0], 'no columns'),
}


# One measure of features, and one of probabilities: the check is everyone's.
@pytest.mark.parametrize('name', ['knn', 'leep'])
@pytest.mark.parametrize('bad', BAD_FEATURES)
def test_bad_features_are_refused(name, bad, problem):
  x, labels, probs = problem
  spoil, message = BAD_FEATURES[bad]
  if takes(name, 'source_probs'):
    probs = spoil(np.pad(probs, ((0, 0), (0, 16))))
  else:
    x = spoil(x)
  with pytest.raises(ValueError, match=message):
    score(name, x, labels, probs)


@pytest.mark.parametrize('name', [n for n in NAMES if n not in BLIND])
def test_every_measure_has_its_features_checked(name, problem):
  x, labels, probs = problem
  given = [x, probs]
  given[takes(name, 'source_probs')] = np.full((40, 24), np.nan)
  with pytest.raises(ValueError, match=r'NaN or Inf.*row 0'):
    score(name, given[0], labels, given[1])


BAD_LABELS = {
  'float': (lambda y: y + 0.5, 'integers, but are float64'),
  'from one': (lambda y: y + 1, 'start at 0, but the smallest is 1'),
  'negative': (lambda y: y - 1, 'start at 0, but the smallest is -1'),
  'one class': (lambda y: 0 * y, 'at least two classes'),
  'identifiers': (
    lambda y: y.astype(np.int64) * 10**9,
    'more classes than there can be',
  ),
  'scores': (lambda y: np.eye(5)[y] / 2, 'vector of N integers'),
  'none': (lambda y: y[:0], 'vector of N integers'),
}


@pytest.mark.parametrize('bad', BAD_LABELS)
def test_bad_labels_are_refused(bad, problem):
  x, labels, probs = problem
  spoil, message = BAD_LABELS[bad]
  with pytest.raises(ValueError, match=message):
    score('knn', x, spoil(labels), probs)


@pytest.mark.parametrize('name', NAMES)
def test_every_measure_has_its_labels_checked(name, problem):
  x, labels, probs = problem
  with pytest.raises(ValueError, match='at least two classes'):
    score(name, x, 0 * labels, probs)


def test_unknown_measure_names_the_nearest():
  with pytest.raises(ValueError, match=r"'nlep'.*mean 'nleep'"):
    measures.score('nlep', labels=np.arange(2))


def test_unknown_option_names_the_nearest(problem):
  with pytest.raises(ValueError, match=r"'enrgy'.*mean 'energy'"):
    score('nleep', *problem, enrgy=0.5)


@pytest.mark.parametrize(
  ('option', 'value', 'message'),
  [
    ('energy', 1.5, 'from 0.0 to 1.0, not 1.5'),
    ('energy', float('nan'), 'not nan'),
    ('energy', 'most', "float, not 'most'"),
    ('num_seeds', 1, 'at least 2, not 1'),
    ('num_seeds', 3.5, 'int, not 3.5'),
    ('energy', None, 'float, not None'),
    ('components_per_class', True, 'int, not True'),
    ('variant', 'papr', "mean 'paper'"),
  ],
)
def test_bad_options_are_refused(option, value, message):
  with pytest.raises(ValueError, match=message):
    measures.check_options('nleep', {option: value})


def test_missing_source_probs_are_told(problem):
  x, labels, _ = problem
  with pytest.raises(ValueError, match='leep needs source_probs'):
    measures.score('leep', features=x, labels=labels)


@pytest.mark.parametrize(
  ('spoil', 'message'),
  [
    (lambda p: p - 0.5, 'negative.*softmax'),
    (lambda p: p * (np.arange(len(p)) != 4)[:, None], 'Row 4 .*all zero'),
  ],
)
def test_bad_source_probs_are_refused(spoil, message, problem):
  _, labels, probs = problem
  with pytest.raises(ValueError, match=message):
    measures.score('leep', source_probs=spoil(probs), labels=labels)


@pytest.mark.usefixtures('unchecked_shapes')
@pytest.mark.parametrize('number', [1, -3, 2.5])
def test_bad_numbers_of_resamples_are_refused(number, problem):
  with pytest.raises(ValueError, match=f'at least 2, not {number}'):
    score('knn', *problem, num_resamples=number)


@pytest.mark.parametrize('name', BLIND)
def test_what_is_not_known_of_a_checkpoint_is_told(name, problem):
  x, labels, _ = problem
  with pytest.raises(ValueError, match=f'{name} needs .* not known'):
    measures.score(name, features=x, labels=labels)


@pytest.mark.usefixtures('unchecked_shapes')
@pytest.mark.parametrize('name', ['num_parameters', 'upstream_accuracy'])
def test_what_is_known_of_a_checkpoint_is_a_number(name):
  with pytest.raises(ValueError, match='must be a number, not nan'):
    measures.score(name, labels=np.arange(4) % 2, **{name: float('nan')})
