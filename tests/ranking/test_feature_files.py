# SPDX-License-Identifier: Apache-2.0
"""Rankings of files of features."""

import dataclasses
import threading

import numpy as np
import pytest
from scipy import stats

from configs import measure as measure_config
from neucrab_jax import features, measures
from neucrab_jax.ranking import feature_files
from tests.ranking import ranked
from tests.ranking.ranked import rewrite


def test_ranks_files_of_features(tmp_path):
  folder = ranked.make_files(tmp_path / 'flowers')
  result = ranked.rank(
    ranked.files_config(folder / '*.npz'), str(tmp_path / 'run')
  )
  assert list(ranked.scores_of(result)) == ['c', 'b', 'a']
  assert result['task']['name'] == 'flowers'
  assert result['task']['num_examples'] == 60
  assert result['task']['num_classes'] == 3
  for name, score in ranked.scores_of(result).items():
    with np.load(folder / f'{name}.npz') as arrays:
      x, labels = arrays['features'].astype('f4'), arrays['labels']
    assert score == measures.score('knn', features=x, labels=labels)


BAD_FILES = {
  'NaN': (
    lambda f: rewrite(f, features=np.full((60, 4), np.nan)),
    'NaN',
  ),
  'rank': (lambda f: rewrite(f, features=np.ones((60, 4, 1))), 'rank 2'),
  'rows': (lambda f: rewrite(f, features=np.ones((59, 4))), '60 labels'),
  'float labels': (lambda f: rewrite(f, labels=np.full(60, 0.5)), 'integers'),
  'labels from 1': (
    lambda f: rewrite(f, labels=1 + np.arange(60) % 3),
    'start at 0',
  ),
  'other labels': (
    lambda f: rewrite(f, labels=np.arange(60) % 2),
    'same examples in the same order',
  ),
  'pickled': (
    lambda f: np.savez(
      f, features=np.array([{}] * 60, object), labels=np.arange(60) % 3
    ),
    'pickled',
  ),
  'truncated': (
    lambda f: f.write_bytes(f.read_bytes()[:300]),
    'not a readable',
  ),
  'no labels': (lambda f: np.savez(f, features=np.ones((60, 4))), "'labels'"),
}


@pytest.mark.parametrize('bad', BAD_FILES)
def test_a_bad_file_fails_alone(bad, tmp_path):
  folder = ranked.make_files(tmp_path / 'flowers')
  spoil, message = BAD_FILES[bad]
  spoil(folder / 'a.npz')
  result = ranked.rank(
    ranked.files_config(folder / '*.npz'), str(tmp_path / 'run')
  )
  assert list(ranked.scores_of(result)) == ['c', 'b']
  (failed,) = result['failed']
  assert failed['checkpoint'] == 'a'
  assert message in failed['error']


@pytest.mark.parametrize('form', [str, float])
def test_labels_may_be_text_or_whole_floats(form, tmp_path):
  folder = ranked.make_files(tmp_path / 'flowers')
  config = ranked.files_config(folder)
  first = ranked.rank(config, str(tmp_path / 'first'))
  for file in folder.iterdir():
    rewrite(file, labels=np.load(file)['labels'].astype(form))
  second = ranked.rank(config, str(tmp_path / 'second'))
  assert ranked.scores_of(first) == ranked.scores_of(second)
  assert second['task']['num_classes'] == 3


@pytest.mark.parametrize('is_small', [True, False])
def test_small_files_are_read_ahead_and_all_once(
  monkeypatch, tmp_path, is_small
):
  folder = ranked.make_files(tmp_path / 'flowers')
  monkeypatch.setattr(feature_files, '_FEW_BYTES', (1 << 20) * is_small)
  begun, read, paths = threading.Event(), features.read, []

  def noted(path):
    paths.append(path)
    begun.set()
    return read(path)

  monkeypatch.setattr(features, 'read', noted)
  first, *_ = feature_files.find(str(folder / '*.npz')).candidates
  first.prepare()
  first.prepare()
  assert begun.wait(timeout=60 if is_small else 0) == is_small
  found = first.compute(lambda count: None).features
  assert found.fingerprint() == read(folder / 'a.npz').fingerprint()
  assert paths == [folder / 'a.npz']


def test_a_folder_is_its_files_and_patterns_take_commas(tmp_path):
  folder = ranked.make_files(tmp_path / 'flowers')
  (folder / 'notes.txt').write_text('no features')
  for pattern, names in (
    (f'{folder}/', 'abc'),
    (f'{folder}/a.npz, {folder}/[bc].npz', 'abc'),
    (f'{folder}/a.npz,{folder}', 'abc'),
  ):
    found = feature_files.find(pattern)
    assert [one.name for one in found.candidates] == list(names)


def test_no_file_is_refused(tmp_path):
  with pytest.raises(ValueError, match='No file matches'):
    feature_files.find(str(tmp_path / '*.npz'))


