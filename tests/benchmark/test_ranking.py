# SPDX-License-Identifier: Apache-2.0
import csv
import dataclasses
import json
import pathlib

import jax
import numpy as np
import pytest

from configs import features as features_config
from configs import measure as measure_config
from configs import measures as measures_config
from configs import nleep as nleep_config
from neucrab_jax import checkpoints, features, measures
from neucrab_jax.benchmark import candidates, comparison, ranking

PAIR = ('mini_sup_glyphs', 'mini_sup_textures')


@pytest.fixture
def config(tmp_path):
  """Two checkpoints on a hundred digits."""
  config = nleep_config.get_config()
  config.checkpoints = ','.join(PAIR)
  config.task.num_examples = 100
  config.cache_dir = str(tmp_path / 'cache')
  return config


@pytest.fixture
def broken(monkeypatch, tmp_path):
  """The second checkpoint's weights are damaged."""
  get = checkpoints.get
  weights = tmp_path / 'damaged.npz'
  weights.write_bytes(pathlib.Path(get(PAIR[1]).path).read_bytes()[:5000])
  monkeypatch.setattr(
    checkpoints,
    'get',
    lambda name: (
      dataclasses.replace(get(name), path=str(weights))
      if name == PAIR[1]
      else get(name)
    ),
  )


def scores_of(result):
  return {e['checkpoint']: e['score'] for e in result['ranking']}


def test_the_record_is_as_promised(config, tmp_path):
  result = ranking.rank(config, str(tmp_path / 'run'))
  written = json.loads((tmp_path / 'run' / 'ranking.json').read_text())
  assert written == result
  assert written['schema'] == 1
  task = written['task']
  assert len(task.pop('fingerprint')) == 64
  assert task == {
    'name': 'digits',
    'split': 'train',
    'num_examples': 100,
    'num_classes': 10,
  }
  assert written['measure']['name'] == 'nleep'
  assert written['measure']['variant'].startswith('paper')
  assert written['measure']['options'] == measures.default_options('nleep')
  assert written['failed'] == []
  assert written['skipped'] == []
  assert written['environment'] == {
    'neucrab_jax': '0.1.0',
    'jax': jax.__version__,
    'backend': jax.default_backend(),
    'devices': jax.device_count(),
    'processes': 1,
    'seed': 0,
  }
  first, second = written['ranking']
  assert (first['rank'], second['rank']) == (1, 2)
  assert first['score'] >= second['score']
  for entry in (first, second):
    assert entry['checkpoint'] in PAIR
    assert entry['feature_dim'] == 64
    assert set(entry['seconds']) == {'restore', 'extract', 'score'}
    assert entry['score_std'] >= 0
    assert entry['score_stderr'] > 0
    assert entry['cached'] is False
    assert len(entry['fingerprint']) == 64
    assert isinstance(entry['warnings'], list)
  assert 0 <= first['above_next'] <= 1
  assert 'above_next' not in second


def test_other_files_are_views_of_the_record(config, tmp_path):
  result = ranking.rank(config, str(tmp_path))
  with (tmp_path / 'ranking.csv').open() as file:
    rows = list(csv.DictReader(file))
  assert [row['checkpoint'] for row in rows] == list(scores_of(result))
  assert [float(row['score']) for row in rows] == list(
    scores_of(result).values()
  )
  settings = json.loads((tmp_path / 'config.json').read_text())
  assert settings == json.loads(config.to_json())
  page = (tmp_path / 'report.html').read_text()
  for entry in result['ranking']:
    assert f'{entry["score"]:.4f}' in page
  assert '<svg' in page
  for outside in ('src=', 'href="http', '@import', 'url('):
    assert outside not in page.replace('xlink:href', '').split('<svg')[0]


def test_scores_are_those_of_the_measure_on_the_features(config, tmp_path):
  from neucrab_jax import tasks

  result = ranking.rank(config, str(tmp_path))
  examples = tasks.load('digits').read('train')
  indices = tasks.stratified_sample(examples.labels, num_examples=100, seed=0)
  for name, score in scores_of(result).items():
    found = features.extract(
      checkpoints.restore(name), examples, indices=indices
    )
    assert (
      score
      == measures.evaluate(
        'nleep', features=found.features, labels=found.labels
      ).score
    )


