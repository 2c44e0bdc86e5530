# SPDX-License-Identifier: Apache-2.0
import csv
import dataclasses
import json
import pathlib
import re

import jax
import pytest

from configs import measure as measure_config
from configs import nleep as nleep_config
from neucrab_jax import checkpoints, interruption, measures, storage, tasks
from neucrab_jax.checkpoints import references
from neucrab_jax.features import extraction
from neucrab_jax.ops import stratified
from neucrab_jax.ranking import predictions, record
from tests.ranking import ranked

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
    references,
    'get',
    lambda name: (
      dataclasses.replace(get(name), path=str(weights))
      if name == PAIR[1]
      else get(name)
    ),
  )


def test_the_record_is_as_promised(config, tmp_path):
  result = ranked.rank(config, str(tmp_path / 'run'))
  written = json.loads((tmp_path / 'run' / 'ranking.json').read_text())
  assert written == result
  assert written['schema'] == 2
  task = written['task']
  assert len(task.pop('fingerprint')) == 64
  assert len(task.pop('split_fingerprint')) == 64
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
    steps = {step.removesuffix('_compiling') for step in entry['seconds']}
    assert steps == {'restore', 'extract', 'score'}
    assert entry['score_std'] >= 0
    assert entry['score_stderr'] > 0
    assert entry['cached'] is False
    assert len(entry['fingerprint']) == 64
    assert isinstance(entry['warnings'], list)
  assert 0 <= first['above_next'] <= 1
  assert 'above_next' not in second


def test_seconds_of_compiling_are_apart_and_only_the_first_has_them(
  config, tmp_path, capsys
):
  config.task.num_examples = 90  # Shapes that no other test compiles.
  config.batch_size = 56
  config.num_threads = 1  # Of two at once, either may compile for both.
  result = ranked.rank(config, str(tmp_path / 'run'))
  by_name = {entry['checkpoint']: entry for entry in result['ranking']}
  first, second = (by_name[name]['seconds'] for name in PAIR)
  assert first['extract_compiling'] > second.get('extract_compiling', 0)
  assert first['score_compiling'] > second.get('score_compiling', 0)
  printed = capsys.readouterr().out
  assert re.search(r'\d \+ \d+\.\d │', printed)
  assert 'those of compiling' in ' '.join(printed.split())
  page = (tmp_path / 'run' / 'report.html').read_text()
  assert '<th>extract_compiling</th>' in page
  # Who asks a measure waits for both.
  found = predictions.of_ranking(
    storage.read_json(tmp_path / 'run' / 'ranking.json', record.Ranking),
    source=tmp_path,
    resamples={},
  )
  waited = found.scores[PAIR[0]].seconds
  assert set(waited) == {'restore', 'extract', 'score'}
  assert waited['score'] == first['score'] + first['score_compiling']


