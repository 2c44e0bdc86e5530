# SPDX-License-Identifier: Apache-2.0
"""Scores and accuracies from disk, and what is said of those that don't fit."""

import json

import numpy as np
import pytest

from neucrab_jax import checkpoints
from neucrab_jax.benchmark import evidence, joining, predictions, truth

SCORES = 'checkpoint,m\na,1\nb,2\nc,3\nd,4\n'
ACCURACIES = 'checkpoint,accuracy\na,.1\nb,.2\nc,.3\nd,.4\n'


@pytest.fixture
def write(tmp_path):
  """Writes a file of the task t into a folder of its own."""

  def write(kind, text, name='t.csv'):
    file = tmp_path / kind / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return str(file)

  return write


def join(rankings, accuracies, **options):
  files = evidence.find(rankings, setting='rankings')
  return joining.join(
    'group',
    scores=predictions.read(files),
    truths=truth.read(accuracies),
    **options,
  )


def make_ranking(name='nleep', task='t', options=(), scores=None, **entry):
  scores = scores or {'a': 1.0, 'b': 2.0, 'c': 3.0, 'd': 4.0}
  return {
    'task': {'name': task, 'num_examples': 50},
    'measure': {'name': name, 'options': dict(options)},
    'ranking': [
      {'checkpoint': c, 'score': s, **entry} for c, s in scores.items()
    ],
    'failed': [{'checkpoint': 'e', 'error': 'no head'}],
  }


def test_tables_are_joined_by_name_not_by_row(write):
  reversed_rows = SCORES.splitlines()[:1] + SCORES.splitlines()[:0:-1]
  (duel,) = join(write('s', '\n'.join(reversed_rows)), write('a', ACCURACIES))
  assert duel.checkpoints == ('a', 'b', 'c', 'd')
  np.testing.assert_array_equal(duel.contestants[0].scores, [[1, 2, 3, 4]])
  np.testing.assert_array_equal(duel.matrix(), [[0.1, 0.2, 0.3, 0.4]])


def test_one_file_serves_as_both_with_several_truths(write):
  text = (
    'checkpoint,task,accuracy_linear,accuracy_finetuned,accuracy_std,m,n\n'
    'a,t,.1,.3,9,1,1\nb,t,.2,.2,9,,2\nc,t,.3,.1,9,3,3\n'
    'd,t,.4,.5,9,nan,4\ne,t,.4,.5,9,2,5\n'
  )
  file = write('s', text, 'any.csv')
  linear, finetuned = join(file, file)
  assert (linear.truth, finetuned.truth) == ('linear', 'finetuned')
  m, _, other = linear.contestants
  assert (m.name, m.role) == ('m', 'measure')
  assert (other.name, other.role) == ('truth: finetuned', 'ceiling')
  np.testing.assert_array_equal(m.scores, [[1, np.nan, 3, np.nan, 2]])
  assert set(m.left_out['t']) == {'b', 'd'}


def test_truths_from_few_and_many_examples_are_two(write):
  text = 'checkpoint,train_examples,accuracy\n' + ''.join(
    f'{c},{n},.{i}\n' for n in (1000, 'full') for i, c in enumerate('abc', 1)
  )
  found = truth.read(write('a', text))
  assert set(found) == {'1000 training examples', 'full'}


def test_a_checkpoint_in_one_table_only_is_left_out_and_told(write):
  (duel,) = join(
    write('s', SCORES + 'only_score,5\n'),
    write('a', ACCURACIES + 'only_truth,.5\n'),
  )
  assert duel.checkpoints == ('a', 'b', 'c', 'd')
  told = ' '.join(duel.notes)
  assert '1 of 5 checkpoints have an accuracy, but no score' in told
  assert 'only_truth' in told
  assert '1 of 5 checkpoints have a score, but no accuracy' in told
  assert 'only_score' in told


def test_constant_scores_are_told(write):
  text = 'checkpoint,m,flat\na,1,7\nb,2,7\nc,3,7\n'
  (duel,) = join(write('s', text), write('a', ACCURACIES))
  assert any('All 3 scores of flat on t are equal' in n for n in duel.notes)


def test_a_measure_of_too_few_fails_alone(write):
  text = 'checkpoint,m,few\na,1,1\nb,2,2\nc,3,\n'
  (duel,) = join(write('s', text), write('a', ACCURACIES))
  assert [entrant.name for entrant in duel.contestants] == ['m']
  assert any('few is left out: only 2' in note for note in duel.notes)


BAD = {
  'two checkpoints': (
    ('checkpoint,m\na,1\nb,2\n', ACCURACIES),
    '2 checkpoints have both',
  ),
  'no common name': (
    (SCORES.replace('\n', '\nx'), ACCURACIES),
    '0 checkpoints have both',
  ),
  'percent': (
    (SCORES, ACCURACIES.replace('.1', '87.5')),
    "'a' is 87.5, not from 0 to 1. In percent",
  ),
  'negative': ((SCORES, ACCURACIES.replace('.1', '-1')), "'a' is -1"),
  'score twice': ((SCORES + 'b,2\n', ACCURACIES), "line 6: 'b' has a row"),
  'accuracy twice': (
    (SCORES, ACCURACIES + 'b,.2\n'),
    "line 6: 'b' has an accuracy for t already",
  ),
  'no number': ((SCORES + 'x,high\n', ACCURACIES), "m is 'high'"),
  'infinite': ((SCORES + 'x,inf\n', ACCURACIES), 'm is infinite'),
  'no checkpoint': (('name,m\na,1\n', ACCURACIES), "no column 'checkpoint'"),
  'no measure': (('checkpoint\na\n', ACCURACIES), 'no column of scores'),
  'no accuracy': ((SCORES, SCORES), "no column 'accuracy'"),
  'ragged': ((SCORES + 'x,1,2\n', ACCURACIES), 'more cells than'),
}


