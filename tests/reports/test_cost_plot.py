# SPDX-License-Identifier: Apache-2.0
import re

import numpy as np
import pytest
from msgspec import structs

from neucrab_jax.ranking import run
from neucrab_jax.reports import cost_plot, ranking_page
from tests.ranking import ranked


@pytest.fixture(scope='module')
def ranking(tmp_path_factory):
  folder = ranked.make_files(tmp_path_factory.mktemp('a') / 'files')
  config = ranked.files_config(folder, 'h_score')
  return run.rank(config, str(tmp_path_factory.mktemp('b')))['h_score']


def change(ranking, scores, seconds):
  entries = tuple(
    structs.replace(entry, score=score, seconds={'extract': taken})
    for entry, score, taken in zip(
      ranking.ranking, scores, seconds, strict=True
    )
  )
  return structs.replace(ranking, ranking=entries)


@pytest.mark.parametrize('scores', [(3.0, 2.0, 1.0), (-1e-9, -2e-9, -5e-9)])
@pytest.mark.parametrize('seconds', [(1.0, 10.0, 100.0), (0.0, 0.0, 0.0)])
def test_points_are_in_the_picture_better_ones_above(ranking, scores, seconds):
  plot = cost_plot.draw(change(ranking, scores, seconds))
  x, y, *_ = (np.array(column) for column in zip(*plot.points, strict=True))
  assert np.all(np.diff(y) > 0)
  assert np.all(np.diff(x) >= 0)
  # By powers of ten, so that the one between is in the middle.
  assert x[1] == pytest.approx((x[0] + x[2]) / 2)
  assert np.all((x > 0) & (x < cost_plot.FRAME.width))
  assert np.all((y > 0) & (y < cost_plot.FRAME.height))
  assert 2 <= len(plot.up) <= 7
  for tick in plot.up:
    share = (tick.place - y[0]) / (y[2] - y[0])
    expected = scores[0] + share * (scores[2] - scores[0])
    assert float(tick.text) == pytest.approx(expected, rel=1e-3, abs=1e-12)


@pytest.mark.parametrize('scores', [(1.0, 1.0, 1.0), (1e308, 0.0, -1e308)])
def test_where_there_is_no_scale_there_is_no_picture(ranking, scores):
  assert cost_plot.draw(change(ranking, scores, (1.0, 2.0, 3.0))) is None


def test_the_page_sorts_and_names_its_points_by_itself(ranking):
  page = ranking_page.render([ranking], config={})
  assert 'class="sortable"' in page
  assert re.findall(r'<title>(\w+): ', page) == ['c', 'b', 'a']
  assert page.count('<script>') == 1
  assert not re.search(r'(src|href)=|https?://(?!www.w3.org)', page)
