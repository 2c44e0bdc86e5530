# SPDX-License-Identifier: Apache-2.0
import csv
import json
import re

import jax
import numpy as np
import pytest
from scipy import stats

from configs import evaluate as evaluate_config
from configs import published as published_config
from neucrab_jax import checkpoints, storage
from neucrab_jax.benchmark import analysis, cost, metrics, run
from neucrab_jax.ranking import predictions, score_record
from tests.benchmark import aligned_scores, record_files

NAMES = tuple('abcdefgh')
TASKS = ('flowers', 'birds')
FEW = 200  # Resamples.


def evaluate(config, workdir):
  """What `evaluation.json` of a run holds."""
  return storage.to_builtins(run.evaluate(config, workdir))


@pytest.fixture(scope='module')
def published(tmp_path_factory):
  config = published_config.get_config()
  config.num_resamples = FEW
  return evaluate(config, str(tmp_path_factory.mktemp('run')))


def find(result, group, accuracy):
  (aligned,) = [
    a
    for a in result['alignments']
    if (a['group'], a['accuracy']) == (group, accuracy)
  ]
  return aligned, {row['name']: row for row in aligned['rows']}


def value(row, metric='kendall_tau'):
  return row['average'][metric]['value']


def test_published_figures_on_sun397(published):
  _, rows = find(published, 'architectures', 'linear')
  for name, tau in {
    'nleep': 0.871,
    'gbc': 0.708,
    'logme': 0.298,
    'leep': 0.053,
    'h_score': -0.053,
  }.items():
    assert value(rows[name]) == pytest.approx(tau, abs=5e-4)
  for metric, expected in {
    'weighted_kendall_tau': 0.883,
    'pearson': 0.978,
    'rel_at_1': 1.0,
  }.items():
    assert value(rows['nleep'], metric) == pytest.approx(expected, abs=5e-4)


@pytest.mark.parametrize('accuracy', ['linear', 'finetuned'])
def test_published_figures_are_those_of_scipy_on_the_file(published, accuracy):
  (source,) = [s['file'] for s in published['sources'] if 'sun397' in s['file']]
  with open(source, newline='') as file:
    table = list(csv.DictReader(file))
  accuracies = [float(row[f'accuracy_{accuracy}']) for row in table]
  _, rows = find(published, 'architectures', accuracy)
  for name in ('nleep', 'gbc', 'logme', 'leep', 'h_score'):
    scores = [float(row[name]) for row in table]
    for metric, function in (
      ('kendall_tau', stats.kendalltau),
      ('weighted_kendall_tau', stats.weightedtau),
      ('pearson', stats.pearsonr),
    ):
      expected = function(scores, accuracies).statistic
      assert value(rows[name], metric) == pytest.approx(expected, abs=1e-12)


def test_a_task_blind_order_and_the_ceiling_on_vtab(published):
  full, rows = find(published, 'neucrab_1', 'full')
  assert len(full['checkpoints']) == 14
  for name, expected in {
    'fixed order': (0.87, 0.65, 0.87, 0.87),
    'accuracy: 1000 training examples': (0.80, 0.58, 0.93, 0.87),
  }.items():
    taus = [
      rows[name]['tasks'][task]['metrics']['kendall_tau']['value']
      for task in ('caltech101', 'patch_camelyon', 'oxford_flowers102',
                   'sun397')
    ]  # fmt: skip
    np.testing.assert_allclose(taus, expected, atol=5e-3)
    assert value(rows[name]) == pytest.approx(np.mean(taus))
  assert 'From-Scratch, Sup-Rotation-100%' in ' '.join(full['notes'])


@pytest.fixture
def files(tmp_path):
  """Rankings by three measures, and accuracies, of two tasks."""
  rng = np.random.default_rng(0)
  for task in TASKS:
    accuracies = np.linspace(0.3, 0.9, len(NAMES))
    for name, accuracy in zip(NAMES, accuracies, strict=True):
      runs = accuracy + 0.05 * rng.standard_normal(3)
      found = record_files.make_accuracy(
        name,
        runs.mean(),
        task=task,
        seconds=60.0,
        chosen=(0, 1, 2),
        tested=tuple(runs),
      )
      record_files.write(tmp_path / 'accuracies', found)
    for measure, noise in (('good', 0.1), ('knn', 0.5), ('num_parameters', 1)):
      scores = accuracies + noise * rng.standard_normal(len(NAMES))
      folder = tmp_path / 'runs' / task / measure
      for name, score in zip(NAMES, scores, strict=True):
        resamples = score + 0.05 * rng.standard_normal(20)
        storage.write_sealed(
          score_record.path(folder, name),
          record_files.make_score(score, resamples),
        )
      ranking = record_files.make_ranking(
        dict(zip(NAMES, scores, strict=True)),
        name=measure,
        task=task,
        num_examples=100,
        seconds={'extract': 2.0, 'score': 0.5},
        cached=measure != 'good',
      )
      record_files.write(folder, ranking)
  return tmp_path


