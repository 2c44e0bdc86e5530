# SPDX-License-Identifier: Apache-2.0
"""The published tables: judged as SciPy judges the same rows."""

import csv
import dataclasses
import pathlib

import numpy as np
import pytest
from scipy import stats

from configs import published
from neucrab_jax import storage
from neucrab_jax.benchmark import (
  alignment,
  analysis,
  exclusion,
  forecasts,
  known_controls,
  run,
)
from neucrab_jax.finetuning import known_accuracies
from neucrab_jax.ranking import predictions
from neucrab_jax.reports import plots

FOLDER = pathlib.Path(published._PUBLISHED)
SIZES = {
  'huggingface_1k': (3239, 291, 12),
  'huggingface_full': (1784, 180, 10),
  'sfda_supervised_cnn': (121, 11, 11),
  'sfda_self_supervised': (132, 12, 11),
  'parc_controlled': (196, 32, 7),
}


def read(name):
  with (FOLDER / f'{name}.csv').open(newline='') as file:
    return list(csv.DictReader(file))


@pytest.mark.parametrize('name', SIZES)
def test_tables_are_whole_and_their_source_is_named(name):
  rows = read(name)
  checkpoints = {row['checkpoint'] for row in rows}
  tasks = {row['task'] for row in rows}
  assert (len(rows), len(checkpoints), len(tasks)) == SIZES[name]
  assert name in (FOLDER / 'README.md').read_text()


def align(table):
  (group,) = published.get_config(table).groups.values()
  file = pathlib.Path(group.accuracies)
  (aligned,) = alignment.align(
    table,
    predicted=predictions.read([file]) if 'rankings' in group else [],
    accuracies=known_accuracies.read_all(str(file)),
    alone=True,
  )
  return known_controls.add(aligned)


@pytest.fixture(scope='module')
def full():
  return align('huggingface_full')


KNOWN = ('history', 'history_low_rank', 'combined')


def rows_of(aligned):
  """[3, T, M], what the predictors that know other tasks say."""
  names = [predictor.name for predictor in aligned.predictors]
  return aligned.scores[[names.index(name) for name in KNOWN]]


def without(aligned):
  """The same, as it was before those predictors."""
  kept = [
    c for c, given in enumerate(aligned.predictors) if given.name not in KNOWN
  ]
  return dataclasses.replace(
    aligned,
    predictors=tuple(aligned.predictors[c] for c in kept),
    scores=aligned.scores[kept],
  )


def test_no_predictor_sees_the_judged_tasks_accuracies(full):
  """They are turned about; the other tasks' predictions are what changes."""
  t = full.tasks.index('dtd')
  row = full.known['dtd']
  turned = dict(zip(row, reversed(row.values()), strict=True))
  changed = dataclasses.replace(
    without(full),
    known={**full.known, 'dtd': turned},
    accuracies=np.array(
      [
        [turned[n].value if n in turned else np.nan for n in full.checkpoints]
        if task == 'dtd'
        else values
        for task, values in zip(full.tasks, full.accuracies, strict=True)
      ]
    ),
  )
  before, after = rows_of(full), rows_of(known_controls.add(changed))
  np.testing.assert_array_equal(after[:, t], before[:, t])
  others = np.arange(len(full.tasks)) != t
  for one, other in zip(before[:, others], after[:, others], strict=True):
    assert not np.array_equal(one, other, equal_nan=True)


def test_a_task_of_which_no_accuracy_is_known_is_predicted_from_python(full):
  accuracies, scores = forecasts.read(str(FOLDER / 'huggingface_full.csv'))
  expected = rows_of(full)[:, full.tasks.index('dtd')]
  sealed = {task: row for task, row in accuracies.items() if task != 'dtd'}
  found = forecasts.predict(sealed, 'dtd', scores=scores)
  for name, values in zip(KNOWN, expected, strict=True):
    np.testing.assert_allclose(
      [found[name].get(c, np.nan) for c in full.checkpoints], values, rtol=1e-6
    )
  # With its accuracies it is the same.
  assert forecasts.predict(accuracies, 'dtd', scores=scores) == found


def test_a_task_cannot_be_predicted_from_itself():
  with pytest.raises(ValueError, match="'dtd' cannot be predicted from itse"):
    forecasts.predict({'dtd': {'a': 0.5}}, 'dtd')


