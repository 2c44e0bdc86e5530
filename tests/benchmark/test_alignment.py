# SPDX-License-Identifier: Apache-2.0
"""Scores and accuracies from disk, and what is said of those that don't fit."""

import numpy as np
import pytest

from neucrab_jax import checkpoints, input_files, storage
from neucrab_jax.benchmark import alignment, fixed_order
from neucrab_jax.finetuning import known_accuracies
from neucrab_jax.ranking import predictions, score_record
from tests.benchmark import record_files

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


def read_scores(rankings):
  return predictions.read(input_files.find(rankings, setting='rankings'))


def align(rankings, accuracies):
  return alignment.align(
    'group',
    predicted=read_scores(rankings),
    accuracies=known_accuracies.read_all(accuracies),
  )


def test_tables_are_joined_by_name_not_by_row(write):
  reversed_rows = SCORES.splitlines()[:1] + SCORES.splitlines()[:0:-1]
  (aligned,) = align(
    write('s', '\n'.join(reversed_rows)), write('a', ACCURACIES)
  )
  assert aligned.checkpoints == ('a', 'b', 'c', 'd')
  np.testing.assert_array_equal(aligned.scores, [[[1, 2, 3, 4]]])
  np.testing.assert_array_equal(aligned.accuracies, [[0.1, 0.2, 0.3, 0.4]])


def test_one_file_serves_as_both_with_several_accuracies(write):
  text = (
    'checkpoint,task,accuracy_linear,accuracy_finetuned,accuracy_std,m,n\n'
    'a,t,.1,.3,9,1,1\nb,t,.2,.2,9,,2\nc,t,.3,.1,9,3,3\n'
    'd,t,.4,.5,9,nan,4\ne,t,.4,.5,9,2,5\n'
  )
  file = write('s', text, 'any.csv')
  linear, finetuned = align(file, file)
  assert (linear.accuracy, finetuned.accuracy) == ('linear', 'finetuned')
  m, _, other = linear.predictors
  assert (m.name, m.role) == ('m', 'measure')
  assert (other.name, other.role) == ('accuracy: finetuned', 'ceiling')
  np.testing.assert_array_equal(linear.scores[0], [[1, np.nan, 3, np.nan, 2]])
  assert set(m.left_out['t']) == {'b', 'd'}


def test_accuracies_from_few_and_many_examples_are_two(write):
  text = 'checkpoint,train_examples,accuracy\n' + ''.join(
    f'{c},{n},.{i}\n' for n in (1000, 'full') for i, c in enumerate('abc', 1)
  )
  found = known_accuracies.read_all(write('a', text))
  assert set(found) == {'1000 training examples', 'full'}


def test_a_checkpoint_in_one_table_only_is_left_out_and_told(write):
  (aligned,) = align(
    write('s', SCORES + 'only_score,5\n'),
    write('a', ACCURACIES + 'only_accuracy,.5\n'),
  )
  assert aligned.checkpoints == ('a', 'b', 'c', 'd')
  told = ' '.join(aligned.notes)
  assert '1 of 5 checkpoints have an accuracy, but no score' in told
  assert 'only_accuracy' in told
  assert '1 of 5 checkpoints have a score, but no accuracy' in told
  assert 'only_score' in told


def test_constant_scores_are_told(write):
  text = 'checkpoint,m,flat\na,1,7\nb,2,7\nc,3,7\n'
  (aligned,) = align(write('s', text), write('a', ACCURACIES))
  assert any('All 3 scores of flat on t are equal' in n for n in aligned.notes)


def test_a_measure_of_too_few_fails_alone(write):
  text = 'checkpoint,m,few\na,1,1\nb,2,2\nc,3,\n'
  (aligned,) = align(write('s', text), write('a', ACCURACIES))
  assert [p.name for p in aligned.predictors] == ['m']
  assert any('few is left out: only 2' in note for note in aligned.notes)


