# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from neucrab_jax.reports import agreement

ROWS = [
  {'name': 'fast', 'cost': 0.01, 'tau': -0.1, 'low': -0.5, 'high': 0.3},
  {'name': 'slow', 'cost': 1.0, 'tau': 0.6, 'low': 0.4, 'high': 0.7},
  {'name': 'free', 'cost': 0.0, 'tau': 0.2, 'low': None, 'high': None},
]


@pytest.mark.parametrize('fine_tuning', [None, 100.0])
def test_cost_goes_by_powers_of_ten_and_fine_tuning_is_the_far_end(fine_tuning):
  picture = agreement.against_cost(
    ROWS, unit='seconds', fine_tuning=fine_tuning
  )
  fast, slow, free = picture.points
  # What is too fast to be timed is where the fastest is.
  assert fast.x == free.x < slow.x < picture.frame.width
  assert slow.y < free.y < fast.y
  assert [(bar.high < bar.low) for bar in picture.bars] == [True, True]
  assert slow.y - picture.bars[1].high == pytest.approx(
    (picture.bars[0].low - picture.bars[0].high) / 8
  )
  assert slow.text == 'slow: 0.60, 1 seconds'
  if fine_tuning:
    (mark,) = picture.marks
    assert mark.x - slow.x == pytest.approx(slow.x - fast.x)
  else:
    assert not picture.marks


def test_one_agreement_alone_has_a_picture():
  picture = agreement.against_cost(ROWS[:1], unit='FLOPs', fine_tuning=None)
  assert np.isfinite([picture.points[0].x, picture.points[0].y]).all()
  assert picture.across
  assert picture.up


def test_shades_go_from_red_over_white_to_blue():
  assert agreement.shade(None) == 'none'
  assert agreement.shade(0.0) == 'rgb(247 247 247)'
  assert agreement.shade(-1.0) == 'rgb(178 24 43)'
  assert agreement.shade(1.0) == 'rgb(33 102 172)'
  assert agreement.ink(1.0) == '#fff'
  assert agreement.ink(0.0) == agreement.ink(None) == '#1c2430'
