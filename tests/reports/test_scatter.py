# SPDX-License-Identifier: Apache-2.0
import itertools

import numpy as np
import pytest

from neucrab_jax.benchmark import record
from neucrab_jax.reports import points, scatter


def make_points(scores, accuracies):
  return [
    record.Point(f'c{i}', accuracy, 'file', {'m': score})
    for i, (score, accuracy) in enumerate(zip(scores, accuracies, strict=True))
  ]


def test_places_keep_the_order_of_scores_and_accuracies():
  rng = np.random.default_rng(0)
  scores, accuracies = rng.standard_normal(9), rng.random(9)
  found = make_points(map(float, scores), map(float, accuracies))
  picture = scatter.draw(found, 'm', tau=0.5)
  x, y, *_ = (np.array(column) for column in zip(*picture.points, strict=True))
  np.testing.assert_array_equal(np.argsort(x), np.argsort(scores))
  np.testing.assert_array_equal(np.argsort(-y), np.argsort(accuracies))
  frame = picture.frame
  assert np.all((x > frame.left) & (x < frame.width - frame.right))
  assert np.all((y > frame.top) & (y < frame.height - frame.bottom))
  assert picture.title == 'τ = 0.50'
  for tick in picture.across:
    share = (tick.place - x[0]) / (x[1] - x[0])
    expected = scores[0] + share * (scores[1] - scores[0])
    assert float(tick.text) == pytest.approx(expected, abs=1e-3)


def test_the_worst_misplaced_are_named_and_no_label_is_over_another():
  scores = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
  picture = scatter.draw(make_points(scores, [0.9] * 3 + [0.5] * 3), 'm', tau=0)
  styles = {point.text.split(':')[0]: point.style for point in picture.points}
  assert [name for name, style in styles.items() if style == 'wrong'] == [
    'c0',
    'c1',
    'c2',
    'c5',
  ]
  assert {label.text for label in picture.labels} >= {'c0 6→1', 'c1 5→1'}
  for one, other in itertools.combinations(picture.labels, 2):
    apart = abs(one.y - other.y) >= points.LINE
    assert apart or abs(one.x - other.x) > points.LETTER * len('c0 6→1')
  assert min(label.y for label in picture.labels) >= picture.frame.top


@pytest.mark.parametrize(
  ('scores', 'num'),
  [
    ((None, 1.0, 2.0), 2),
    ((1.0, 1.0, 1.0), 3),
    ((0.0, 0.0, 5e-324), 3),
    ((None, None, None), None),
    ((1.7e308, -1.7e308, 0.0), None),
  ],
)
def test_what_has_no_scale_has_no_picture(scores, num):
  picture = scatter.draw(make_points(scores, (0.5, 0.5, 0.5)), 'm', tau=None)
  assert (picture and len(picture.points)) == num