def test_published_taus_of_logme_and_history(full):
  """As computed apart from this library, on all rows that have LogME."""
  expected = {
    'logme': [0.31, 0.29, 0.38, 0.55, 0.06, 0.09, 0.25, 0.12],
    'history': [0.46, 0.30, 0.46, 0.40, 0.49, 0.42, 0.56, 0.05],
  }
  names = [predictor.name for predictor in full.predictors]
  for name, taus in expected.items():
    found = [
      stats.kendalltau(scores, accuracies, nan_policy='omit').statistic
      for scores, accuracies in zip(
        np.where(
          np.isnan(full.scores[names.index('logme')]),
          np.nan,
          full.scores[names.index(name)],
        ),
        full.accuracies,
        strict=True,
      )
    ]
    np.testing.assert_allclose(found, taus, atol=6e-3)


def test_combined_on_the_published_table(full):
  names = [predictor.name for predictor in full.predictors]
  measured = ~np.isnan(full.scores[names.index('logme')])
  means = {
    name: np.mean(
      [
        stats.kendalltau(x[known], y[known]).statistic
        for x, y, known in zip(scores, full.accuracies, measured, strict=True)
      ]
    )
    for name, scores in zip(names, full.scores, strict=True)
  }
  assert means['combined'] > means['history'] + 0.03
  assert means['combined'] > means['history_low_rank']


def test_rows_are_those_of_scipy(tmp_path, monkeypatch):
  # The intervals of a random order are not in question here.
  monkeypatch.setattr(analysis, '_RANDOM_ORDERS', 20)
  config = published.get_config('sfda')
  config.num_resamples = 20
  del config.groups.self_supervised
  result = storage.to_builtins(run.evaluate(config, str(tmp_path)))
  for aligned in result['alignments']:
    assert [row['name'] for row in aligned['rows']] == [
      'history', 'history_low_rank', 'random order'
    ]  # fmt: skip
    table = {
      (row['task'], row['checkpoint']): float(row['accuracy'])
      for row in read(f'sfda_{aligned["group"]}')
    }
    places = {
      task: stats.rankdata([table[task, n] for n in aligned['checkpoints']])
      for task in aligned['tasks']
    }
    (row,) = [r for r in aligned['rows'] if r['name'] == 'history']
    for task, judged in row['tasks'].items():
      accuracies = [table[task, name] for name in aligned['checkpoints']]
      scores = np.mean([r for t, r in places.items() if t != task], axis=0)
      for metric, function in METRICS.items():
        expected = function(scores, accuracies).statistic
        assert judged['metrics'][metric]['value'] == pytest.approx(expected)


METRICS = {
  'kendall_tau': stats.kendalltau,
  'weighted_kendall_tau': stats.weightedtau,
  'pearson': stats.pearsonr,
}


@pytest.mark.parametrize(
  ('table', 'measure'), [('', 'nleep'), ('huggingface_full', 'logme')]
)
def test_scores_of_measures_are_judged_as_scipy_does(
  table, measure, tmp_path, monkeypatch
):
  monkeypatch.setattr(analysis, '_RANDOM_ORDERS', 20)
  monkeypatch.setattr(plots, 'svg', lambda figure: '<svg/>')
  config = published.get_config(table)
  config.num_resamples = 2
  rows = read(table or 'sun397_architectures')
  for aligned in run.evaluate(config, str(tmp_path)).alignments:
    if measure not in {row.name for row in aligned.rows}:
      continue
    (judged,) = (row for row in aligned.rows if row.name == measure)
    for task, found in judged.tasks.items():
      column = aligned.accuracy.replace('accuracy', '').strip(' ,')
      column = '_'.join(filter(None, ('accuracy', column)))
      pairs = [
        (float(row[measure]), float(row[column]))
        for row in rows
        if row.get('task', task) == task
        and row['checkpoint'] in {p.checkpoint for p in aligned.points[task]}
        and row[measure]
      ]
      for name, function in METRICS.items():
        expected = function(*zip(*pairs, strict=True)).statistic
        assert found.metrics[name].value == pytest.approx(expected)


@pytest.mark.parametrize('table', ['huggingface_1k', 'huggingface_full'])
def test_the_rule_knows_every_task_and_says_what_it_leaves_out(table):
  config = published.get_config(table)
  accuracies = known_accuracies.read_all(str(FOLDER / f'{table}.csv'))
  assert set(accuracies['accuracy']) <= set(config.leave_out.chance)
  kept, notes = exclusion.apply(
    accuracies, exclusion.read(config.leave_out.to_dict())
  )
  text = ' '.join(notes)
  for word in ('random weights', 'diverged', 'the name of another'):
    assert word in text
  left = {name for row in kept['accuracy'].values() for name in row}
  owners = [name.rpartition('/')[2] for name in left]
  assert len(set(owners)) == len(owners)
  assert not any('random' in name for name in left)


def test_an_unknown_table_is_refused():
  with pytest.raises(ValueError, match='Known: huggingface_1k'):
    published.get_config('huggingface')
