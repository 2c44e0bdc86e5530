# SPDX-License-Identifier: Apache-2.0
"""Runs with several measures."""

import json
import pathlib
import signal
import threading

import numpy as np
import pytest

from configs import measure as measure_config
from neucrab_jax import checkpoints, interruption, measures
from neucrab_jax.features import extraction
from tests.ranking import ranked


def test_several_measures_are_as_each_alone(tmp_path, monkeypatch):
  extracted = []
  extract = extraction.extract
  monkeypatch.setattr(
    extraction,
    'extract',
    lambda *args, **kwargs: extracted.append(1) or extract(*args, **kwargs),
  )
  names = ('knn', 'leep', 'num_parameters', 'upstream_accuracy')
  together = ranked.several(names, checkpoints='mini_sup_glyphs,mini_vae')
  together.task.num_examples = 100
  together.cache_dir = str(tmp_path / 'cache')
  result = ranked.rank_all(together, str(tmp_path / 'run'))
  assert len(extracted) == 2
  assert not any(ranking['failed'] for ranking in result.values())
  alone = measure_config.get_config('knn')
  alone.checkpoints = together.checkpoints
  alone.task.num_examples = 100
  alone.cache_dir = together.cache_dir
  expected = ranked.rank(alone, str(tmp_path / 'alone'))
  assert ranked.scores_of(result['knn']) == ranked.scores_of(expected)
  for name in names:
    written = json.loads((tmp_path / 'run' / name / 'ranking.json').read_text())
    assert written == result[name]
    assert (tmp_path / 'run' / name / 'ranking.csv').exists()
  # A checkpoint without a head is skipped by LEEP, and that is said.
  leep = result['leep']
  assert list(ranked.scores_of(leep)) == ['mini_sup_glyphs']
  assert [entry['checkpoint'] for entry in leep['skipped']] == ['mini_vae']
  assert 'classification head' in leep['skipped'][0]['reason']
  upstream = result['upstream_accuracy']
  assert list(ranked.scores_of(upstream)) == ['mini_sup_glyphs']
  sizes = ranked.scores_of(result['num_parameters'])
  about = json.loads(
    pathlib.Path(checkpoints.get('mini_sup_glyphs').path)
    .with_suffix('.json')
    .read_text()
  )
  assert sizes['mini_sup_glyphs'] == about['num_parameters']
  page = (tmp_path / 'run' / 'report.html').read_text()
  assert 'How the measures agree' in page
  # One for each score, and one of scores against seconds where there are two.
  lengths = [len(one['ranking']) for one in result.values()]
  assert page.count('<svg') == sum(lengths) + sum(n > 1 for n in lengths)


def test_several_measures_on_files(tmp_path, capsys):
  folder = ranked.make_files(tmp_path / 'flowers')
  config = ranked.several(
    ('knn', 'lfc', 'num_parameters'), features=str(folder / '*.npz')
  )
  result = ranked.rank_all(config, str(tmp_path / 'run'))
  for name in ('knn', 'lfc'):
    assert list(ranked.scores_of(result[name])) == ['c', 'b', 'a']
  assert len(result['num_parameters']['skipped']) == 3
  shown = capsys.readouterr().out
  assert 'skipped num_parameters: a, b, c: num_parameters needs' in shown
  assert 'lfc' in shown


def test_a_checkpoint_that_fails_for_one_measure_is_scored_by_others(tmp_path):
  folder = ranked.make_files(tmp_path / 'flowers')
  ranked.rewrite(folder / 'a.npz', source_probs=-np.ones((60, 4)))
  config = ranked.several(('knn', 'leep'), features=str(folder / '*.npz'))
  result = ranked.rank_all(config, str(tmp_path / 'run'))
  assert list(ranked.scores_of(result['knn'])) == ['c', 'b', 'a']
  (failed,) = result['leep']['failed']
  assert not result['knn']['failed']
  assert failed['checkpoint'] == 'a'
  assert 'negative' in failed['error']


def test_an_unknown_measure_among_several_names_the_nearest(tmp_path):
  with pytest.raises(ValueError, match="mean 'nleep'"):
    ranked.rank(ranked.several(('knn', 'nlep')), str(tmp_path))


def test_several_at_once_are_as_one_after_the_other(tmp_path):
  folder = ranked.make_files(tmp_path / 'flowers')
  # Whoever scores this file tells that a class has a single example.
  labels = np.where(np.arange(60) == 7, 3, np.arange(60) % 3)
  for file in folder.glob('*.npz'):
    ranked.rewrite(file, labels=labels)
  names = ('knn', 'lfc', 'parc', 'class_separation', 'num_parameters')
  found = {}
  for num_threads in (1, 4):
    config = ranked.several(names, features=str(folder / '*.npz'))
    config.num_threads = num_threads
    workdir = str(tmp_path / str(num_threads))
    found[num_threads] = ranked.rank_all(config, workdir)
  for name in names:
    one, four = (found[key][name] for key in (1, 4))
    assert one['skipped'] == four['skipped']
    for a, b in zip(one['ranking'], four['ranking'], strict=True):
      assert a['checkpoint'] == b['checkpoint']
      # BLAS adds in another order when it has another number of threads.
      for key in ('score', 'score_stderr'):
        assert a[key] == pytest.approx(b[key], rel=1e-9)
      assert a['warnings'] == b['warnings']
      assert 'single example' in ' '.join(a['warnings'])


