# SPDX-License-Identifier: Apache-2.0
"""What --help says, and that all pages' settings are in it."""

import io
import pathlib
import sys

import pytest

from neucrab_jax import command_help, download, evaluate, finetune, rank
from tests import in_process

CONFIGS = pathlib.Path(__file__).parents[1] / 'configs'


@pytest.mark.parametrize(
  ('command', 'arguments', 'said'),
  [
    (
      rank,
      ['--help'],
      [
        'Ranks checkpoints by',
        '--workdir',
        "--config.task.name='digits'\n      digits, a data set of TFDS, a ",
        '--config.measure.options.energy=0.8\n      Of the variance, kept by',
      ],
    ),
    (
      rank,
      ['--config=measure.py:knn', '-h'],
      ['measure.py:knn', '--config.measure.options.k=1'],
    ),
    (
      rank,
      ['--config', 'features.py:leep', '--help'],
      ["--config.features=''\n      Files, folders of them or patterns, separ"],
    ),
    (
      rank,
      ['--config=measure.py', '--help'],
      [
        '--workdir',
        'is one of `measures.names()`',
        "Unknown measure ''",
        '--config=configs/measure.py:knn',
      ],
    ),
    (
      finetune,
      ['--help', '--config.task.num_examples=9'],
      [
        'Fine-tunes checkpoints',
        '--config.protocol.learning_rates=(0.1, 0.05, 0.01, 0.005)',
        'of 100, training has 80.',
      ],
    ),
    (finetune, ['--config=finetune.py:vtab', '--help'], ['(2500, 10000)']),
    (
      evaluate,
      ['--helpfull'],
      [
        'Judges measures',
        '--config.rank.task.num_examples=200\n      Those that fine-tuning',
        '--config.rank.batch_size=128\n      Over all local devices.',
      ],
    ),
    (evaluate, ['--help', '--config=evaluate.py'], ['An order to beat']),
    (download, ['--help'], ['Downloads the weights', "--dir='rank_ckpt'"]),
  ],
)
def test_help_ends_well_and_has_settings_with_what_is_said_of_them(
  command, arguments, said, tmp_path, monkeypatch
):
  monkeypatch.chdir(tmp_path)
  status, out, errors = in_process.run('x', command.start, *arguments)
  assert (status, errors) == (0, '')
  for text in said:
    assert text in out
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('page', sorted(CONFIGS.glob('*.py')), ids=str)
def test_every_page_can_be_described(page):
  argument = ':knn' * (page.stem in ('measure', 'features'))
  text = command_help.describe_config(f'{page}{argument}')
  assert f'{page.name}{argument}: ' in text
  assert text.count('--config.') > 5


def test_a_page_of_a_user_is_described_by_its_own_comments(tmp_path):
  page = tmp_path / 'mine.py'
  page.write_text(
    'import ml_collections\n'
    'def get_config():\n'
    '  config = ml_collections.ConfigDict()\n'
    '  config.part = ml_collections.ConfigDict()\n'
    '  # One thing,\n'
    '  # in two lines.\n'
    "  config.part.hash = '#'  # And beside it.\n"
    '  config.bare = 1\n'
    '  return config\n'
  )
  text = command_help.describe_config(str(page))
  assert "--config.part.hash='#'\n      One thing, in two lines. And" in text
  assert '--config.bare=1\n  --' in text


def test_where_there_is_only_ascii_help_is_given_all_the_same(
  tmp_path, monkeypatch
):
  page = tmp_path / 'mine.py'
  page.write_text(
    '"""Kendall\'s \u03c4."""\nimport ml_collections\n'
    'def get_config():\n'
    '  return ml_collections.ConfigDict({"name": "\u03c4"})\n',
    encoding='utf-8',
  )
  raw = io.BytesIO()
  monkeypatch.setattr('sys.stdout', io.TextIOWrapper(raw, encoding='ascii'))
  command_help.show('About \u03c4.', names=['workdir'], config=str(page))
  sys.stdout.flush()
  assert b"--config.name='?'" in raw.getvalue()


@pytest.mark.parametrize('argv', [['x', 'help'], ['x', '--helper'], ['x']])
def test_other_words_ask_for_no_help(argv):
  assert not command_help.is_asked(argv)
