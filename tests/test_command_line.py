# SPDX-License-Identifier: Apache-2.0
"""What a user may write wrong in a command, and what it says to that."""

import gc
import pathlib

import pytest

from neucrab_jax import command_line, evaluate, finetune, rank
from tests import in_process
from tests.tasks import image_folders

ROOT = pathlib.Path(__file__).parents[1]


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    (
      ['--config.features', 'a.npz', 'b.npz', 'c.npz'],
      "'b.npz' is left over",
    ),
    (
      ['--config.checkpoints=mini_vae,', 'mini_random'],
      "'mini_random' is left over",
    ),
    (['config.task.name=photos'], 'Write --config.task.name=photos'),
    (['—config.task.name=photos'], 'Write --config.task.name=photos'),
    (['measure.py:knn'], 'Write --config=measure.py:knn'),
    (['--checkpoints=mini_vae'], 'Settings begin with --config.'),
    (['--config.task=photos'], '--config.task has settings below it'),
    (['--config.task.sample_seed=-1'], 'from 0 to 2^32 - 1, not -1'),
    (['--config=evaluate.py'], "evaluate.py' lacks the setting 'measure"),
    (['--config=features.py:knn'], 'No file is chosen'),
    (['--config.checkpoints=gs://b/x.onnx'], 'is on gs://'),
    (['--config.cache_dir=gs:/bucket/cache'], 'is on gs://'),
    (['--config.seed=-1'], 'from 0 to 2^32 - 1, not -1'),
    (['--config.seed=9223372036854775808'], 'not 9223372036854775808'),
    (['--config.num_resamples=2147483648'], 'at most 100,000'),
    (['--config.cache_dir=gs://bucket/cache'], 'is on gs://'),
    (['--config.task.name=s3://bucket/images'], 'is on s3://'),
    (['--config.checkpoint_dir=hdfs://host/x'], 'is on hdfs://'),
    (['--config.features=https://host/*.npz'], 'is on https://'),
    (['--workdir=gs://bucket/run'], 'is on gs://'),
    (['--config.features.x=1'], 'There is no setting --config.features.x'),
    (['--config', '--workdir'], "There is no config '--workdir'"),
    (['--config=README.md'], "There is no config 'README.md'"),
    (['--config=notes.txt'], 'cannot be read: SyntaxError'),
    (['--config.num_resamples=' + 'x' * 5000], 'x…'),
  ],
)
def test_a_word_too_much_or_a_value_too_far_is_one_line(
  arguments, message, tmp_path, monkeypatch
):
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'notes.txt').write_text("it's no Python")
  status, out, errors = in_process.run(
    'rank', rank.start, '--config=configs/measures.py', *arguments
  )
  assert (status, out) == (2, '')
  assert message in errors
  assert errors.startswith('rank: ')
  assert errors.count('\n') == 1
  assert not list(tmp_path.glob('*:'))


@pytest.mark.parametrize(
  ('command', 'arguments', 'message'),
  [
    (finetune, ['--workdir=gs://bucket/run'], 'is on gs://'),
    (evaluate, ['--workdir=gs://bucket/run'], 'is on gs://'),
    (evaluate, ['--config.accuracies=s3://b/x.csv'], 'is on s3://'),
    (finetune, ['left'], "'left' is left over"),
    (evaluate, ['--config.seed=-1'], 'not -1'),
    (evaluate, ['--config.num_resamples=2147483648'], 'not 2,147,483,648'),
    (evaluate, ['--config=finetune.py'], 'Begin with neucrab_mini.py'),
    (finetune, ['--config=nleep.py'], "lacks the setting 'protocol'"),
    (finetune, ['--config.cache_dir=gs://bucket/x'], 'is on gs://'),
    (finetune, ['--config.protocol.seeds=(9223372036854775808,)'], 'seeds'),
    (finetune, [f'--config.protocol.batch_size={10**400}'], 'from 1 to'),
  ],
)
def test_the_other_commands_say_the_same(
  command, arguments, message, tmp_path, monkeypatch
):
  monkeypatch.chdir(tmp_path)
  config = {finetune: 'finetune.py', evaluate: 'evaluate.py'}[command]
  status, _, errors = in_process.run(
    'x', command.start, f'--config={config}', *arguments
  )
  assert status == 2
  assert message in errors
  assert errors.count('\n') == 1


def test_a_page_of_configs_is_found_from_any_folder(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  for given in ('configs/measure.py:random', 'measure.py:random'):
    status, _, errors = in_process.run(
      'rank',
      rank.start,
      f'--config={given}',
      '--config.checkpoints=mini_random',
      f'--config.cache_dir={tmp_path}/cache',
    )
    assert status == 0, errors
  assert (tmp_path / 'runs' / 'measure-random' / 'ranking.json').exists()


@pytest.mark.filterwarnings('default::UserWarning')
def test_a_warning_of_ours_is_a_line_and_no_line_of_code(tmp_path):
  image_folders.make_folder(tmp_path / 'pets')
  (tmp_path / 'pets' / 'cat' / 'notes.txt').write_text('no image')
  status, _, errors = in_process.run(
    'rank',
    rank.start,
    f'--config.task.name={tmp_path}/pets',
    '--config.checkpoints=mini_random',
    '--config.task.split=tset',
    f'--workdir={tmp_path}/run',
  )
  told, refused = errors.splitlines()
  assert status == 2
  assert told.startswith('warning: ')
  assert '1 .txt' in told
  assert refused.startswith('rank: ')


def test_what_is_garbage_is_looked_for_while_a_command_runs():
  """While it is imported it is not."""
  enabled = []

  def main(argv):
    del argv
    enabled.append(gc.isenabled())
    return 0

  gc.disable()
  try:
    status, *_ = in_process.run(
      'rank', lambda: command_line.run_app(main, ['rank'])
    )
  finally:
    gc.enable()
    gc.unfreeze()
  assert status == 0
  assert enabled == [True]
