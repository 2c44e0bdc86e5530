# SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import pytest
from scipy import stats

from configs import measure as measure_config
from configs import measures as measures_config
from neucrab_jax import features, measures, storage
from neucrab_jax.ranking import dropping, predictions, record, run
from tests.ranking import ranked

# Each class is further from the others than in the one before.
NAMES = ('a', 'b', 'c', 'd', 'e', 'f')
NUM_EXAMPLES = 420


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """Files of features, of which d, e and f are about as good."""
  folder = tmp_path_factory.mktemp('files')
  rng = np.random.default_rng(0)
  labels = np.arange(NUM_EXAMPLES) % 3
  centres = rng.standard_normal((3, 16))
  for name, strength in zip(NAMES, (0, 0.2, 0.4, 0.8, 0.8, 0.8), strict=True):
    x = strength * centres[labels] + rng.standard_normal((NUM_EXAMPLES, 16))
    np.savez(folder / f'{name}.npz', features=x, labels=labels)
  return folder


def config_of(pattern, *, top, measure='knn', **race):
  config = ranked.files_config(pattern, measure)
  config.race.update(top=top, **race)
  return config


def test_the_best_are_those_of_all_examples(folder, tmp_path):
  whole = ranked.rank(ranked.files_config(folder), str(tmp_path / 'whole'))
  raced = ranked.rank(config_of(folder, top=2), str(tmp_path / 'race'))
  best = list(ranked.scores_of(whole))[:2]
  assert list(ranked.scores_of(raced))[:2] == best
  race = raced['race']
  dropped = {one['checkpoint']: one for one in race['dropped']}
  assert {'a', 'b'} <= set(dropped)
  assert not set(dropped) & set(best)
  # Whoever left last is next to those who were left, with what they had.
  last = [e['checkpoint'] for e in raced['ranking'] if 'num_examples' in e]
  assert set(last) == set(dropped)
  assert list(ranked.scores_of(raced))[-len(last) :] == last
  sizes = [e['num_examples'] for e in raced['ranking'] if 'num_examples' in e]
  assert sizes == sorted(sizes, reverse=True)
  end = race['rounds'][-1]['num_examples']
  assert race['passes'] == sum(sizes) + end * (len(NAMES) - len(sizes))
  assert race['all_passes'] == NUM_EXAMPLES * len(NAMES)
  assert race['rounds'][0] == {
    'num_examples': 100,
    'checkpoints': len(NAMES),
    'left': len(NAMES) - sizes.count(100),
  }
  if end == NUM_EXAMPLES:
    scores = ranked.scores_of(whole)
    assert all(ranked.scores_of(raced)[name] == scores[name] for name in best)


def test_all_that_a_round_scores_is_of_one_stratified_beginning(
  folder, tmp_path
):
  raced = ranked.rank(config_of(folder, top=2), str(tmp_path / 'run'))
  with np.load(folder / 'a.npz') as arrays:
    labels, x = arrays['labels'], arrays['features']
  order = features.whole(labels).order
  np.testing.assert_array_equal(np.sort(order), np.arange(NUM_EXAMPLES))
  first = np.sort(order[:100])
  assert np.ptp(np.bincount(labels[first])) <= 1
  assert ranked.scores_of(raced)['a'] == measures.score(
    'knn', features=x[first], labels=labels[first]
  )


def test_a_race_is_written_shown_and_read(folder, tmp_path, capsys):
  ranking = run.rank(config_of(folder, top=1), str(tmp_path))['knn']
  written, resamples = record.read(tmp_path / 'ranking.json')
  assert written == ranking
  # All looks together risk no more than was asked for.
  assert 0 < sum(one.in_top for one in ranking.race.dropped) <= 0.05
  header, *rows = (tmp_path / 'ranking.csv').read_text().splitlines()
  assert 'num_examples' in header
  assert len(rows) == len(NAMES)
  printed, progress = capsys.readouterr()
  assert 'in a race for the best 1' in printed
  assert '100 of 420 examples: ' in progress
  page = (tmp_path / 'report.html').read_text()
  assert page.count('<rect') == len(NAMES)
  # Scores of different examples are no prediction; their order is.
  predicted = predictions.of_ranking(
    ranking, source=tmp_path / 'ranking.json', resamples=resamples
  )
  assert [p.value for p in predicted.scores.values()] == [
    -1.0,
    -2.0,
    -3.0,
    -4.0,
    -5.0,
    -6.0,
  ]