BAD = {
  'two checkpoints': (
    ('checkpoint,m\na,1\nb,2\n', ACCURACIES),
    '2 checkpoints have both',
  ),
  'no common name': (
    (SCORES.replace('\n', '\nx').removesuffix('x'), ACCURACIES),
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
    align(write('s', scores), write('a', accuracies))


def test_another_task_is_refused(write):
  with pytest.raises(ValueError, match=r"flowers.*Did you mean 'flowrs'"):
    align(
      write('s', SCORES, 'flowers.csv'), write('a', ACCURACIES, 'flowrs.csv')
    )


def test_no_file_and_no_json_are_refused(write):
  with pytest.raises(ValueError, match='No file matches'):
    input_files.find('/no/such/*.json', setting='rankings')
  with pytest.raises(ValueError, match='is no Ranking record: Input data was'):
    align(write('s', '{', 'ranking.json'), write('a', ACCURACIES))
  with pytest.raises(ValueError, match='missing required field `schema`'):
    align(write('s', '{}', 'ranking.json'), write('a', ACCURACIES))


SCORED = {'a': 1.0, 'b': 2.0, 'c': 3.0, 'd': 4.0}


def test_a_ranking_brings_its_seconds_resamples_and_failures(write, tmp_path):
  seconds = {'extract': 2.0, 'score': 0.5}
  fresh = record_files.make_ranking(
    SCORED, seconds=seconds, failed={'e': 'no head'}
  )
  folder = tmp_path / 'r'
  file = record_files.write(folder, fresh)
  for name, score, resamples in (
    ('a', 1.0, (0.9, 1.1)),
    ('b', 7.0, (7.0,)),  # Of another score than the ranking's.
  ):
    storage.write_sealed(
      score_record.path(folder, name),
      record_files.make_score(score, resamples),
    )
  (aligned,) = align(file, write('a', ACCURACIES + 'e,.5\n'))
  (predictor,) = aligned.predictors
  assert predictor.left_out == {'t': {'e': 'no head'}}
  assert predictor.resamples[0, 0] == (0.9, 1.1)
  assert predictor.resamples[0, 1] == ()
  (scores,) = read_scores(file)
  assert scores.scores['a'].seconds == seconds
  cached = record_files.make_ranking(SCORED, seconds=seconds, cached=True)
  (scores,) = read_scores(record_files.write(tmp_path / 'c', cached))
  assert scores.scores['a'].seconds == {'score': 0.5}


def test_rankings_by_one_measure_are_told_apart_by_their_options(tmp_path):
  def write_variant(variant, folder):
    options = {'variant': variant, 'k': 1}
    ranking = record_files.make_ranking(SCORED, options=options)
    return record_files.write(tmp_path / folder, ranking)

  files = [write_variant(variant, variant) for variant in ('paper', 'sfda')]
  assert {scores.measure for scores in read_scores(files)} == {
    'nleep variant=paper',
    'nleep variant=sfda',
  }
  same = write_variant('sfda', 'again')
  with pytest.raises(ValueError, match='two rankings by nleep'):
    read_scores([*files, same])


def test_a_folder_of_records_has_seeds_errors_and_cost(write, tmp_path):
  folder = tmp_path / 'accuracies'
  for place, name in enumerate('abc', 1):
    mean = place / 10
    found = record_files.make_accuracy(
      name, mean, tested=(mean - 0.01, None, mean + 0.01), chosen=(0, 2)
    )
    record_files.write(folder, found)
  found = known_accuracies.read_all(str(folder))
  accuracy = found['full fine-tuning']['t']['a']
  assert accuracy.by_seed == pytest.approx((0.09, 0.11))
  assert accuracy.standard_error == 0.01
  assert (accuracy.seconds, accuracy.examples_seen) == (3.0, 64 * 30)
  write('.', '{}', 'config.json')  # As a run leaves it beside them.
  assert known_accuracies.read_all(str(tmp_path)) == found
  named = known_accuracies.read_all({'few': str(folder / 't')})
  assert set(named) == {'few'}


def test_a_check_needs_no_scores(write):
  accuracies = known_accuracies.read_all(write('a', ACCURACIES))
  alignment.check('g', tasks=['t'], names='abcx', accuracies=accuracies)
  with pytest.raises(ValueError, match='2 checkpoints have both'):
    alignment.check('g', tasks=['t'], names='abx', accuracies=accuracies)
  with pytest.raises(ValueError, match='the rankings are for u'):
    alignment.check('g', tasks=['u'], names='abc', accuracies=accuracies)


def test_an_order_is_a_group_or_names_and_may_be_turned(write):
  names = checkpoints.names('mini_1')
  rising, falling = (
    [score.value for score in fixed_order.read(order).values()]
    for order in ('mini_1', '-mini_1')
  )
  assert tuple(fixed_order.read('mini_1')) == names
  assert rising == sorted(rising)
  assert falling == sorted(falling, reverse=True)
  with pytest.raises(ValueError, match="'a' is in the fixed order 2 times"):
    fixed_order.read('a,b,a')
  (aligned,) = alignment.align(
    'group',
    predicted=(),
    accuracies=known_accuracies.read_all(write('a', ACCURACIES)),
    order='a,b,c',
  )
  assert aligned.predictors[0].name == 'fixed order'
  assert aligned.checkpoints == ('a', 'b', 'c')


def test_nothing_to_judge_is_refused(write):
  with pytest.raises(ValueError, match='nothing to judge'):
    alignment.align(
      'g',
      predicted=(),
      accuracies=known_accuracies.read_all(write('a', ACCURACIES)),
    )