def test_two_files_of_one_name_are_refused(tmp_path):
  for folder in ('x', 'y'):
    ranked.make_files(tmp_path / folder)
  with pytest.raises(ValueError, match="would all be called 'a'"):
    feature_files.find(str(tmp_path / '*' / '*.npz'))


def _found(folder, **options):
  """What `measures.evaluate` says of each file by kNN."""
  for file in sorted(folder.glob('*.npz')):
    with np.load(file) as arrays:
      yield (
        file.stem,
        measures.evaluate(
          'knn',
          features=arrays['features'].astype(np.float32),
          labels=arrays['labels'],
          **options,
        ),
      )


def test_pairs_are_as_sure_as_the_difference_of_their_influences(tmp_path):
  folder = ranked.make_files(tmp_path / 'flowers')
  result = ranked.rank(
    ranked.files_config(folder / '*.npz'), str(tmp_path / 'run')
  )
  found = dict(_found(folder))
  order = result['order']
  assert order['checkpoints'] == [e['checkpoint'] for e in result['ranking']]
  for i, one in enumerate(order['checkpoints']):
    for j, other in enumerate(order['checkpoints']):
      mine, theirs = found[one], found[other]
      stderr = np.std(mine.influence - theirs.influence) / np.sqrt(60)
      z = 0 if one == other else (mine.score - theirs.score) / stderr
      expected = np.clip(stats.norm.cdf(z), 1e-6, 1 - 1e-6)
      assert order['above'][i][j] == pytest.approx(expected, abs=3e-6)
  for entry, row, above in zip(
    result['ranking'], order['above'], (1, 2, None), strict=True
  ):
    assert entry['score_stderr'] == pytest.approx(
      found[entry['checkpoint']].stderr
    )
    if above is not None:
      assert entry['above_next'] == row[above]
  assert sum(order['best']) == pytest.approx(1, abs=1e-5)


def test_resamples_are_scored_again_where_they_are_asked_for(tmp_path):
  folder = ranked.make_files(tmp_path / 'flowers')
  config = ranked.files_config(folder / '*.npz')
  config.num_resamples = 6
  result = ranked.rank(config, str(tmp_path / 'run'))
  found = dict(_found(folder, num_resamples=6))
  scores = [found[name].score for name in result['order']['checkpoints']]
  resamples = np.array(
    [found[name].resamples for name in result['order']['checkpoints']]
  )
  stderr = np.std(resamples[0] - resamples[1], ddof=1)
  expected = stats.norm.cdf((scores[0] - scores[1]) / stderr)
  assert result['order']['above'][0][1] == pytest.approx(expected, abs=3e-6)
  for entry in result['ranking']:
    assert entry['score_stderr'] == pytest.approx(
      np.std(found[entry['checkpoint']].resamples, ddof=1)
    )


def _ranked_by_name(tmp_path, *tasks):
  """Rankings of images, whose features are then in the cache."""
  config = measure_config.get_config('class_separation')
  config.checkpoints = 'mini_vae,mini_random'
  config.cache_dir = str(tmp_path / 'cache')
  results = []
  for split, num_examples in tasks:
    config.task.split, config.task.num_examples = split, num_examples
    results.append(ranked.rank(config, str(tmp_path / f'run-{split}')))
  return results


def test_files_of_the_cache_are_known_again(tmp_path):
  (first,) = _ranked_by_name(tmp_path, ('train', 50))
  config = ranked.files_config(tmp_path / 'cache', 'class_separation')
  again = ranked.rank(config, str(tmp_path / 'again'))
  assert ranked.scores_of(again) == ranked.scores_of(first)
  for field in ('name', 'fingerprint', 'split_fingerprint', 'num_classes'):
    assert again['task'][field] == first['task'][field]


def test_files_of_other_examples_with_the_same_labels_fail(tmp_path):
  folder = ranked.make_files(tmp_path / 'flowers')
  origin = {key: 'x' for key in features.Origin.__struct_fields__}
  origin['flops'] = 1.0
  for name, examples in (('a', 'these'), ('b', 'these'), ('c', 'those')):
    found = features.read(folder / f'{name}.npz')
    found = dataclasses.replace(
      found, provenance={**origin, 'examples': examples, 'task': 'pets'}
    )
    features.write(folder / f'{name}.npz', found)
  result = ranked.rank(ranked.files_config(folder), str(tmp_path / 'run'))
  assert list(ranked.scores_of(result)) == ['b', 'a']
  assert result['task']['name'] == 'pets'
  (failed,) = result['failed']
  assert "other examples, of the task 'pets'" in failed['error']


def test_a_checkpoint_that_the_cache_has_twice_is_called_as_its_files(tmp_path):
  _ranked_by_name(tmp_path, ('train', 50), ('test', 60))
  config = ranked.files_config(tmp_path / 'cache', 'class_separation')
  result = ranked.rank(config, str(tmp_path / 'run'))
  assert len(result['ranking']) == len(result['failed']) == 2
  assert all('digits-' in name for name in ranked.scores_of(result))
