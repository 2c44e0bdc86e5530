# SPDX-License-Identifier: Apache-2.0
import csv
import json
import math

import numpy as np
import pytest
from scipy import stats

from neucrab_jax import training
from neucrab_jax.benchmark import accuracy

LABELS = np.repeat(np.arange(4), 25)
LEVEL = accuracy.guessing_level(LABELS)


def outcome(validation, *, loss=0.5, validation_loss=0.5, rate=0.1, seed=0):
  return training.Outcome(
    training.Trial(rate, 10, seed),
    (
      {
        'step': 10,
        'learning_rate': rate,
        'loss': loss,
        'accuracy': 0.5,
        'validation_loss': validation_loss,
        'validation_accuracy': validation,
      },
    ),
    1.25,
  )


def summarise(outcomes, tested=None, num_test=400):
  """With a test accuracy for each trial that is asked for."""
  asked = []

  def test(trial):
    asked.append(trial)
    return 0.7 if tested is None else tested

  record = accuracy.summarise(
    outcomes, validation_labels=LABELS, num_test=num_test, test=test
  )
  return record, asked


@pytest.mark.parametrize(
  'labels', [LABELS, np.repeat([0, 1], [90, 10]), np.arange(10)]
)
def test_guessing_hardly_ever_exceeds_its_level(labels):
  n, commonest = len(labels), np.bincount(labels).max() / len(labels)
  level = accuracy.guessing_level(labels)
  right = round(level * n)

  def p_value(right):
    return stats.binomtest(right, n, commonest, alternative='greater').pvalue

  # One more right than the level is significant; the level itself is not.
  assert p_value(right + 1) < 0.05
  assert p_value(right) >= 0.05 or right == n


def test_the_best_by_validation_is_chosen_and_it_alone_is_tested():
  outcomes = [outcome(0.6, rate=1.0), outcome(0.9, rate=0.1), outcome(0.8)]
  record, asked = summarise(outcomes)
  assert record['chosen'] == [1]
  assert asked == [outcomes[1].trial]
  assert record['accuracy'] == 0.7
  tested = [trial['test_accuracy'] for trial in record['trials']]
  assert tested == [None, 0.7, None]
  assert record['accuracy_std'] is None
  assert record['standard_error'] == pytest.approx(math.sqrt(0.21 / 400))


def test_between_equals_the_smaller_loss_decides():
  outcomes = [outcome(0.9), outcome(0.9, validation_loss=0.4), outcome(0.9)]
  assert accuracy.choose(outcomes, level=LEVEL) == [1]


@pytest.mark.parametrize('loss', [math.nan, math.inf])
def test_a_diverged_trial_is_never_chosen_over_a_sane_one(loss):
  outcomes = [outcome(0.95, loss=loss), outcome(0.65), outcome(0.25)]
  record, _ = summarise(outcomes)
  assert record['chosen'] == [1]
  reasons = [trial['diverged'] for trial in record['trials']]
  assert reasons == ['loss', None, 'chance']
  assert not record['diverged']
  assert record['warnings'] == []
  json.dumps(record, allow_nan=False)


def test_if_all_diverge_that_is_the_result():
  record, asked = summarise([outcome(0.25), outcome(0.2, loss=math.nan)], 0.25)
  assert record['diverged']
  assert record['chosen'] == [0]
  assert record['accuracy'] == 0.25
  assert len(asked) == 1
  assert 'Every trial diverged' in record['warnings'][0]


def test_each_seed_chooses_for_itself():
  outcomes = [
    outcome(0.6, seed=0),
    outcome(0.8, seed=1),
    outcome(0.7, seed=0, rate=1.0),
    outcome(0.5, seed=1, rate=1.0),
  ]
  accuracies = iter([0.5, 0.6])
  record = accuracy.summarise(
    outcomes,
    validation_labels=LABELS,
    num_test=100,
    test=lambda trial: next(accuracies),
  )
  assert record['chosen'] == [2, 1]
  assert record['accuracy'] == pytest.approx(0.55)
  assert record['accuracy_std'] == pytest.approx(np.std([0.5, 0.6], ddof=1))


@pytest.mark.parametrize(
  ('validation', 'test', 'flagged'),
  [(0.6, 0.9, True), (0.6, 0.7, False), (0.9, 0.5, False)],
)
def test_a_test_accuracy_far_above_the_validation_s_is_flagged(
  validation, test, flagged
):
  record, _ = summarise([outcome(validation), outcome(0.5)], test)
  assert [trial['suspicious'] for trial in record['trials']] == [flagged, False]
  assert any('far above' in text for text in record['warnings']) == flagged


def test_a_record_of_other_settings_is_neither_used_nor_replaced(tmp_path):
  file = accuracy.path(tmp_path, checkpoint='c', task='data/my flowers')
  assert file.parent.name == 'data_my_flowers'
  assert accuracy.read(file, key='k') is None
  file.parent.mkdir(parents=True)
  file.write_text('{"key": "k", "accuracy": 0.5}')
  assert accuracy.read(file, key='k')['accuracy'] == 0.5
  with pytest.raises(accuracy.RecordError, match='other settings'):
    accuracy.read(file, key='l')
  file.write_text('{"key"')
  with pytest.raises(accuracy.RecordError, match='no record'):
    accuracy.read(file, key='k')


def test_the_table_has_every_record(tmp_path):
  for task, name in (('b', 'y'), ('a', 'x')):
    record, _ = summarise([outcome(0.8)])
    file = accuracy.path(tmp_path, checkpoint=name, task=task)
    file.parent.mkdir()
    record |= {'checkpoint': name, 'task': {'name': task}}
    file.write_text(json.dumps(record))
  rows = list(csv.DictReader(accuracy.table(tmp_path).splitlines()))
  assert [(row['task'], row['checkpoint']) for row in rows] == [
    ('a', 'x'),
    ('b', 'y'),
  ]
  assert {row['accuracy'] for row in rows} == {'0.7'}
  assert {row['accuracy_std'] for row in rows} == {''}