def make_config(files, **changes):
  config = evaluate_config.get_config()
  config.rankings = str(files / 'runs' / '*' / '*' / 'ranking.json')
  config.accuracies = str(files / 'accuracies')
  config.order = ','.join(NAMES)
  config.num_resamples = FEW
  config.update(changes)
  return config


def test_the_record_has_all_that_is_promised(files):
  result = evaluate(make_config(files), str(files / 'out'))
  written = json.loads((files / 'out' / 'evaluation.json').read_text())
  assert written == result
  (aligned,) = result['alignments']
  assert aligned['tasks'] == sorted(TASKS)
  assert aligned['resampled'] == ['checkpoints', 'tasks', 'examples', 'seeds']
  roles = {row['name']: row['role'] for row in aligned['rows']}
  assert roles == {
    'good': 'measure',
    'knn': 'control',
    'num_parameters': 'control',
    'fixed order': 'control',
    'history': 'control',
    'history_low_rank': 'control',
    analysis.RANDOM_ORDER: 'control',
    'accuracy: another seed': 'ceiling',
  }
  good = aligned['rows'][0]
  assert set(good['average']) == set(metrics.METRICS)
  assert set(good['spread']) == set(aligned['resampled'])
  assert all(spread > 0 for spread in good['spread'].values())
  assert set(good['leave_one_out']) == set(NAMES)
  assert len(good['drop_largest']) == 4
  assert good['drop_largest'][0] == pytest.approx(value(good))
  assert 0 < good['p_value'] < 0.05
  for task in TASKS:
    found = good['tasks'][task]
    assert found['num_checkpoints'] == len(NAMES)
    assert found['sources'] == [
      str(files / 'runs' / task / 'good' / 'ranking.json')
    ]
    for cell in found['metrics'].values():
      assert cell['low'] <= cell['high']
  assert good['average']['kendall_tau']['low'] <= value(good)
  assert aligned['cost']['measures']['knn'] == {
    'extract_seconds': 2.0,  # Where the features were not found cached.
    'score_seconds': 0.5,
    'flops': None,
  }
  assert aligned['cost']['fine_tuning'] == {'seconds': 60.0, 'flops': None}
  cited = {source['file'] for source in result['sources']}
  assert len(cited) == 3 * len(TASKS) + len(TASKS) * len(NAMES)


def test_leaving_out_is_leaving_out(files):
  (aligned,) = evaluate(make_config(files), str(files / 'out'))['alignments']
  good = aligned['rows'][0]
  largest = max(
    aligned['points'][aligned['tasks'][0]],
    key=lambda point: point['scores']['num_parameters'],
  )['checkpoint']

  def tau_without(name):
    taus = []
    for points in aligned['points'].values():
      kept = [p for p in points if p['checkpoint'] != name]
      taus.append(
        stats.kendalltau(
          [p['scores']['good'] for p in kept], [p['accuracy'] for p in kept]
        ).statistic
      )
    return np.mean(taus)

  for name, tau in good['leave_one_out'].items():
    assert tau == pytest.approx(tau_without(name), abs=1e-12)
  assert good['drop_largest'][1] == pytest.approx(
    tau_without(largest), abs=1e-12
  )


def test_same_seed_same_record_and_another_seed_another(files):
  first, second, third = (
    evaluate(make_config(files, seed=seed), str(files / 'out'))
    for seed in (0, 0, 1)
  )
  assert first == second
  a, b = (r['alignments'][0]['rows'][0] for r in (first, third))
  assert value(a) == value(b)
  assert a['spread'] != b['spread']


def test_a_random_order_earns_what_all_orders_earn_on_average(files):
  (aligned,) = evaluate(make_config(files, order=''), str(files / 'out'))[
    'alignments'
  ]
  (row,) = [r for r in aligned['rows'] if r['name'] == analysis.RANDOM_ORDER]
  assert value(row, 'recall_at_1') == pytest.approx(1 / len(NAMES))
  assert value(row, 'recall_at_3') == pytest.approx(3 / len(NAMES))
  expected = []
  for points in aligned['points'].values():
    accuracies = np.array([p['accuracy'] for p in points])
    expected.append(accuracies.mean() / accuracies.max())
  assert value(row, 'rel_at_1') == pytest.approx(np.mean(expected))
  assert value(row) == 0