def test_a_second_run_uses_the_cache_and_scores_the_same(config, tmp_path):
  first = ranking.rank(config, str(tmp_path / 'a'))
  second = ranking.rank(config, str(tmp_path / 'b'))
  assert scores_of(first) == scores_of(second)
  assert all(entry['cached'] for entry in second['ranking'])


def test_a_damaged_cache_is_made_again_with_a_warning(config, tmp_path):
  first = ranking.rank(config, str(tmp_path / 'a'))
  for file in (tmp_path / 'cache').glob(f'{PAIR[0]}-*.npz'):
    file.write_bytes(file.read_bytes()[:-500])
  second = ranking.rank(config, str(tmp_path / 'b'))
  assert scores_of(first) == scores_of(second)
  entries = {entry['checkpoint']: entry for entry in second['ranking']}
  assert any('made again' in w for w in entries[PAIR[0]]['warnings'])
  assert entries[PAIR[1]]['cached']
  third = ranking.rank(config, str(tmp_path / 'c'))
  assert all(entry['cached'] for entry in third['ranking'])


def test_a_failing_checkpoint_does_not_take_the_others_down(
  config, tmp_path, broken
):
  result = ranking.rank(config, str(tmp_path))
  assert list(scores_of(result)) == [PAIR[0]]
  (failed,) = result['failed']
  assert failed['checkpoint'] == PAIR[1]
  assert 'not a readable .npz' in failed['error']
  assert 'not a readable .npz' in (tmp_path / 'report.html').read_text()


def test_a_measure_that_does_not_apply_fails_alone(config, tmp_path):
  config.measure = measure_config.get_config('leep').measure
  config.checkpoints = 'mini_sup_glyphs,mini_vae'
  result = ranking.rank(config, str(tmp_path))
  assert list(scores_of(result)) == ['mini_sup_glyphs']
  assert 'classification head' in result['failed'][0]['error']


def test_an_interrupted_run_keeps_what_is_done_and_goes_on(
  config, tmp_path, monkeypatch
):
  evaluate, scored = measures.evaluate, []

  def interrupted(*args, **kwargs):
    if scored:
      raise KeyboardInterrupt
    scored.append(evaluate(*args, **kwargs))
    return scored[0]

  with monkeypatch.context() as patch:
    patch.setattr(measures, 'evaluate', interrupted)
    with pytest.raises(ranking.Interrupted):
      ranking.rank(config, str(tmp_path))
  left = json.loads((tmp_path / 'ranking.json').read_text())
  assert [entry['checkpoint'] for entry in left['ranking']] == [PAIR[0]]
  assert 'Interrupted' in left['failed'][0]['error']

  # What was scored is not scored again.
  calls = []

  def counted(*args, **kwargs):
    calls.append(args)
    return evaluate(*args, **kwargs)

  monkeypatch.setattr(measures, 'evaluate', counted)
  result = ranking.rank(config, str(tmp_path))
  assert len(calls) == 1
  assert set(scores_of(result)) == set(PAIR)
  assert not result['failed']


def test_a_changed_setting_never_meets_an_old_score(config, tmp_path):
  first = ranking.rank(config, str(tmp_path))
  config.measure.options.components_per_class = 2
  second = ranking.rank(config, str(tmp_path))
  config.seed = 1
  third = ranking.rank(config, str(tmp_path))
  for name in PAIR:
    values = {scores_of(result)[name] for result in (first, second, third)}
    assert len(values) == 3


def test_equal_scores_are_told(config, tmp_path, monkeypatch):
  monkeypatch.setattr(
    measures, 'evaluate', lambda *a, **k: measures.Evaluation(-1.0, 0.1)
  )
  result = ranking.rank(config, str(tmp_path))
  assert [entry['checkpoint'] for entry in result['ranking']] == list(PAIR)
  for entry in result['ranking']:
    assert any('shared' in warning for warning in entry['warnings'])