@pytest.mark.parametrize('bad', BAD)
def test_bad_tables_are_refused_by_name_value_and_remedy(bad, write):
  (scores, accuracies), message = BAD[bad]
  with pytest.raises(ValueError, match=message):
    join(write('s', scores), write('a', accuracies))


def test_another_task_is_refused(write):
  with pytest.raises(ValueError, match=r"flowers.*Did you mean 'flowrs'"):
    join(
      write('s', SCORES, 'flowers.csv'), write('a', ACCURACIES, 'flowrs.csv')
    )


def test_no_file_and_no_json_are_refused(write):
  with pytest.raises(ValueError, match='No file matches'):
    evidence.find('/no/such/*.json', setting='rankings')
  with pytest.raises(ValueError, match='is no JSON'):
    join(write('s', '{', 'ranking.json'), write('a', ACCURACIES))
  with pytest.raises(ValueError, match="has no 'task'"):
    join(write('s', '{}', 'ranking.json'), write('a', ACCURACIES))


def test_a_ranking_brings_its_seconds_resamples_and_failures(write):
  seconds = {'extract': 2.0, 'score': 0.5}
  fresh = make_ranking(seconds=seconds, cached=False)
  file = write('r', json.dumps(fresh), 'ranking.json')
  write('r', json.dumps({'score': 1.0, 'resamples': [0.9, 1.1]}),
        'scores/a.json')  # fmt: skip
  write('r', json.dumps({'score': 7.0, 'resamples': [7.0]}), 'scores/b.json')
  accuracies = write('a', ACCURACIES + 'e,.5\n')
  (duel,) = join(file, accuracies)
  (entrant,) = duel.contestants
  assert entrant.left_out == {'t': {'e': 'no head'}}
  assert entrant.resamples[0, 0] == (0.9, 1.1)
  assert entrant.resamples[0, 1] == ()  # Of another score.
  (scores,) = predictions.read(evidence.find(file, setting='rankings'))
  assert scores.scores['a'].seconds == seconds
  cached = make_ranking(seconds=seconds, cached=True)
  file = write('c', json.dumps(cached), 'ranking.json')
  (scores,) = predictions.read(evidence.find(file, setting='rankings'))
  assert scores.scores['a'].seconds == {'score': 0.5}


def test_rankings_by_one_measure_are_told_apart_by_their_options(write):
  files = [
    write(v, json.dumps(make_ranking(options={'variant': v, 'k': 1})), 'r.json')
    for v in ('paper', 'sfda')
  ]
  found = predictions.read(evidence.find(files, setting='rankings'))
  assert {scores.measure for scores in found} == {
    'nleep variant=paper',
    'nleep variant=sfda',
  }
  again = make_ranking(options={'variant': 'sfda', 'k': 1})
  same = write('x', json.dumps(again), 'r.json')
  with pytest.raises(ValueError, match='two rankings by nleep'):
    predictions.read(evidence.find([*files, same], setting='rankings'))


def test_a_folder_of_records_has_seeds_errors_and_cost(write, tmp_path):
  for place, name in enumerate('abc', 1):
    record = {
      'checkpoint': name,
      'task': {'name': 't'},
      'accuracy': place / 10,
      'standard_error': 0.01,
      'seconds': 3.0,
      'protocol': {'mode': 'full', 'batch_size': 64},
      'chosen': [0, 2],
      'trials': [
        {'steps': 10, 'test_accuracy': place / 10 - 0.01},
        {'steps': 10, 'test_accuracy': None},
        {'steps': 20, 'test_accuracy': place / 10 + 0.01},
      ],
    }
    write('accuracies', json.dumps(record), f't/{name}.json')
  found = truth.read(str(tmp_path / 'accuracies'))
  accuracy = found['full fine-tuning']['t']['a']
  assert accuracy.by_seed == pytest.approx((0.09, 0.11))
  assert accuracy.standard_error == 0.01
  assert (accuracy.seconds, accuracy.examples_seen) == (3.0, 64 * 40)
  write('.', '{}', 'config.json')  # As a run leaves it beside them.
  assert truth.read(str(tmp_path)) == found
  named = truth.read({'few': str(tmp_path / 'accuracies' / 't')})
  assert set(named) == {'few'}


def test_an_order_is_a_group_or_names_and_may_be_turned(write):
  names = checkpoints.names('mini_1')
  rising, falling = (
    [score.value for score in joining.fixed_order(order).values()]
    for order in ('mini_1', '-mini_1')
  )
  assert tuple(joining.fixed_order('mini_1')) == names
  assert rising == sorted(rising)
  assert falling == sorted(falling, reverse=True)
  with pytest.raises(ValueError, match="'a' is in the fixed order 2 times"):
    joining.fixed_order('a,b,a')
  truths = truth.read(write('a', ACCURACIES))
  (duel,) = joining.join('group', scores=(), truths=truths, order='a,b,c')
  assert duel.contestants[0].name == 'fixed order'
  assert duel.checkpoints == ('a', 'b', 'c')


def test_nothing_to_judge_is_refused(write):
  with pytest.raises(ValueError, match='nothing to judge'):
    joining.join('g', scores=(), truths=truth.read(write('a', ACCURACIES)))
