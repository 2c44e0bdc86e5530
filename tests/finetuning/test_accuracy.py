# SPDX-License-Identifier: Apache-2.0
import csv
import dataclasses
import math

import msgspec
import numpy as np
import pytest
from scipy import stats

from neucrab_jax import environment, storage
from neucrab_jax.finetuning import (
  accuracy,
  protocol,
  record,
  trainer,
)

LABELS = np.repeat(np.arange(4), 25)
LEVEL = accuracy.guessing_level(LABELS)


def outcome(validation, *, loss=0.5, validation_loss=0.5, rate=0.1, seed=0):
  trial = protocol.Trial(rate, 10, seed)
  point = record.Point(
    step=10,
    learning_rate=rate,
    loss=loss,
    accuracy=0.5,
    validation_loss=validation_loss,
    validation_accuracy=validation,
  )
  return trainer.TrialResult(trial, (point,), seconds=1.25, group=(trial,))


def about(*, key='k', checkpoint='c', task='t'):
  part = record.Part('s', 10, '')
  roles = ('train', 'validation', 'test')
  return record.About(
    schema=record.SCHEMA,
    key=key,
    checkpoint=checkpoint,
    weights='',
    task=record.Task(task, 4, dict.fromkeys(roles, part), ''),
    protocol=protocol.Protocol(),
    environment=environment.current(seed=0),
  )


def summarise(outcomes, tested=None, num_test=400, **of):
  """With a test accuracy for each trial that is asked for."""
  asked = []

  def test(result):
    asked.append(result.trial)
    return 0.7 if tested is None else tested

  summary = accuracy.summarise(
    outcomes,
    about=about(**of),
    validation_labels=LABELS,
    num_test=num_test,
    test=test,
  )
  return summary, asked


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
  summary, asked = summarise(outcomes)
  assert summary.chosen == (1,)
  assert asked == [outcomes[1].trial]
  assert summary.accuracy == 0.7
  tested = [trial.test_accuracy for trial in summary.trials]
  assert tested == [None, 0.7, None]
  assert summary.accuracy_std is None
  assert summary.standard_error == pytest.approx(math.sqrt(0.21 / 400))


def test_between_equals_the_smaller_loss_decides():
  outcomes = [outcome(0.9), outcome(0.9, validation_loss=0.4), outcome(0.9)]
  assert accuracy.choose(outcomes, level=LEVEL) == [1]


@pytest.mark.parametrize('loss', [math.nan, math.inf])
def test_a_diverged_trial_is_never_chosen_over_a_sane_one(loss):
  outcomes = [
    outcome(0.95, loss=loss),
    outcome(0.65),
    outcome(0.25),
    outcome(0.25, loss=9.0),
    outcome(0.65, loss=9.0),
  ]
  summary, _ = summarise(outcomes)
  assert summary.chosen == (1,)
  reasons = [trial.diverged for trial in summary.trials]
  assert reasons == ['loss', None, None, 'chance', None]
  at_chance = [trial.at_chance for trial in summary.trials]
  assert at_chance == [False, False, True, False, False]
  assert not summary.diverged
  assert not summary.doubt
  assert summary.warnings == ()
  assert storage.to_builtins(summary)['trials'][0]['curve'][0]['loss'] is None


def test_if_all_diverge_that_is_the_result():
  outcomes = [outcome(0.25, loss=9.0), outcome(0.2, loss=math.nan)]
  summary, asked = summarise(outcomes, 0.25)
  assert summary.diverged
  assert summary.doubt == 'diverged'
  assert summary.chosen == (0,)
  assert summary.accuracy == 0.25
  assert len(asked) == 1
  assert 'Every trial diverged' in summary.warnings[0]


@pytest.mark.parametrize('other', [0.5, math.nan])
def test_what_is_undertrained_has_not_diverged(other):
  outcomes = [outcome(0.25, loss=math.log(4)), outcome(0.2, loss=other)]
  summary, _ = summarise(outcomes, 0.25)
  assert not summary.diverged
  assert summary.doubt == 'no better than guessing'
  assert 'No trial is better than guessing' in summary.warnings[0]
  assert 'diverged' not in summary.warnings[0]


@pytest.mark.parametrize(
  ('losses', 'doubt'),
  [((9.0, 9.0), 'diverged'), ((9.0, 1.4), 'no better than guessing')],
)
def test_of_older_records_the_curve_tells_what_chance_was(losses, doubt):
  summary, _ = summarise([outcome(0.25, loss=loss) for loss in losses], 0.25)
  trials = [
    msgspec.structs.replace(trial, diverged='chance', at_chance=False)
    for trial in summary.trials
  ]
  old = msgspec.structs.replace(summary, trials=tuple(trials), diverged=True)
  assert old.doubt == doubt


def test_seconds_of_compiling_are_apart():
  result = outcome(0.8)
  compiled = dataclasses.replace(outcome(0.6), compile_seconds=7.5)
  summary, _ = summarise([result, compiled])
  assert (summary.seconds, summary.compile_seconds) == (2.5, 7.5)
  assert [t.compile_seconds for t in summary.trials] == [0, 7.5]


def test_each_seed_chooses_for_itself():
  outcomes = [
    outcome(0.6, seed=0),
    outcome(0.8, seed=1),
    outcome(0.7, seed=0, rate=1.0),
    outcome(0.5, seed=1, rate=1.0),
  ]
  accuracies = iter([0.5, 0.6])
  summary = accuracy.summarise(
    outcomes,
    about=about(),
    validation_labels=LABELS,
    num_test=100,
    test=lambda trial: next(accuracies),
  )
  assert summary.chosen == (2, 1)
  assert summary.accuracy == pytest.approx(0.55)
  assert summary.accuracy_std == pytest.approx(np.std([0.5, 0.6], ddof=1))


@pytest.mark.parametrize(
  ('validation', 'test', 'flagged'),
  [(0.6, 0.9, True), (0.6, 0.7, False), (0.9, 0.5, False)],
)
def test_a_test_accuracy_far_above_the_validation_s_is_flagged(
  validation, test, flagged
):
  summary, _ = summarise([outcome(validation), outcome(0.5)], test)
  assert [trial.suspicious for trial in summary.trials] == [flagged, False]
  assert any('far above' in text for text in summary.warnings) == flagged


def test_a_record_of_other_settings_is_neither_used_nor_replaced(tmp_path):
  file = record.path(tmp_path, checkpoint='c', task='data/my flowers')
  assert file.parent.name == 'data_my_flowers'
  assert record.read(file, key='k') is None
  summary, _ = summarise([outcome(0.8)], key='k')
  storage.write_sealed(file, summary)
  assert record.read(file, key='k') == summary
  with pytest.raises(record.RecordError, match='other settings'):
    record.read(file, key='l')
  file.write_text('{"key"')
  with pytest.raises(storage.DamagedFileError, match='no Accuracy record'):
    record.read(file, key='k')


def test_the_table_has_every_record(tmp_path):
  for task, name in (('b', 'y'), ('a', 'x')):
    summary, _ = summarise([outcome(0.8)], checkpoint=name, task=task)
    storage.write_json(
      record.path(tmp_path, checkpoint=name, task=task), summary
    )
  rows = list(csv.DictReader(record.to_csv(tmp_path).splitlines()))
  assert [(row['task'], row['checkpoint']) for row in rows] == [
    ('a', 'x'),
    ('b', 'y'),
  ]
  assert {row['accuracy'] for row in rows} == {'0.7'}
  assert {row['accuracy_std'] for row in rows} == {''}