def test_constant_scores_are_shown_without_tau(files):
  path = files / 'flat.csv'
  rows = [f'{n},{task},7' for n in NAMES for task in TASKS]
  path.write_text('\n'.join(['checkpoint,task,flat', *rows]))
  config = make_config(files, rankings=str(path))
  (aligned,) = evaluate(config, str(files / 'out'))['alignments']
  flat = aligned['rows'][0]
  assert value(flat) is None
  assert 'p_value' not in flat
  assert value(flat, 'recall_at_1') == pytest.approx(1 / len(NAMES))


def test_files_are_views_of_the_record(files):
  result = evaluate(make_config(files), str(files / 'out'))
  (aligned,) = result['alignments']
  with (files / 'out' / 'evaluation.csv').open(newline='') as file:
    table = list(csv.DictReader(file))
  for row in aligned['rows']:
    (cell,) = [
      r
      for r in table
      if (r['name'], r['task'], r['metric'])
      == (row['name'], 'average', 'kendall_tau')
    ]
    assert float(cell['value']) == value(row)
  page = (files / 'out' / 'report.html').read_text()
  for row in aligned['rows']:
    assert row['name'] in page
    assert f'{value(row):.3f}'.replace('-', '−') in page
  for source in result['sources']:
    assert source['file'] in page
  # Two tasks, six predictors, and the cost plot.
  assert page.count('<svg') == 2 * 6 + 1
  assert not re.search(r'(src|href)="(http|//)|@import|url\((?!#)', page)


def test_groups_are_judged_apart(files):
  config = make_config(files)
  group = {'rankings': config.rankings, 'accuracies': config.accuracies}
  config.groups = {'one': group, 'two': {**group, 'order': config.order}}
  result = evaluate(config, str(files / 'out'))
  assert [c['group'] for c in result['alignments']] == ['one', 'two']
  first, second = result['alignments']
  assert value(first['rows'][0]) == value(second['rows'][0])


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'accuracies': ''}, 'no accuracies to judge by'),
    ({'rankings': '', 'order': ''}, 'nothing to judge'),
    ({'rankings': '/no/*.json'}, 'No file matches'),
    ({'num_resamples': 0}, 'from 1 to 1,000,000, not 0'),
  ],
)
def test_bad_settings_are_refused(changes, message, files):
  with pytest.raises(ValueError, match=message):
    evaluate(make_config(files, **changes), str(files / 'out'))
  assert not (files / 'out' / 'evaluation.json').exists()


def layer_flops(jaxpr):
  """Two for every weight and place it is laid on, padding included."""
  total = 0
  for equation in jaxpr.eqns:
    if equation.primitive.name == 'conv_general_dilated':
      kernel, out = equation.invars[1].aval.shape, equation.outvars[0].aval
      total += 2 * out.size * np.prod(kernel[:3])
    elif equation.primitive.name == 'dot_general':  # a 1×1 convolution
      kernel, out = equation.invars[1].aval.shape, equation.outvars[0].aval
      total += 2 * out.size * kernel[0]
    elif equation.primitive.name == 'cond':  # a branch for each platform
      total += layer_flops(equation.params['branches'][-1].jaxpr)
    for inner in equation.params.values():
      if hasattr(inner, 'jaxpr'):
        total += layer_flops(inner.jaxpr)
  return total


def test_flops_and_parameters_are_those_of_the_layers():
  found = cost.network('mini_sup_glyphs')
  assert found == cost.network('mini_vae')  # Of the same architecture.
  parameters, flops = found
  backbone = checkpoints.restore('mini_sup_glyphs')
  image = np.zeros((1, 32, 32, 3), np.float32)
  outputs = backbone(image)
  head = (outputs.features.size + 1) * outputs.logits.size
  sizes = [leaf.size for leaf in jax.tree.leaves(backbone.variables['params'])]
  assert parameters == sum(sizes) - head
  expected = layer_flops(
    jax.make_jaxpr(backbone.module.apply)(backbone.variables, image).jaxpr
  )
  # XLA leaves padding out, and counts the normalisation.
  assert flops == pytest.approx(expected, rel=0.2)


def test_flops_are_those_on_record():
  # Checkpoints of which nothing but the record tells the architecture.
  aligned = aligned_scores.make(knn=aligned_scores.GOOD)
  scores = {
    name: predictions.Prediction(0.5, 'file', (), {'score': 1.0}, 1e3 * place)
    for place, name in enumerate(aligned.checkpoints, start=1)
  }
  predicted = [predictions.Predictions('knn', 't', scores, num_examples=10)]
  found = cost.of_measures(aligned, predicted)
  assert found['knn'].flops == pytest.approx(10 * 4.5e3)


def test_what_is_not_known_has_no_cost():
  assert cost.network('nobody') is None
  assert cost.network('sup_100') is None  # Only its weights tell what it is.