BAD_CONFIGS = {
  'task': ('task.name', 'digts', "mean 'digits'"),
  'split': ('task.split', 'tset', "mean 'test'"),
  'group': ('checkpoints', 'mini_11', "mean 'mini_1'"),
  'checkpoint': ('checkpoints', 'mini_rotatoin', "mean 'mini_rotation'"),
  'no checkpoint': ('checkpoints', ' , ', 'No checkpoint is chosen'),
  'measure': ('measure.name', 'nlep', "mean 'nleep'"),
  'option': ('measure.options.energy', 1.5, 'not 1.5'),
  'too few': ('task.num_examples', 4, '4 .*10'),
  'too many': ('task.num_examples', 4000, '4000 .*1000'),
  'batch size': ('batch_size', 0, 'batch size must be at least 1'),
  'cache': ('cache_dir', '/proc/no/such', 'Cannot write'),
}


@pytest.mark.parametrize('bad', BAD_CONFIGS)
def test_bad_input_is_refused_before_any_work(
  bad, config, tmp_path, monkeypatch
):
  key, value, message = BAD_CONFIGS[bad]
  config.update_from_flattened_dict({key: value})

  def no_work(*args, **kwargs):
    raise AssertionError('work began')

  monkeypatch.setattr(checkpoints, 'restore', no_work)
  with pytest.raises(ValueError, match=message):
    ranking.rank(config, str(tmp_path / 'run'))
  assert not (tmp_path / 'run' / 'ranking.json').exists()


def test_a_workdir_that_cannot_be_written_is_refused(config):
  with pytest.raises(ValueError, match='Cannot write to'):
    ranking.rank(config, '/proc/no/such')


def make_files(folder, *, names=('a', 'b', 'c'), num_examples=60):
  """Files as another framework would write them: f16, labels of any int."""
  rng = np.random.default_rng(0)
  labels = np.arange(num_examples) % 3
  folder.mkdir()
  for strength, name in enumerate(names):
    centres = strength * rng.standard_normal((3, 16))
    x = centres[labels] + rng.standard_normal((num_examples, 16))
    np.savez(folder / f'{name}.npz', features=x.astype('f2'), labels=labels)
  return folder


def files_config(pattern, measure='knn'):
  config = features_config.get_config(measure)
  config.features = str(pattern)
  return config


def test_ranks_files_of_features(tmp_path):
  folder = make_files(tmp_path / 'flowers')
  result = ranking.rank(files_config(folder / '*.npz'), str(tmp_path / 'run'))
  assert list(scores_of(result)) == ['c', 'b', 'a']
  assert result['task']['name'] == 'flowers'
  assert result['task']['num_examples'] == 60
  assert result['task']['num_classes'] == 3
  for name, score in scores_of(result).items():
    with np.load(folder / f'{name}.npz') as arrays:
      x, labels = arrays['features'].astype('f4'), arrays['labels']
    assert score == measures.score('knn', features=x, labels=labels)


def _rewrite(file, **changes):
  with np.load(file) as archive:
    arrays = dict(archive)
  np.savez(file, **{**arrays, **changes})


