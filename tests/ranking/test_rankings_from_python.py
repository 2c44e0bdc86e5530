# SPDX-License-Identifier: Apache-2.0
"""Rankings from Python."""

import jax.numpy as jnp
import numpy as np
import pytest

import neucrab_jax
from neucrab_jax import measures
from neucrab_jax.ranking import record

LABELS = np.arange(2)


def colours(images):
  return jnp.concatenate([images.mean((1, 2)), images[:, 2::5, 3].mean(1)], -1)


@pytest.fixture
def arrays():
  labels = np.arange(60) % 3
  noise = np.random.default_rng(0).normal(size=(60, 4))
  return {'noise': noise, 'good': noise + labels[:, None]}, labels


def test_features_are_ranked_by_what_the_measure_says(arrays):
  x, labels = arrays
  ranking = neucrab_jax.rank_features(x, labels, 'knn', k=3)
  assert ranking.best == 'good'
  assert ranking.measure.options['k'] == 3
  for entry in ranking.ranking:
    assert entry.score == measures.score(
      'knn', features=x[entry.checkpoint], labels=labels, k=3
    )


def test_the_record_is_that_of_a_command(arrays, tmp_path):
  ranking = neucrab_jax.rank_features(*arrays, 'ridge_loo')
  assert isinstance(ranking, neucrab_jax.Ranking)
  ranking.save(str(tmp_path / 'saved'))
  again, _ = record.read(tmp_path / 'saved' / 'ranking.json')
  assert again == ranking
  names = {file.name for file in (tmp_path / 'saved').iterdir()}
  assert names == {'ranking.json', 'ranking.csv', 'report.html'}


def test_it_shows_itself_as_a_table(arrays):
  x, labels = arrays
  ranking = neucrab_jax.rank_features(
    {**x, '<b>': x['noise'][:5]}, labels, 'lfc'
  )
  table = ranking.to_pandas()
  assert table.checkpoint.tolist() == ['good', 'noise']
  assert table.score.tolist() == [entry.score for entry in ranking.ranking]
  page = ranking._repr_html_()
  assert 'good' in page
  assert 'failed <b>&lt;b&gt;</b>: ValueError: There are 5 rows' in page


def test_where_none_could_be_scored_there_is_no_best(arrays):
  x, labels = arrays
  ranking = neucrab_jax.rank_features({'a': x['good'][:5]}, labels, 'lfc')
  with pytest.raises(ValueError, match='could be scored; a: ValueError: There'):
    _ = ranking.best
  assert 'failed' in ranking._repr_html_()


def test_names_files_and_functions_are_checkpoints(tmp_path):
  ranking = neucrab_jax.rank_checkpoints(
    ['mini_random', colours, colours],
    'digits',
    'knn',
    num_examples=60,
    image_size=16,
    cache_dir=str(tmp_path),
  )
  assert not ranking.failed
  names = {entry.checkpoint for entry in ranking.ranking}
  assert names == {'mini_random', 'colours', 'colours-3'}
  assert ranking.task.num_examples == 60


@pytest.mark.parametrize(
  ('call', 'message'),
  [
    (lambda: neucrab_jax.rank_features({}, LABELS), 'no features'),
    (
      lambda: neucrab_jax.rank_features({'a': LABELS}, LABELS, 'nlep'),
      "'nleep'",
    ),
    (
      lambda: neucrab_jax.rank_features({'a': LABELS}, LABELS, 'knn', x=1),
      "option.*'x'",
    ),
    (lambda: neucrab_jax.rank_checkpoints([3]), 'and not 3'),
    (lambda: neucrab_jax.rank_checkpoints('mini_vea'), "'mini_vae'"),
    (lambda: neucrab_jax.rank_checkpoints('mini_vae', 'digts'), "'digits'"),
  ],
)
def test_bad_input_is_a_clear_error(call, message):
  with pytest.raises(ValueError, match=message):
    call()
