# SPDX-License-Identifier: Apache-2.0
import pytest

from neucrab_jax.benchmark import exclusion
from neucrab_jax.finetuning.known_accuracies import KnownAccuracy

RULE = exclusion.Rule(
  random=('*random*',), same_name=True, chance={'t': 0.1, 'hard': 0.7}
)


def make(**tasks):
  return {
    'accuracy': {
      task: {name: KnownAccuracy(value, 'a.csv') for name, value in row.items()}
      for task, row in tasks.items()
    }
  }


def names(found, task='t'):
  return set(found['accuracy'][task])


def test_random_networks_are_left_out_and_told():
  given = make(t={'a': 0.5, 'x/tiny-random-vit': 0.9}, u={'lib/random': 0.1})
  found, (note,) = exclusion.apply(given, RULE)
  assert names(found) == {'a'}
  assert names(found, 'u') == set()
  assert '2 networks with random weights: lib/random, x/tiny-random' in note


@pytest.mark.parametrize(('value', 'stays'), [(0.11, False), (0.111, True)])
def test_a_run_at_chance_has_diverged_on_that_task_alone(value, stays):
  row = {'a': 0.5, 'b': 0.6, 'c': value}
  found, notes = exclusion.apply(make(t=row, u=row), RULE)
  assert ('c' in names(found)) == stays
  assert 'c' in names(found, 'u')
  assert ('diverged' in ' '.join(notes)) != stays


def test_a_task_that_nobody_learnt_is_kept_and_told():
  row = {'a': 0.70, 'b': 0.69, 'c': 0.75}
  found, (note,) = exclusion.apply(make(hard=row), RULE)
  assert names(found, 'hard') == set(row)
  assert note.startswith('2 of 3 accuracies on hard')


def test_of_one_name_whoever_has_most_accuracies_stays():
  row = {'me/vit': 0.5, 'big/vit': 0.6, 'other': 0.4}
  found, (note,) = exclusion.apply(make(t=row, u={'me/vit': 0.5}), RULE)
  assert names(found) == {'me/vit', 'other'}
  assert 'big/vit' in note


def test_no_rule_leaves_nothing_out():
  given = make(t={'x/random': 0.0, 'y/random': 0.1})
  assert exclusion.apply(given, exclusion.read({})) == (given, [])


@pytest.mark.parametrize(
  ('settings', 'message'),
  [
    ({'randm': ''}, 'Unknown setting of leave_out: randm. Known: random'),
    ({'chance': {'t': 12}}, r'leave_out.chance.t must be from 0 to 1, not 12'),
  ],
)
def test_a_rule_that_is_none_is_refused(settings, message):
  with pytest.raises(ValueError, match=message):
    exclusion.read(settings)