BAD_FILES = {
  'NaN': (lambda f: _rewrite(f, features=np.full((60, 4), np.nan)), 'NaN'),
  'rank': (lambda f: _rewrite(f, features=np.ones((60, 4, 1))), 'rank 2'),
  'rows': (lambda f: _rewrite(f, features=np.ones((59, 4))), '60 labels'),
  'float labels': (lambda f: _rewrite(f, labels=np.ones(60)), 'integers'),
  'labels from 1': (
    lambda f: _rewrite(f, labels=1 + np.arange(60) % 3),
    'start at 0',
  ),
  'other labels': (
    lambda f: _rewrite(f, labels=np.arange(60) % 2),
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
  folder = make_files(tmp_path / 'flowers')
  spoil, message = BAD_FILES[bad]
  spoil(folder / 'a.npz')
  result = ranking.rank(files_config(folder / '*.npz'), str(tmp_path / 'run'))
  assert list(scores_of(result)) == ['c', 'b']
  (failed,) = result['failed']
  assert failed['checkpoint'] == 'a'
  assert message in failed['error']


def test_no_file_is_refused(tmp_path):
  with pytest.raises(ValueError, match='No file matches'):
    candidates.from_files(str(tmp_path / '*.npz'), chosen=('knn',))


def test_two_files_of_one_name_are_refused(tmp_path):
  for folder in ('x', 'y'):
    make_files(tmp_path / folder)
  with pytest.raises(ValueError, match="would all be called 'a'"):
    candidates.from_files(str(tmp_path / '*' / '*.npz'), chosen=('knn',))


def test_order_holds_in_the_share_of_paired_resamples(tmp_path):
  folder = make_files(tmp_path / 'flowers')
  result = ranking.rank(files_config(folder / '*.npz'), str(tmp_path / 'run'))
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
  folder = make_files(tmp_path / 'flowers')
  config = files_config(folder / '*.npz', 'lfc')
  config.num_resamples = 0
  result = ranking.rank(config, str(tmp_path / 'run'))
  for entry in result['ranking']:
    assert entry['score_stderr'] is entry['score_std'] is None
    assert 'above_next' not in entry
  assert (tmp_path / 'run' / 'report.html').exists()
  assert '%' not in capsys.readouterr().out


def test_a_bad_number_of_resamples_is_refused(config, tmp_path):
  config.num_resamples = 1
  with pytest.raises(ValueError, match='at least 2, not 1'):
    ranking.rank(config, str(tmp_path))


def several(names, **settings):
  config = measures_config.get_config()
  config.measures = ','.join(names)
  config.update(settings)
  return config


def test_several_measures_are_as_each_alone(config, tmp_path, monkeypatch):
  extracted = []
  extract = features.extract
  monkeypatch.setattr(
    features,
    'extract',
    lambda *args, **kwargs: extracted.append(1) or extract(*args, **kwargs),
  )
  names = ('knn', 'leep', 'num_parameters', 'upstream_accuracy')
  together = several(names, checkpoints='mini_sup_glyphs,mini_vae')
  together.task.num_examples = 100
  together.cache_dir = config.cache_dir
  result = ranking.rank(together, str(tmp_path / 'run'))
  assert len(extracted) == 2
  assert result['failed'] == []
  alone = measure_config.get_config('knn')
  alone.checkpoints = together.checkpoints
  alone.task.num_examples = 100
  alone.cache_dir = config.cache_dir
  expected = ranking.rank(alone, str(tmp_path / 'alone'))
  assert scores_of(result['rankings']['knn']) == scores_of(expected)
  for name in names:
    written = json.loads((tmp_path / 'run' / name / 'ranking.json').read_text())
    assert written == result['rankings'][name]
    assert (tmp_path / 'run' / name / 'ranking.csv').exists()
  # A checkpoint without a head is skipped by LEEP, and that is said.
  leep = result['rankings']['leep']
  assert list(scores_of(leep)) == ['mini_sup_glyphs']
  assert [entry['checkpoint'] for entry in leep['skipped']] == ['mini_vae']
  assert 'classification head' in leep['skipped'][0]['reason']
  upstream = result['rankings']['upstream_accuracy']
  assert list(scores_of(upstream)) == ['mini_sup_glyphs']
  sizes = scores_of(result['rankings']['num_parameters'])
  about = json.loads(
    pathlib.Path(checkpoints.get('mini_sup_glyphs').path)
    .with_suffix('.json')
    .read_text()
  )
  assert sizes['mini_sup_glyphs'] == about['num_parameters']
  page = (tmp_path / 'run' / 'report.html').read_text()
  assert 'How the measures agree' in page
  assert page.count('<svg') == 5  # four rankings and the heat map


def test_several_measures_on_files(tmp_path, capsys):
  folder = make_files(tmp_path / 'flowers')
  config = several(
    ('knn', 'lfc', 'num_parameters'), features=str(folder / '*.npz')
  )
  result = ranking.rank(config, str(tmp_path / 'run'))
  for name in ('knn', 'lfc'):
    assert list(scores_of(result['rankings'][name])) == ['c', 'b', 'a']
  assert len(result['rankings']['num_parameters']['skipped']) == 3
  shown = capsys.readouterr().out
  assert 'skipped num_parameters: a, b, c: num_parameters needs' in shown
  assert 'lfc' in shown


def test_a_checkpoint_that_fails_for_one_measure_is_scored_by_others(tmp_path):
  folder = make_files(tmp_path / 'flowers')
  _rewrite(folder / 'a.npz', source_probs=-np.ones((60, 4)))
  config = several(('knn', 'leep'), features=str(folder / '*.npz'))
  result = ranking.rank(config, str(tmp_path / 'run'))
  assert list(scores_of(result['rankings']['knn'])) == ['c', 'b', 'a']
  (failed,) = result['failed']
  assert failed['checkpoint'] == 'a'
  assert 'negative' in failed['error']


def test_an_unknown_measure_among_several_names_the_nearest(tmp_path):
  with pytest.raises(ValueError, match="mean 'nleep'"):
    ranking.rank(several(('knn', 'nlep')), str(tmp_path))


def as_rankings(**orders):
  """Rankings of checkpoints in the given orders."""
  return [
    {
      'measure': {'name': name},
      'ranking': [
        {'checkpoint': checkpoint, 'rank': place, 'score': -place}
        for place, checkpoint in enumerate(order, start=1)
      ],
    }
    for name, order in orders.items()
  ]


def test_ranks_are_side_by_side_by_their_mean():
  names, ranks = comparison.ranks(as_rankings(one='abc', other='ac', none=''))
  assert names == ['a', 'b', 'c']
  assert ranks == [[1, 1, None], [2, None, None], [3, 2, None]]


def test_agreement_is_kendalls_tau_of_what_both_scored():
  taus = comparison.agreement(
    as_rankings(one='abcd', turned='dcba', near='bacd', few='a')
  )
  np.testing.assert_allclose(
    taus[:3, :3], [[1, -1, 2 / 3], [-1, 1, -2 / 3], [2 / 3, -2 / 3, 1]]
  )
  assert np.isnan(taus[3]).all()


def test_several_at_once_are_as_one_after_the_other(tmp_path):
  folder = make_files(tmp_path / 'flowers')
  # Whoever scores this file tells that a class has a single example.
  labels = np.where(np.arange(60) == 7, 3, np.arange(60) % 3)
  for file in folder.glob('*.npz'):
    _rewrite(file, labels=labels)
  names = ('knn', 'lfc', 'parc', 'class_separation', 'num_parameters')
  found = {}
  for num_threads in (1, 4):
    config = several(names, features=str(folder / '*.npz'))
    config.num_threads = num_threads
    found[num_threads] = ranking.rank(config, str(tmp_path / str(num_threads)))
  for name in names:
    one, four = (found[key]['rankings'][name] for key in (1, 4))
    assert one['skipped'] == four['skipped']
    for a, b in zip(one['ranking'], four['ranking'], strict=True):
      assert a['checkpoint'] == b['checkpoint']
      # BLAS adds in another order when it has another number of threads.
      for key in ('score', 'score_stderr'):
        assert a[key] == pytest.approx(b[key], rel=1e-9)
      assert a['warnings'] == b['warnings']
      assert 'single example' in ' '.join(a['warnings'])


def test_what_is_scored_at_once_is_interrupted_at_once(tmp_path, monkeypatch):
  evaluate = measures.evaluate

  def interrupted(name, **kwargs):
    if name == 'lfc':
      raise KeyboardInterrupt
    return evaluate(name, **kwargs)

  monkeypatch.setattr(measures, 'evaluate', interrupted)
  folder = make_files(tmp_path / 'flowers')
  config = several(('knn', 'lfc'), features=str(folder / '*.npz'))
  config.num_threads = 2
  with pytest.raises(ranking.Interrupted) as error:
    ranking.rank(config, str(tmp_path / 'run'))
  left = error.value.rankings
  assert [entry['checkpoint'] for entry in left['knn']['ranking']] == ['a']
  failed = [entry['checkpoint'] for entry in left['lfc']['failed']]
  assert failed == ['a', 'b', 'c']
