# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from msgspec import structs

from neucrab_jax import environment
from neucrab_jax.ranking import confidence, record
from neucrab_jax.reports import comparison


def as_rankings(**orders):
  """Rankings of checkpoints in the given orders."""
  return [
    record.Ranking(
      schema=record.SCHEMA,
      task=record.Task('t', 'train', 10, 2, ''),
      measure=record.Measure(name, '', '', {}, 0),
      ranking=tuple(
        record.Entry(
          rank=place,
          checkpoint=checkpoint,
          score=-float(place),
          score_std=None,
          score_stderr=None,
          feature_dim=2,
          seconds={},
          cached=False,
          fingerprint='',
          warnings=(),
        )
        for place, checkpoint in enumerate(order, start=1)
      ),
      order=None,
      skipped=(),
      failed=(),
      environment=environment.current(seed=0),
    )
    for name, order in orders.items()
  ]


def test_ranks_are_side_by_side_by_their_mean():
  names, ranks = comparison.ranks(as_rankings(one='abc', other='ac', none=''))
  assert names == ['a', 'b', 'c']
  assert ranks == [[1, 1, None], [2, None, None], [3, 2, None]]


def test_agreement_is_kendalls_tau_of_what_both_scored():
  taus = comparison.agreement(
    as_rankings(one='abcd', turned='dcba', near='bacd', few='a')
  )
  np.testing.assert_allclose(
    taus[:3, :3], [[1, -1, 2 / 3], [-1, 1, -2 / 3], [2 / 3, -2 / 3, 1]]
  )
  assert np.isnan(taus[3]).all()


def with_best(best, names='ABCDEFGH'):
  (ranking,) = as_rankings(one=names[: len(best)])
  order = confidence.Order(tuple(names[: len(best)]), ((0.5,),), tuple(best))
  return structs.replace(ranking, order=order)


@pytest.mark.parametrize(
  ('best', 'sentence'),
  [
    ((0.95, 0.05), 'A is best with 95 %.'),
    ((0.999, 0.001), 'A is best with >99 %; B can be left out.'),
    ((0.5, 0.43, 0.07, 0.0), 'A or B is best with 93 %; D can be left out.'),
    (
      (0.9, 0.1, 0.0, 0.0, 0.0, 0.0, 0.0),
      'A is best with 90 %; 5 of 7 can be left out.',
    ),
    (
      (0.2,) * 5,
      'Which is best is open: it is one of 5 with >99 %.',
    ),
  ],
)
def test_the_order_is_put_in_a_sentence(best, sentence):
  assert comparison.advice(with_best(best)) == sentence


def test_without_an_order_nothing_is_advised():
  (ranking,) = as_rankings(one='AB')
  assert comparison.advice(ranking) == ''