def test_who_fails_in_a_race_fails_alone(folder, tmp_path):
  for file in folder.iterdir():
    (tmp_path / file.name).write_bytes(file.read_bytes())
  (tmp_path / 'f.npz').write_bytes(b'damaged')
  raced = ranked.rank(config_of(tmp_path, top=2), str(tmp_path / 'run'))
  assert [failure['checkpoint'] for failure in raced['failed']] == ['f']
  assert set(ranked.scores_of(raced)) == set(NAMES) - {'f'}


@pytest.mark.parametrize(
  ('measure', 'race', 'message'),
  [
    ('knn', {'top': -1}, 'race.top must be at least 0'),
    ('knn', {'top': 1, 'confidence': 1.0}, 'race.confidence must be'),
    ('knn', {'top': 1, 'seed': -1}, 'seed'),
    ('num_parameters', {'top': 1}, 'No race can be by num_parameters'),
    ('early_stopping', {'top': 1}, 'No race can be by early_stopping'),
  ],
)
def test_a_race_that_cannot_be_is_refused(
  measure, race, message, folder, tmp_path
):
  config = config_of(folder, measure=measure, **race)
  with pytest.raises(ValueError, match=message):
    run.rank(config, str(tmp_path))


def test_a_race_is_by_one_measure(folder, tmp_path):
  config = measures_config.get_config()
  config.measures, config.features = 'knn,lfc', str(folder)
  config.race.top = 1
  with pytest.raises(ValueError, match='by one measure, and not by knn, lfc'):
    run.rank(config, str(tmp_path))


def test_chances_are_those_of_a_normal_distribution():
  """Of two with independent scores the first is best with Φ(d / √2σ)."""
  found = dropping.in_top([1.0, 0.0], np.diag([0.5, 0.5]), top=1)
  expected = stats.norm.cdf(1.0)
  np.testing.assert_allclose(found, [expected, 1 - expected], atol=0.015)
  np.testing.assert_array_equal(
    dropping.in_top([1.0, 0.0], np.eye(2), top=2), [1, 1]
  )


def test_checkpoints_race_and_go_on_from_what_is_cached(tmp_path):
  """A run of all examples after a race extracts only what that left out."""
  config = measure_config.get_config('knn')
  config.checkpoints = 'mini_sup_glyphs,mini_sup_textures'
  config.batch_size = 50
  config.task.num_examples = 250
  config.cache_dir = str(tmp_path / 'cache')
  config.race.top = 1
  raced = ranked.rank(config, str(tmp_path / 'race'))
  assert raced['ranking'][1]['num_examples'] == 100
  (kept,) = (tmp_path / 'cache' / 'prefixes').glob('mini_sup_textures*')
  with np.load(kept) as arrays:
    assert len(arrays['labels']) == 100
    about = json.loads(str(arrays['provenance']))
  config.race.top = 0
  whole = ranked.rank(config, str(tmp_path / 'whole'))
  config.cache_dir = str(tmp_path / 'other')
  fresh = ranked.rank(config, str(tmp_path / 'fresh'))
  assert not kept.exists()
  assert about['weights']
  assert storage.to_builtins(ranked.scores_of(whole)) == ranked.scores_of(fresh)
  assert [e['fingerprint'] for e in whole['ranking']] == [
    e['fingerprint'] for e in fresh['ranking']
  ]
