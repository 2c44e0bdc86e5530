# SPDX-License-Identifier: Apache-2.0
"""Rankings and accuracies meet by their data, whatever the task is called."""

import pathlib

import msgspec
import numpy as np
import pytest

from configs import finetune as finetune_config
from configs import measure as measure_config
from neucrab_jax.benchmark import alignment, joining
from neucrab_jax.finetuning import known_accuracies, splits
from neucrab_jax.ranking import networks, predictions
from tests.benchmark import record_files

NAMES = 'abc'
SCORES = {'a': 1.0, 'b': 2.0, 'c': 3.0}


@pytest.mark.parametrize(
  ('name', 'data', 'found'),
  [
    ('signs', '', 'signs'),
    ('signs', 'x', 'signs'),
    ('/data/signs', '', 'signs'),
    ('signs/', '', 'signs'),
    ('./signs', 'z', 'signs'),
    ('traffic', 'x', 'signs'),
    ('signs', 'y', 'flowers'),
    ('twice', 'w', 'twice'),
    ('one', 'w', 'one'),
    ('other', '', 'other'),
    ('pets', '', 'pets'),
  ],
)
def test_a_task_is_found_by_its_data_then_by_its_name(name, data, found):
  known = {
    'signs': frozenset('xv'),
    'flowers': frozenset('y'),
    'one': frozenset('w'),
    'two': frozenset('w'),
    'a/pets': frozenset(),
    'b/pets': frozenset(),
  }
  assert joining.counterpart(name, set(data), known=known) == found


def make_ranking(task, data, **options):
  ranking = record_files.make_ranking(SCORES, task=task, **options)
  described = msgspec.structs.replace(ranking.task, split_fingerprint=data)
  return msgspec.structs.replace(ranking, task=described)


def write_accuracies(folder, task, data, **fields):
  for i, name in enumerate(NAMES):
    found = record_files.make_accuracy(name, 0.2 + i / 10, task=task)
    found = msgspec.structs.replace(found, **fields)
    parts = {
      role: msgspec.structs.replace(part, split_fingerprint=data)
      for role, part in found.task.splits.items()
    }
    described = msgspec.structs.replace(found.task, splits=parts)
    record_files.write(folder, msgspec.structs.replace(found, task=described))
  return known_accuracies.read_all(str(folder))


def align(tmp_path, *rankings, accuracies):
  files = [
    pathlib.Path(record_files.write(tmp_path / f'ranking{i}', ranking))
    for i, ranking in enumerate(rankings)
  ]
  (aligned,) = alignment.align(
    'g', predicted=predictions.read(files), accuracies=accuracies
  )
  return aligned


@pytest.mark.parametrize(
  ('ranked', 'tuned', 'noted'),
  [
    (('signs', 'x'), ('signs', 'x'), None),
    (('signs', ''), ('signs', 'x'), None),
    (('signs', 'x'), ('/data/signs', 'x'), 'of the same data'),
    (('signs', 'x'), ('mine', 'x'), 'of the same data'),
    (('/data/signs/', ''), ('signs', 'x'), 'of the same folder or file'),
  ],
)
def test_rankings_meet_the_accuracies_of_their_task(
  ranked, tuned, noted, tmp_path
):
  accuracies = write_accuracies(tmp_path / 'accuracies', *tuned)
  aligned = align(tmp_path, make_ranking(*ranked), accuracies=accuracies)
  assert aligned.tasks == (tuned[0],)
  np.testing.assert_array_equal(aligned.scores, [[[1, 2, 3]]])
  told = [note for note in aligned.notes if 'of the same' in note]
  assert len(told) == (noted is not None)
  assert not noted or noted in told[0]


def test_two_rankings_that_turn_out_to_be_of_one_task_are_refused(tmp_path):
  accuracies = write_accuracies(tmp_path / 'accuracies', 'signs', 'x')
  with pytest.raises(ValueError, match='two rankings by nleep for signs'):
    align(
      tmp_path,
      make_ranking('signs', 'x'),
      make_ranking('signs/', ''),
      accuracies=accuracies,
    )


def test_of_records_the_remedy_speaks_of_no_table(tmp_path):
  accuracies = write_accuracies(tmp_path / 'accuracies', 'signs', 'x')
  with pytest.raises(ValueError, match='on the same task') as error:
    align(tmp_path, make_ranking('flowers', 'y'), accuracies=accuracies)
  assert 'CSV' not in str(error.value)


@pytest.mark.parametrize('form', ['records', 'table'])
def test_what_diverged_is_taken_with_a_word(form, tmp_path):
  folder = tmp_path / 'accuracies'
  accuracies = write_accuracies(folder, 't', '', diverged=True)
  if form == 'table':
    file = tmp_path / 't.csv'
    file.write_text(
      'checkpoint,accuracy,diverged\na,.2,True\nb,.3,true\nc,.4,1\n'
    )
    accuracies = known_accuracies.read_all(str(file))
  aligned = align(tmp_path, make_ranking('t', ''), accuracies=accuracies)
  (told,) = [note for note in aligned.notes if 'their records call' in note]
  assert '3 of 3 accuracies on t' in told
  assert told.endswith('diverged: a, b, c.')


def test_of_sound_sweeps_nothing_is_said(tmp_path):
  accuracies = write_accuracies(tmp_path / 'accuracies', 't', '')
  aligned = align(tmp_path, make_ranking('t', ''), accuracies=accuracies)
  assert not [note for note in aligned.notes if 'their records call' in note]


@pytest.mark.parametrize(
  ('ranked', 'tuned', 'met'),
  [
    ({}, {}, True),
    ({'num_examples': 30}, {'num_examples': 24}, True),
    ({'split': 'train[:70%]'}, {'num_examples': 30}, True),
    ({'name': 'signs.npz'}, {'name': './signs.npz'}, True),
    ({'name': 'copy.npz'}, {}, True),
    ({'name': 'other.npz'}, {}, False),
  ],
)
def test_own_runs_on_the_same_data_meet(
  ranked, tuned, met, tmp_path, monkeypatch
):
  monkeypatch.chdir(tmp_path)
  rng = np.random.default_rng(0)
  labels = np.arange(60) % 2
  for name in ('signs', 'other'):
    images = rng.integers(256, size=(60, 8, 8)).astype(np.uint8)
    np.savez(f'{name}.npz', images=images, labels=labels)
  (tmp_path / 'copy.npz').write_bytes((tmp_path / 'signs.npz').read_bytes())
  ranking, tuning = (
    measure_config.get_config('knn'),
    finetune_config.get_config(),
  )
  ranking.cache_dir = str(tmp_path / 'cache')
  for config in (ranking, tuning):
    config.task.name = str(tmp_path / 'signs.npz')
    config.task.num_examples = 0
  ranking.task.update(ranked)
  tuning.task.update(tuned)
  one = networks.find(ranking).task
  other = splits.Splits(tuning.task, tmp_path).describe()
  assert bool(one.data & other.data) == met
