# SPDX-License-Identifier: Apache-2.0
"""Rankings of files of features."""

import numpy as np
import pytest

from neucrab_jax import measures
from neucrab_jax.ranking import candidates
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
      f, features=np.array([{}] * 60, object), labels=np.zeros(60)
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


def test_a_folder_is_its_files_and_patterns_take_commas(tmp_path):
  folder = ranked.make_files(tmp_path / 'flowers')
  (folder / 'notes.txt').write_text('no features')
  for pattern, names in (
    (f'{folder}/', 'abc'),
    (f'{folder}/a.npz, {folder}/[bc].npz', 'abc'),
    (f'{folder}/a.npz,{folder}', 'abc'),
  ):
    found = candidates.from_files(pattern, chosen=('knn',))
    assert [one.name for one in found.candidates] == list(names)


def test_no_file_is_refused(tmp_path):
  with pytest.raises(ValueError, match='No file matches'):
    candidates.from_files(str(tmp_path / '*.npz'), chosen=('knn',))


def test_two_files_of_one_name_are_refused(tmp_path):
  for folder in ('x', 'y'):
    ranked.make_files(tmp_path / folder)
  with pytest.raises(ValueError, match="would all be called 'a'"):
    candidates.from_files(str(tmp_path / '*' / '*.npz'), chosen=('knn',))


def test_order_holds_in_the_share_of_paired_resamples(tmp_path):
  folder = ranked.make_files(tmp_path / 'flowers')
  result = ranked.rank(
    ranked.files_config(folder / '*.npz'), str(tmp_path / 'run')
  )
  resamples = []
  for entry in result['ranking']:
    with np.load(folder / f'{entry["checkpoint"]}.npz') as arrays:
      found = measures.evaluate(
        'knn', features=arrays['features'], labels=arrays['labels']
      )
    assert entry['score_stderr'] == pytest.approx(
      np.std(found.resamples, ddof=1)
    )
    resamples.append(np.array(found.resamples))
  for entry, mine, below in zip(
    result['ranking'], resamples, resamples[1:], strict=False
  ):
    assert entry['above_next'] == np.mean(mine > below)


def test_without_resamples_nothing_is_said_of_them(tmp_path, capsys):
  folder = ranked.make_files(tmp_path / 'flowers')
  config = ranked.files_config(folder / '*.npz', 'lfc')
  config.num_resamples = 0
  result = ranked.rank(config, str(tmp_path / 'run'))
  for entry in result['ranking']:
    assert entry['score_stderr'] is entry['score_std'] is None
    assert 'above_next' not in entry
  assert (tmp_path / 'run' / 'report.html').exists()
  assert '%' not in capsys.readouterr().out
