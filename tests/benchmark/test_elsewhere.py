# SPDX-License-Identifier: Apache-2.0
import csv

import numpy as np
import pytest

from neucrab_jax import rank
from neucrab_jax.benchmark import elsewhere
from neucrab_jax.ranking import run
from neucrab_jax.ranking import settings as ranking_settings
from tests.benchmark import record_files

HUB = 'hf:google/vit-base-patch16-224@main'


@pytest.fixture(scope='module')
def published():
  return elsewhere.read('published')


@pytest.mark.parametrize(
  ('one', 'other', 'same'),
  [
    ('flowers', 'oxford_flowers102', True),
    ('pets', 'oxford_iiit_pet', True),
    ('svhn_cropped', 'svhn', True),
    ('/data/stanford_cars/', 'stanfordcars', True),
    ('smallnorb/label_azimuth', 'smallnorb_label_azimuth', True),
    ('dtd', 'dtd', True),
    ('dtd', 'eurosat', False),
    ('t', 'dtd', False),
  ],
)
def test_names_that_may_mean_one_task(one, other, same):
  if '/label' in one:
    one = one.replace('/', '_')
  assert elsewhere.is_same_task(one, other) == same


def test_names_are_found_however_they_are_written(published):
  ranks = {HUB: 1.0, 'wae_ukl': 2.0, 'relative_patch_location': 3.0, 'mine': 4}
  good, bad, poor, mine = elsewhere.look_up(
    published, ranks, task='my_images', data=()
  )
  assert len(good.tasks) == 21  # Of two tables.
  assert {'dtd', 'flowers', 'oxford_flowers102'} <= set(good.tasks)
  assert len(bad.tasks) == len(poor.tasks) == 8
  assert bad.expected < 0.5 < poor.expected < good.expected
  for entry in (good, bad, poor):
    assert 0 < entry.low < entry.expected < entry.high < 1
  assert mine == elsewhere.Entry('mine', 4)


def test_the_task_at_hand_is_not_looked_at(published):
  def found(known):
    return elsewhere.look_up(known, {HUB: 1.0}, task='pets', data=())

  (entry,) = found(published)
  assert not {'pets', 'oxford_iiit_pet'} & set(entry.tasks)
  rng = np.random.default_rng(0)
  rows = tuple(
    {name: rng.random() for name in row} if 'pet' in task else row
    for task, row in zip(published.tasks, published.rows, strict=True)
  )
  changed = elsewhere.Known(published.tasks, rows, published.data)
  assert found(changed) == [entry]


def test_rank_shows_it_beside_and_never_in_its_ranking(
  tmp_path, monkeypatch, capsys
):
  own = tmp_path / 'own.csv'
  own.write_text(
    'checkpoint,task,accuracy\n'
    'a,birds,.9\nb,birds,.8\nc,birds,.7\n'
    'a,t,.1\nb,t,.2\nc,t,.3\n'
    'a,cars,.9\nb,cars,.7\nc,cars,.8\n'
  )
  ranking = record_files.make_ranking(
    {'c': 3.0, 'a': 2.0, 'new': 1.0}, name='knn', task='t'
  )
  monkeypatch.setattr(run, 'rank', lambda config, workdir: {'knn': ranking})
  config = ranking_settings.checkpoints_on_a_task()
  config.known = str(own)
  assert rank.main(config, str(tmp_path / 'out')) == 0
  with (tmp_path / 'out' / elsewhere.FILE).open(newline='') as file:
    rows = list(csv.DictReader(file))
  assert [row['checkpoint'] for row in rows] == ['c', 'a', 'new']
  assert [row['tasks'] for row in rows] == ['birds cars', 'birds cars', '']
  assert float(rows[1]['mean_rank']) == pytest.approx(5 / 6)
  assert float(rows[0]['mean_rank']) == pytest.approx((1 / 6 + 3 / 6) / 2)
  shown = capsys.readouterr().out
  assert 'known from elsewhere' in shown
  assert 'Not used, because it may be this task: t.' in shown


def test_it_is_not_there_unasked(tmp_path, monkeypatch):
  ranking = record_files.make_ranking({'a': 1.0}, name='knn', task='t')
  monkeypatch.setattr(run, 'rank', lambda config, workdir: {'knn': ranking})
  config = ranking_settings.checkpoints_on_a_task()
  assert rank.main(config, str(tmp_path / 'out')) == 0
  assert not (tmp_path / 'out').exists()


def test_a_file_that_is_none_is_refused_before_ranking(tmp_path):
  config = ranking_settings.checkpoints_on_a_task()
  config.known = str(tmp_path / 'none.csv')
  with pytest.raises(ValueError, match='No file matches'):
    rank.main(config, str(tmp_path / 'out'))
