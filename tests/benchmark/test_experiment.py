# SPDX-License-Identifier: Apache-2.0
"""The whole experiment, in small: bundled networks, heads alone."""

import csv
import json

import ml_collections
import pytest

from configs import neucrab
from neucrab_jax import checkpoints, evaluate
from neucrab_jax.benchmark import (
  ablation,
  analysis,
  experiment,
  planning,
  price,
)
from neucrab_jax.finetuning import sweep
from neucrab_jax.reports import plots

NAMES = ('mini_vae', 'mini_jigsaw', 'mini_rotation')
TABLES = ('tables.txt', 'tables.csv', 'tables.tex')


@pytest.fixture(scope='module')
def cache(tmp_path_factory):
  return str(tmp_path_factory.mktemp('cache'))


@pytest.fixture(autouse=True)
def quick_report(monkeypatch):
  """Pictures, and the intervals of a random order, are not in question here."""
  monkeypatch.setattr(analysis, '_RANDOM_ORDERS', 20)
  monkeypatch.setattr(plots, 'svg', lambda figure: '<svg/>')


def make_config(cache, **groups):
  config = neucrab.get_config()
  config.groups = ml_collections.ConfigDict(
    {
      name: {'checkpoints': chosen, 'order': name}
      for name, chosen in (groups or {'mini_1': ','.join(NAMES)}).items()
    }
  )
  config.tasks = 'digits'
  config.cache_dir = cache
  config.rank.task.split = 'train'
  config.rank.task.num_examples = 50
  config.rank.measures = 'knn,num_parameters'
  config.finetune.task.train, config.finetune.task.validation = 'train', ''
  config.finetune.task.num_examples = 50
  config.finetune.protocol.mode = 'head'
  config.finetune.protocol.steps = (20,)
  config.finetune.protocol.learning_rates = (0.5,)
  config.finetune.protocol.warmup_steps = 0
  config.finetune.protocol.batch_size = 16
  config.ablation.energies = (0.5, 0.8)
  config.ablation.components_per_class = (1,)
  config.num_resamples = 20
  return config


@pytest.fixture
def quick_ablation(monkeypatch):
  """NLEEP's scores are not in question; how often they are asked for is."""
  asked = []

  def score(x, labels, *, energies, components_per_class, kinds, **rest):
    asked.append(x.shape)
    for energy in energies:
      for count in components_per_class:
        for kind in kinds:
          yield energy, count, kind, x[:1, :1].mean(axis=1) + energy
          rest['advance'](1)

  monkeypatch.setattr(ablation, 'sweep_scores', score)
  return asked


def read(folder):
  return {name: (folder / name).read_text() for name in TABLES}


def test_killed_on_the_way_it_comes_to_the_same_tables(
  cache, tmp_path, monkeypatch, quick_ablation
):
  config = make_config(cache)
  experiment.conduct(config, str(tmp_path / 'at_once'))
  expected = read(tmp_path / 'at_once')
  assert len(quick_ablation) == len(NAMES)

  class Killed(BaseException):
    pass

  def kill(*args, **options):
    raise Killed

  broken = tmp_path / 'broken'
  for module, step in (
    (experiment.run, 'evaluate'),
    (experiment.ablation, 'judge'),
  ):
    with monkeypatch.context() as patch:
      patch.setattr(module, step, kill)
      with pytest.raises(Killed):
        experiment.conduct(config, str(broken))
  experiment.conduct(config, str(broken))
  found = read(broken)
  assert found == expected
  # And a run over what is done asks for nothing.
  quick_ablation.clear()
  monkeypatch.setattr(sweep.Sweep, '_finetune', kill)
  experiment.conduct(config, str(broken))
  assert not quick_ablation
  assert read(broken) == found

  with (broken / 'tables.csv').open(newline='') as file:
    rows = list(csv.DictReader(file))
  evaluation = json.loads((broken / 'evaluation.json').read_text())
  (aligned,) = evaluation['alignments']
  knn = next(row for row in aligned['rows'] if row['name'] == 'knn')
  (cell,) = [
    row
    for row in rows
    if row['row'] == 'knn'
    and row['column'] == 'Kendall τ'
    and 'digits' in row['table']
  ]
  tau = knn['tasks']['digits']['metrics']['kendall_tau']['value']
  assert float(cell['value'] or 'nan') == pytest.approx(tau, abs=6e-4)
  assert any('NLEEP' in row['table'] for row in rows)
  assert found['tables.tex'].count(r'\begin{table}') == found[
    'tables.tex'
  ].count(r'\end{table}')
  assert 'fine-tuning' in (broken / 'seconds.txt').read_text()