def test_what_trains_has_all_devices_to_itself(tmp_path, monkeypatch):
  evaluate, lacks = measures.evaluate, measures.lacks
  under_way, lock, beside = [], threading.Lock(), []

  def counted(name, **kwargs):
    with lock:
      under_way.append(name)
      if 'early_stopping' in under_way:
        beside.append(under_way.copy())
    try:
      if name != 'early_stopping':
        return evaluate(name, **kwargs)
      # In the place of training, which takes longer.
      given = {k: kwargs[k] for k in ('features', 'labels', 'num_resamples')}
      return evaluate('lfc', **given)
    finally:
      with lock:
        under_way.remove(name)

  monkeypatch.setattr(measures, 'evaluate', counted)
  monkeypatch.setattr(
    measures,
    'lacks',
    lambda name, **given: (
      None if name == 'early_stopping' else lacks(name, **given)
    ),
  )
  folder = ranked.make_files(tmp_path / 'flowers')
  names = ('parc', 'early_stopping', 'lfc')
  config = ranked.several(names, features=str(folder / '*.npz'))
  config.num_threads = 4
  found = ranked.rank_all(config, str(tmp_path / 'run'))
  num_files = len(list(folder.glob('*.npz')))
  assert len(found['early_stopping']['ranking']) == num_files
  assert beside == [['early_stopping']] * num_files


def test_of_what_is_scored_at_once_ctrl_c_leaves_all_that_was_done(
  tmp_path, monkeypatch
):
  evaluate = measures.evaluate
  pressed = threading.Lock()

  def interrupted(name, **kwargs):
    if name == 'lfc' and pressed.acquire(blocking=False):
      main = threading.main_thread().ident
      signal.pthread_kill(main, signal.SIGINT)
    return evaluate(name, **kwargs)

  monkeypatch.setattr(measures, 'evaluate', interrupted)
  folder = ranked.make_files(tmp_path / 'flowers', names='abcdefgh')
  config = ranked.several(('knn', 'lfc'), features=str(folder / '*.npz'))
  config.num_threads = 2
  with interruption.handled(), pytest.raises(interruption.Interrupted):
    ranked.rank_all(config, str(tmp_path / 'run'))
  for name in ('knn', 'lfc'):
    left = tmp_path / 'run' / name
    found = json.loads((left / 'ranking.json').read_text())
    done = {entry['checkpoint'] for entry in found['ranking']}
    # Of what is scored, nothing is lost.
    assert done == {file.stem for file in left.glob('scores/*.json')}
    undone = [entry['checkpoint'] for entry in found['failed']]
    assert undone == [name for name in 'abcdefgh' if name not in done]
    assert 'h' in undone


def test_scores_are_shown_beside_ranks(tmp_path, capsys, monkeypatch):
  monkeypatch.setenv('COLUMNS', '60')
  names = [f'checkpoint_{i}' for i in range(6)]
  ranked.make_files(tmp_path / 'flowers', names=names)
  config = ranked.several(('knn', 'lfc'), features=str(tmp_path / 'flowers'))
  result = ranked.rank_all(config, str(tmp_path / 'run'))
  printed = capsys.readouterr().out
  assert printed.count('score by each measure') == 2
  for ranking in result.values():
    for entry in ranking['ranking']:
      assert f' {entry["score"]:.4g}│' in printed
  rows = [line for line in printed.splitlines() if line.startswith('│')]
  assert max(map(len, rows)) <= 60


@pytest.mark.parametrize('names', [('knn',), ('knn', 'leep')])
def test_if_all_fail_there_is_no_table(names, tmp_path, capsys):
  folder = ranked.make_files(tmp_path / 'flowers')
  for file in folder.iterdir():
    file.write_bytes(b'')
  config = ranked.several(names, features=str(folder))
  result = ranked.rank_all(config, str(tmp_path / 'run'))
  assert all(len(ranking['failed']) == 3 for ranking in result.values())
  printed = capsys.readouterr().out
  assert printed.startswith('failed ')
  page = (tmp_path / 'run' / 'report.html').read_text()
  assert page.count('<table') == 0
  assert 'No checkpoint could be scored' in page


def test_a_measure_that_scored_nobody_has_no_row(tmp_path, capsys):
  folder = ranked.make_files(tmp_path / 'flowers')
  config = ranked.several(('knn', 'leep'), features=str(folder))
  ranked.rank_all(config, str(tmp_path / 'run'))
  lines = capsys.readouterr().out.splitlines()
  assert not [line for line in lines if line.startswith('│ leep')]
  assert [line for line in lines if line.startswith('skipped leep')]
