# SPDX-License-Identifier: Apache-2.0
"""What a user may write for checkpoints, and what they are then called."""

import pathlib

import pytest

from configs import finetune as finetune_config
from configs import measure as measure_config
from neucrab_jax import checkpoints
from neucrab_jax.finetuning import run as finetuning
from tests.checkpoints import small_onnx as small
from tests.ranking import ranked


@pytest.fixture
def models(tmp_path, monkeypatch):
  """A folder of files, in which the test is."""
  for name in ('models/b', 'models/a', 'other/a', 'other/mini_vae', 'c'):
    path = tmp_path / f'{name}.onnx'
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b'')
  (tmp_path / 'models' / 'notes.txt').touch()
  monkeypatch.chdir(tmp_path)
  return tmp_path


SELECTIONS = {
  'c.onnx': ['c'],
  'models/*.onnx': ['a', 'b'],
  'models/*': ['a', 'b'],
  'models/': ['a', 'b'],
  'models': ['a', 'b'],
  '.': ['c'],
  'models/b.onnx,models/*.onnx': ['b', 'a'],
  'mini_vae, c.onnx ,mini_random': ['mini_vae', 'c', 'mini_random'],
  'control,c.onnx': [*checkpoints.names('control'), 'c'],
  'models/a.onnx,other/a.onnx': ['models-a', 'other-a'],
  '*/a.onnx,c.onnx': ['models-a', 'other-a', 'c'],
  'other/mini_vae.onnx': ['other-mini_vae'],
  'c.onnx#pool,c.onnx': ['c#pool', 'c'],
  'models/*.onnx#pool': ['a#pool', 'b#pool'],
  './c.onnx,c.onnx': ['c'],
}


@pytest.mark.parametrize('selection', SELECTIONS)
def test_names_are_short_and_unique(selection, models):
  assert [s.name for s in checkpoints.select(selection)] == SELECTIONS[
    selection
  ]


def test_a_file_stays_where_it_is(models, tmp_path):
  found, known = checkpoints.select('c.onnx,mini_vae', str(models))
  assert found.path == str(models / 'c.onnx')
  assert pathlib.Path(known.path).exists()


@pytest.mark.parametrize(
  ('selection', 'message'),
  [
    ('nowhere.onnx', "No file matches 'nowhere.onnx' of checkpoints"),
    ('nowhere/*.onnx', 'No file matches'),
    ('models/*.txt', "No file of 'models/.*.txt' ends in .onnx"),
    ('mini_vea', "Did you mean 'mini_vae'"),
    ('x', 'or files that end in .onnx'),
    ('my.pt', 'pickled weights.*weights_only=True.*or export'),
    ('s3://bucket/x.onnx', 'is on s3://'),
    ('', 'No checkpoint is chosen'),
  ],
)
def test_what_is_none_says_so(selection, message, models):
  with pytest.raises(ValueError, match=message):
    checkpoints.select(selection)


def test_one_is_restored_at_a_time(models):
  with pytest.raises(ValueError, match=r'are 2 checkpoints.*: a, b'):
    checkpoints.restore('models/*.onnx')


def test_files_and_names_are_ranked_together(tmp_path):
  for seed in (1, 2):
    small.save(tmp_path / f'net{seed}.onnx', seed=seed)
  (tmp_path / 'damaged.onnx').write_bytes(b'\xff')
  config = measure_config.get_config('num_parameters')
  config.checkpoints = f'{tmp_path}/*.onnx,mini_random'
  config.task.num_examples = 30
  config.batch_size = 10
  config.cache_dir = str(tmp_path / 'cache')
  result = ranked.rank(config, str(tmp_path / 'run'))
  scores = ranked.scores_of(result)
  assert set(scores) == {'net1', 'net2', 'mini_random'}
  assert scores['net1'] == 269
  (failed,) = result['failed']
  assert failed['checkpoint'] == 'damaged'
  assert 'no readable ONNX' in failed['error']
  again = ranked.rank(config, str(tmp_path / 'again'))
  assert {e['cached'] for e in again['ranking']} == {True}


@pytest.mark.parametrize('mode', ['head', 'full'])
def test_a_file_can_be_fine_tuned(mode, tmp_path):
  path = small.save(tmp_path / 'net.onnx')
  config = finetune_config.get_config()
  config.checkpoints = str(path)
  config.task.num_examples = 40
  config.cache_dir = str(tmp_path / 'cache')
  config.protocol.mode = mode
  config.protocol.learning_rates = (0.01,)
  config.protocol.steps = (20,)
  config.protocol.batch_size = 8
  result = finetuning.finetune(config, str(tmp_path / 'run'))
  assert not result.failed
  (accuracy,) = result.accuracies
  assert accuracy.checkpoint == 'net'
  assert (tmp_path / 'run' / 'accuracies' / 'digits' / 'net.json').exists()
