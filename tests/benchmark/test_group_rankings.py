# SPDX-License-Identifier: Apache-2.0
"""Evaluations that make the rankings they judge."""

import csv
import dataclasses
import json

import numpy as np
import pytest

from configs import measures as measures_config
from configs import neucrab_mini as mini_config
from neucrab_jax import checkpoints, interruption, measures, storage
from neucrab_jax.benchmark import run
from neucrab_jax.checkpoints import references
from neucrab_jax.features import extraction
from tests.ranking import ranked

NAMES = (
  'mini_sup_glyphs',
  'mini_sup_textures',
  'mini_sup_exemplar',
  'mini_rotation',
)
TASKS = ('digits', 'shapes')
MEASURES = ('knn', 'lfc', 'num_parameters')


@pytest.fixture(scope='module')
def cache_dir(tmp_path_factory):
  """Features are extracted once for all tests."""
  return str(tmp_path_factory.mktemp('cache'))


@pytest.fixture
def config(tmp_path, cache_dir):
  """Two groups of checkpoints on two tasks, in the place of the miniature's."""
  accuracies = tmp_path / 'accuracies.csv'
  with accuracies.open('w', newline='') as file:
    writer = csv.writer(file)
    writer.writerow(('checkpoint', 'task', 'accuracy'))
    for task in TASKS:
      for place, name in enumerate((*NAMES, 'mini_vae')):
        writer.writerow((name, task, 0.9 - 0.1 * place))
  config = mini_config.get_config().copy_and_resolve_references()
  del config.groups
  config.groups = {
    'all': {
      'checkpoints': ','.join(NAMES),
      'accuracies': str(accuracies),
      'order': ','.join(NAMES),
    },
    'three': {
      'checkpoints': ','.join(NAMES[:3]),
      'accuracies': str(accuracies),
      'order': '',
    },
  }
  config.tasks = ','.join(TASKS)
  config.rank.measures = ','.join(MEASURES)
  config.rank.task.num_examples = 60
  config.rank.num_resamples = 3
  config.rank.cache_dir = cache_dir
  config.num_resamples = 20
  return config


def evaluate(config, workdir):
  """What `evaluation.json` of a run holds."""
  return storage.to_builtins(run.evaluate(config, workdir))


def refuse(*args, **kwargs):
  raise AssertionError('work began')


def test_every_group_is_ranked_on_every_task_and_judged(config, tmp_path):
  result = evaluate(config, str(tmp_path))
  groups = [aligned['group'] for aligned in result['alignments']]
  assert groups == ['all', 'three']
  for aligned, names in zip(
    result['alignments'], (NAMES, NAMES[:3]), strict=True
  ):
    assert aligned['checkpoints'] == list(names)
    assert aligned['tasks'] == list(TASKS)
    assert not any('no score' in note for note in aligned['notes'])
    assert {row['name'] for row in aligned['rows']} >= set(MEASURES)
  # The scores are those of `rank` by itself, one measure after the other.
  alone = measures_config.get_config()
  alone.measures = config.rank.measures
  alone.checkpoints = ','.join(NAMES)
  alone.task.name = TASKS[1]
  alone.task.num_examples = 60
  alone.num_resamples = 3
  alone.cache_dir = config.rank.cache_dir
  expected = ranked.rank_all(alone, str(tmp_path / 'alone'))
  for point in result['alignments'][0]['points'][TASKS[1]]:
    for measure in MEASURES:
      (score,) = [
        entry['score']
        for entry in expected[measure]['ranking']
        if entry['checkpoint'] == point['checkpoint']
      ]
      assert point['scores'][measure] == pytest.approx(score, rel=1e-9)


def test_a_second_run_computes_nothing_and_says_the_same(
  config, tmp_path, monkeypatch
):
  first = evaluate(config, str(tmp_path))
  monkeypatch.setattr(measures, 'evaluate', refuse)
  monkeypatch.setattr(extraction, 'extract', refuse)
  second = evaluate(config, str(tmp_path))
  for one, other in zip(first['alignments'], second['alignments'], strict=True):
    for key in ('rows', 'points', 'comparisons', 'notes'):
      assert one[key] == other[key]
  # What an earlier run left is not judged unless it is asked for.
  config.rank.measures = 'knn,num_parameters'
  for aligned in evaluate(config, str(tmp_path))['alignments']:
    assert 'lfc' not in {row['name'] for row in aligned['rows']}


def test_all_tasks_share_what_was_restored(config, tmp_path, monkeypatch):
  names = []
  restore = checkpoints.restore

  def counting(checkpoint):
    names.append(checkpoint.name)
    return restore(checkpoint)

  monkeypatch.setattr(checkpoints, 'restore', counting)
  del config.groups.three
  evaluate(config, str(tmp_path))
  assert sorted(names) == sorted(NAMES)