def test_what_is_missing_is_told_with_its_remedy_and_the_rest_is_planned(
  cache, tmp_path
):
  config = make_config(cache, mini_1='mini_vae', neucrab_3='neucrab_3')
  config.groups.mini_3 = {'checkpoints': 'mini_resnet_v1,mini_mobilenet_v1'}
  config.groups.mini_3.order = ''
  config.tasks = 'digits,no_such_task'
  config.checkpoint_dir = str(tmp_path)
  found = planning.plan(config)
  assert found.tasks == ('digits',)
  # Too few for an order each.
  (names,) = found.groups.values()
  assert set(names) == {'mini_vae', 'mini_resnet_v1', 'mini_mobilenet_v1'}
  text = '\n'.join(found.notes)
  assert 'neucrab_3: 13 of 13 weights are missing' in text
  assert '-m neucrab_jax.download --group=imagenet_' in text
  assert f'--dir={tmp_path}' in text
  assert 'no_such_task is missing: Unknown task' in text
  assert 'they are judged together' in text


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'tasks': 'no_such_task'}, 'There is no task to go on with'),
    ({'steps': 'finetune,train'}, 'choose of finetune, rank, judge, ablate'),
    ({'accuracies': '/no/*.csv'}, 'No file matches'),
    ({'rank.measures': 'nlep'}, "mean 'nleep'"),
    ({'rank.options.early_stopping.num_seeds': 1}, 'must be at least 2'),
    ({'rank.task.split': 'train900'}, 'train900'),
    ({'finetune.save_steps': 0}, 'save_steps must be at least 1'),
    ({'finetune.task.train': 'train900'}, 'train900'),
  ],
)
def test_bad_input_is_refused_before_anything_runs(
  cache, tmp_path, changes, message
):
  config = make_config(cache)
  config.rank.measures += ',early_stopping'
  config.update_from_flattened_dict(changes)
  with pytest.raises(ValueError, match=message):
    experiment.conduct(config, str(tmp_path / 'run'))
  assert not [file for file in tmp_path.rglob('*') if file.is_file()]


def test_steps_can_be_left_to_others(cache, tmp_path, monkeypatch):
  accuracies = tmp_path / 'theirs.csv'
  rows = [f'{name},digits,0.{i + 3}' for i, name in enumerate(NAMES)]
  accuracies.write_text('\n'.join(['checkpoint,task,accuracy', *rows]) + '\n')
  config = make_config(cache)
  config.steps = 'rank'
  folder = tmp_path / 'run'
  assert experiment.conduct(config, str(folder)).evaluation is None
  assert list(folder.rglob('ranking.json'))
  assert not (folder / 'finetune').exists()
  config.steps = 'finetune,judge'
  config.accuracies = str(accuracies)
  evaluation = experiment.conduct(config, str(folder)).evaluation
  assert evaluation is not None
  (aligned,) = evaluation.alignments
  assert aligned.accuracy == 'accuracy'
  assert not (folder / 'finetune').exists()
  assert set(TABLES) <= {file.name for file in folder.iterdir()}


