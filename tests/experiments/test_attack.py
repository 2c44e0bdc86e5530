# SPDX-License-Identifier: Apache-2.0
"""A small attack: odd inputs and kills, none of which finds a fault."""

import pytest

from experiments.attack import __main__ as attack
from experiments.attack import cases


@pytest.mark.slow
def test_odd_inputs_and_kills_find_nothing():
  table = attack.attack(0, inputs=15, num_kills=1, killed=['rank'])
  assert not table.faults, table.faults
  counts = [sum(counts.values()) for counts in table.counts.values()]
  assert sum(counts) == 16


def _raise(error):
  raise error


@pytest.mark.parametrize(
  ('act', 'right', 'kind'),
  [
    (lambda: 1.0, 1.0, 'right'),
    (lambda: {'a': 1.0}, {'a': 1.0001}, 'right'),
    (lambda: 1.1, 1.0, 'wrong'),
    (lambda: {'a': 1.0}, {'a': 1.0, 'b': 1.0}, 'wrong'),
    (lambda: 1.0, cases.REFUSAL, 'wrong'),
    (lambda: 1.0, cases.ANYTHING, 'right'),
    (lambda: _raise(ValueError('x must be 1')), cases.REFUSAL, 'refused'),
    (lambda: _raise(ValueError('')), cases.REFUSAL, 'traceback'),
    (lambda: _raise(ValueError('a\nb')), cases.REFUSAL, 'traceback'),
    (lambda: _raise(TypeError('x')), cases.REFUSAL, 'traceback'),
  ],
)
def test_what_comes_out_is_judged(act, right, kind):
  assert cases.run(cases.Case('', act, right)).kind == kind


def test_a_refusal_of_what_is_sound_is_wrong():
  case = cases.Case('', lambda: float('x'), 1.0, may_refuse=False)
  assert cases.run(case).kind == 'wrong'