def test_a_failing_checkpoint_does_not_take_the_others_down(
  config, tmp_path, monkeypatch
):
  get = checkpoints.get
  damaged = tmp_path / 'damaged.npz'
  damaged.write_bytes(b'no weights')
  monkeypatch.setattr(
    references,
    'get',
    lambda name: (
      dataclasses.replace(get(name), path=str(damaged))
      if name == NAMES[3]
      else get(name)
    ),
  )
  all_four, three = evaluate(config, str(tmp_path))['alignments']
  assert not any('failed' in note for note in three['notes'])
  (note,) = [note for note in all_four['notes'] if 'failed' in note]
  assert note.startswith(f'{NAMES[3]} failed on digits, shapes: ')
  assert 'not a readable .npz' in note
  (row,) = [row for row in all_four['rows'] if row['name'] == 'knn']
  for task in TASKS:
    assert row['tasks'][task]['num_checkpoints'] == 3
    assert 'not a readable' in row['tasks'][task]['left_out'][NAMES[3]]


def test_where_all_fail_the_report_says_why(config, tmp_path, monkeypatch):
  monkeypatch.setattr(measures, 'evaluate', refuse)
  result = evaluate(config, str(tmp_path))
  assert len(result['failed']) == 4
  for aligned in result['alignments']:
    measured = [
      row['name'] for row in aligned['rows'] if 'leave_one_out' in row
    ]
    assert not set(measured) & set(MEASURES)
  page = (tmp_path / 'report.html').read_text()
  assert f'{NAMES[0]} failed on digits, shapes: AssertionError' in page


def test_after_ctrl_c_the_next_run_goes_on(config, tmp_path, monkeypatch):
  score, scored = measures.evaluate, []

  def interrupted(*args, **kwargs):
    if len(scored) == 2:
      raise KeyboardInterrupt
    scored.append(args)
    return score(*args, **kwargs)

  config.rank.num_threads = 1
  with monkeypatch.context() as patch:
    patch.setattr(measures, 'evaluate', interrupted)
    with pytest.raises(interruption.Interrupted):
      evaluate(config, str(tmp_path))
  assert not (tmp_path / 'evaluation.json').exists()

  def counted(*args, **kwargs):
    scored.append(args)
    return score(*args, **kwargs)

  monkeypatch.setattr(measures, 'evaluate', counted)
  evaluate(config, str(tmp_path))
  assert len(scored) == len(MEASURES) * len(TASKS) * (4 + 3)


BAD_CONFIGS = {
  'no task': ('tasks', ' ,', 'No task is chosen'),
  'task': ('tasks', 'digits,monochrom', "mean 'monochrome'"),
  'measure': ('rank.measures', 'knn,nlep', "mean 'nleep'"),
  'checkpoint': ('groups.all.checkpoints', 'mini_rotatoin', 'mini_rotation'),
  'too few': ('groups.all.checkpoints', ','.join(NAMES[:2]), 'at least 3'),
  'no accuracies': ('groups.all.accuracies', '', 'no accuracies to judge by'),
  'other accuracies': ('tasks', 'photos', 'the rankings are for photos'),
  'threads': ('rank.num_threads', -1, 'must not be negative, but is -1'),
}


@pytest.mark.parametrize('bad', BAD_CONFIGS)
def test_bad_input_is_refused_before_any_work(
  bad, config, tmp_path, monkeypatch
):
  key, value, message = BAD_CONFIGS[bad]
  config.update_from_flattened_dict({key: value})
  monkeypatch.setattr(checkpoints, 'restore', refuse)
  with pytest.raises(ValueError, match=message):
    evaluate(config, str(tmp_path))
  assert not (tmp_path / 'evaluation.json').exists()


@pytest.fixture
def signs(tmp_path):
  """Two files of one name, and of different images."""
  rng = np.random.default_rng(0)
  files = [tmp_path / place / 'signs.npz' for place in 'ab']
  for file in files:
    file.parent.mkdir()
    images = rng.integers(256, size=(60, 8, 8)).astype(np.uint8)
    np.savez(file, images=images, labels=np.arange(60) % 3)
  return files


def test_one_task_is_ranked_once_however_it_is_written(
  signs, config, tmp_path, monkeypatch
):
  monkeypatch.chdir(tmp_path)
  config.rank.task.num_examples = 0
  config.tasks = f'digits,digits,{signs[0]},./a/signs.npz,a//signs.npz'
  found = run._prepare_rankings(config, 'mini_random', tmp_path / 'rankings')
  assert [each.candidates.task.name for each in found] == [
    'digits',
    'signs.npz',
  ]
  config.tasks += f',{signs[1]}'
  with pytest.raises(ValueError, match=r"tasks of one name, 'signs\.npz'"):
    run._prepare_rankings(config, 'mini_random', tmp_path / 'rankings')


def test_the_miniature_is_ranked_with_the_settings_of_any_ranking():
  config = mini_config.get_config()
  usual = json.loads(measures_config.get_config().to_json())
  mine = json.loads(config.rank.to_json())
  assert set(mine) <= set(usual)
  assert set(usual) - set(mine) == {'features', 'checkpoints', 'known'}
  assert set(usual['task']) - set(mine['task']) == {'name'}
  left_out = set(measures.names()) - set(mine['measures'].split(','))
  assert left_out == {'early_stopping'}