def test_other_files_are_views_of_the_record(config, tmp_path):
  result = ranked.rank(config, str(tmp_path))
  with (tmp_path / 'ranking.csv').open() as file:
    rows = list(csv.DictReader(file))
  assert [row['checkpoint'] for row in rows] == list(ranked.scores_of(result))
  assert [float(row['score']) for row in rows] == list(
    ranked.scores_of(result).values()
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
  result = ranked.rank(config, str(tmp_path))
  examples = tasks.load('digits').read('train')
  indices = stratified.sample(examples.labels, num_examples=100, seed=0)
  for name, score in ranked.scores_of(result).items():
    found = extraction.extract(
      checkpoints.restore(name), examples, indices=indices
    )
    assert (
      score
      == measures.evaluate(
        'nleep', features=found.features, labels=found.labels
      ).score
    )


def test_a_second_run_uses_the_cache_and_scores_the_same(config, tmp_path):
  first = ranked.rank(config, str(tmp_path / 'a'))
  second = ranked.rank(config, str(tmp_path / 'b'))
  assert ranked.scores_of(first) == ranked.scores_of(second)
  assert all(entry['cached'] for entry in second['ranking'])


def test_a_damaged_cache_is_made_again_with_a_warning(config, tmp_path):
  first = ranked.rank(config, str(tmp_path / 'a'))
  for file in (tmp_path / 'cache').glob(f'{PAIR[0]}-*.npz'):
    file.write_bytes(file.read_bytes()[:-500])
  second = ranked.rank(config, str(tmp_path / 'b'))
  assert ranked.scores_of(first) == ranked.scores_of(second)
  entries = {entry['checkpoint']: entry for entry in second['ranking']}
  assert any('made again' in w for w in entries[PAIR[0]]['warnings'])
  assert entries[PAIR[1]]['cached']
  third = ranked.rank(config, str(tmp_path / 'c'))
  assert all(entry['cached'] for entry in third['ranking'])


def test_a_failing_checkpoint_does_not_take_the_others_down(
  config, tmp_path, broken
):
  result = ranked.rank(config, str(tmp_path))
  assert list(ranked.scores_of(result)) == [PAIR[0]]
  (failed,) = result['failed']
  assert failed['checkpoint'] == PAIR[1]
  assert 'not a readable .npz' in failed['error']
  assert 'not a readable .npz' in (tmp_path / 'report.html').read_text()


def test_a_measure_that_does_not_apply_fails_alone(config, tmp_path):
  config.measure = measure_config.get_config('leep').measure
  config.checkpoints = 'mini_sup_glyphs,mini_vae'
  result = ranked.rank(config, str(tmp_path))
  assert list(ranked.scores_of(result)) == ['mini_sup_glyphs']
  assert 'classification head' in result['failed'][0]['error']


def test_an_interrupted_run_keeps_what_is_done_and_goes_on(
  config, tmp_path, monkeypatch
):
  evaluate, scored = measures.evaluate, []
  config.num_threads = 1

  def interrupted(*args, **kwargs):
    if scored:
      raise KeyboardInterrupt
    scored.append(evaluate(*args, **kwargs))
    return scored[0]

  with monkeypatch.context() as patch:
    patch.setattr(measures, 'evaluate', interrupted)
    with pytest.raises(interruption.Interrupted):
      ranked.rank(config, str(tmp_path))
  left = json.loads((tmp_path / 'ranking.json').read_text())
  assert [entry['checkpoint'] for entry in left['ranking']] == [PAIR[0]]
  assert 'Interrupted' in left['failed'][0]['error']

  # What was scored is not scored again.
  calls = []

  def counted(*args, **kwargs):
    calls.append(args)
    return evaluate(*args, **kwargs)

  monkeypatch.setattr(measures, 'evaluate', counted)
  result = ranked.rank(config, str(tmp_path))
  assert len(calls) == 1
  assert set(ranked.scores_of(result)) == set(PAIR)
  assert not result['failed']


def test_a_changed_setting_never_meets_an_old_score(config, tmp_path):
  first = ranked.rank(config, str(tmp_path))
  config.measure.options.components_per_class = 2
  second = ranked.rank(config, str(tmp_path))
  config.seed = 1
  third = ranked.rank(config, str(tmp_path))

  for name in PAIR:
    values = {
      ranked.scores_of(result)[name] for result in (first, second, third)
    }
    assert len(values) == 3


@pytest.mark.parametrize(
  'damage',
  [
    lambda text: text.replace('"score": -', '"score": -9', 1),
    lambda text: text.replace('"score": -', '"score": NaN, "was": -', 1),
    lambda text: text[:100],
    lambda text: '{"score": 99}',
    lambda text: '',
  ],
)
def test_a_damaged_score_is_made_again_with_a_warning(damage, config, tmp_path):
  first = ranked.rank(config, str(tmp_path))
  file = tmp_path / 'scores' / f'{PAIR[0]}.json'
  whole = file.read_text()
  file.write_text(damage(whole))
  second = ranked.rank(config, str(tmp_path))
  assert ranked.scores_of(first) == ranked.scores_of(second)
  told = {e['checkpoint']: ' '.join(e['warnings']) for e in second['ranking']}
  assert 'It is made again' in told[PAIR[0]]
  assert 'again' not in told[PAIR[1]]
  assert json.loads(file.read_text())['score'] == json.loads(whole)['score']


def test_equal_scores_are_told(config, tmp_path, monkeypatch):
  monkeypatch.setattr(
    measures, 'evaluate', lambda *a, **k: measures.Evaluation(-1.0, 0.1)
  )
  result = ranked.rank(config, str(tmp_path))
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
    ranked.rank(config, str(tmp_path / 'run'))
  assert not (tmp_path / 'run' / 'ranking.json').exists()


def test_a_workdir_that_cannot_be_written_is_refused(config):
  with pytest.raises(ValueError, match='Cannot write to'):
    ranked.rank(config, '/proc/no/such')


def test_a_bad_number_of_resamples_is_refused(config, tmp_path):
  config.num_resamples = 1
  with pytest.raises(ValueError, match='at least 2, not 1'):
    ranked.rank(config, str(tmp_path))