def test_the_price_is_told_and_nothing_starts(cache, tmp_path, monkeypatch):
  monkeypatch.setattr(price, 'measure_rate', lambda: 1e9)
  monkeypatch.setattr(
    price.cost, 'forward_flops', lambda spec: 1e6 * len(spec.name)
  )
  config = make_config(cache)
  rows = price.show(
    config, {'g': NAMES}, ('digits',), steps=('finetune', 'judge')
  )
  assert [row[:2] for row in rows] == [('g', 'digits')]
  once = 1e6 * sum(map(len, NAMES))
  assert rows[0][2] == 50 * once
  # Twenty steps of 16 images, each forward and back, and 497 test images.
  assert rows[0][3] == (3 * 20 * 16 + 497) * once
  experiment.conduct(config, str(tmp_path / 'run'), estimate=True)
  assert not list((tmp_path / 'run').iterdir())


@pytest.mark.parametrize('name', ['imagenet_inception_v1', 'mini_vae', 'vae'])
def test_weights_are_missed_where_they_are_not(name, tmp_path):
  (spec,) = checkpoints.select(name, str(tmp_path))
  assert bool(checkpoints.missing(spec)) == (name != 'mini_vae')


@pytest.mark.parametrize(
  ('chosen', 'groups', 'split', 'steps'),
  [
    ('', 3, 'train800val200', (1_000,)),
    ('neucrab_3,vtab', 1, 'trainval', (2_500, 10_000)),
    ('vtab_1k', 3, 'train800val200', (1_000,)),
  ],
)
def test_the_page_has_the_papers_groups_and_vtabs_protocols(
  chosen, groups, split, steps
):
  config = neucrab.get_config(chosen)
  assert len(config.groups) == groups
  assert config.rank.task.split == split
  assert config.finetune.protocol.steps == steps


def test_an_unknown_choice_is_refused():
  with pytest.raises(ValueError, match='Known: groups, neucrab_1'):
    neucrab.get_config('vtab,vtab_1k')


def test_the_command_conducts_it(monkeypatch, cache, tmp_path):
  called = []
  outcome = experiment.Outcome(None, ())
  monkeypatch.setattr(
    experiment,
    'conduct',
    lambda config, workdir, estimate: called.append(1) or outcome,
  )
  assert evaluate.main(make_config(cache), str(tmp_path)) == 0
  assert called == [1]


def test_what_fails_is_in_the_exit_status_and_the_rest_in_the_tables(
  cache, tmp_path, monkeypatch, capsys
):
  config = make_config(
    cache,
    whole=','.join((*NAMES, 'mini_random')),
    broken='mini_jigsaw,mini_rotation,mini_random',
  )
  config.groups.whole.order = config.groups.broken.order = ''
  config.steps = 'finetune,judge'
  finetune = sweep.Sweep._finetune

  def fail(self, backbone, **options):
    if backbone.checkpoint.name == 'mini_random':
      raise ValueError('no such layer')
    return finetune(self, backbone, **options)

  with monkeypatch.context() as patch:
    patch.setattr(sweep.Sweep, '_finetune', fail)
    assert evaluate.main(config, str(tmp_path)) == 1
  told = capsys.readouterr().out
  assert 'failed fine-tuning mini_random on digits: ValueError: no su' in told
  assert 'failed judging broken: 2 of its 3 checkpoints have an acc' in told
  found = json.loads((tmp_path / 'evaluation.json').read_text())
  assert [a['group'] for a in found['alignments']] == ['whole']
  assert 'whole' in (tmp_path / 'tables.txt').read_text()
  # Whatever it was, once it is repaired the same command goes on.
  assert evaluate.main(config, str(tmp_path)) == 0
  assert 'broken' in (tmp_path / 'tables.txt').read_text()


def test_an_experiment_of_which_all_fails_says_so(cache, tmp_path, monkeypatch):
  def fail(*args, **options):
    raise ValueError('no such layer')

  monkeypatch.setattr(sweep.Sweep, '_finetune', fail)
  outcome = experiment.conduct(make_config(cache), str(tmp_path))
  assert outcome.evaluation is None
  assert len(outcome.failed) == len(NAMES) + 1
  assert 'No file matches' in outcome.failed[-1]
