# SPDX-License-Identifier: Apache-2.0
"""Data sets that TFDS cannot prepare: one line, and nothing left behind."""

import logging
import pathlib
import sys
import types

import pytest
import requests
import tensorflow_datasets as tfds

from neucrab_jax import rank, tasks
from neucrab_jax.tasks import tfds_preparation
from tests import in_process


def make_noise(builder):
  """What TFDS does before it finds out that there is no network."""
  root = pathlib.Path(builder.data_dir).parents[1]
  for folder in ('downloads/extracted', f'downloads/{builder.name}/x.tmp.1'):
    (root / folder).mkdir(parents=True)
  (root / builder.name).mkdir()
  print('Downloading and preparing dataset')
  sys.stderr.write('\rDl Completed...: 0 url')
  logging.getLogger('urllib3.connectionpool').warning('Retrying')


@pytest.fixture
def fail(monkeypatch):
  """Has TFDS fail by an error."""

  def fail(error):
    def download_and_prepare(builder):
      make_noise(builder)
      raise error

    monkeypatch.setattr(
      tfds.core.DatasetBuilder, 'download_and_prepare', download_and_prepare
    )

  return fail


NO_NETWORK = requests.ConnectionError(
  'HTTPSConnectionPool: Max retries\nexceeded',
  request=types.SimpleNamespace(url='https://data.caltech.edu/records/x.zip'),
)
ERRORS = {
  'no network': (
    NO_NETWORK,
    'data.caltech.edu does not answer .*`tfds build caltech101` elsewhere',
  ),
  'no route': (ConnectionError('no route'), 'no route. .*`tfds build'),
  'several lines': (ValueError('one\ntwo'), 'ValueError: one. Without'),
  'no words': (KeyError(), 'KeyError: . Without'),
  'no package': (ImportError('no cv2', name='cv2'), 'Install cv2 .*try again'),
}


@pytest.mark.parametrize('kind', ERRORS)
def test_what_cannot_be_prepared_is_a_line(kind, tmp_path, fail, capfd):
  error, message = ERRORS[kind]
  fail(error)
  root = tmp_path / 'new' / 'data'
  with pytest.raises(RuntimeError, match=f"'caltech101/3.*{message}") as raised:
    tasks.load('caltech101', root)
  assert '\n' not in str(raised.value)
  assert capfd.readouterr() == ('', '')
  assert not list(tmp_path.iterdir())


def test_what_was_there_stays(tmp_path, fail):
  fail(NO_NETWORK)
  (tmp_path / 'empty').mkdir()
  (tmp_path / 'caltech101').mkdir()
  kept = tmp_path / 'caltech101' / 'notes.txt'
  kept.write_text('mine')

  def again(builder):
    (tmp_path / 'downloads' / 'caltech101').mkdir(parents=True)
    (tmp_path / 'downloads' / 'caltech101' / 'half.zip').write_text('x')
    raise NO_NETWORK

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(tfds.core.DatasetBuilder, 'download_and_prepare', again)
    with pytest.raises(RuntimeError, match='does not answer'):
      tasks.load('caltech101', tmp_path)
  assert sorted(path.name for path in tmp_path.iterdir()) == [
    'caltech101',
    'downloads',
    'empty',
  ]
  assert kept.exists()


def test_what_takes_long_shows_how_far_it_is(tmp_path, monkeypatch, capsys):
  monkeypatch.setattr(tfds_preparation, '_PATIENCE_SECONDS', 0.0)

  def download_and_prepare(builder):
    sys.stderr.write('Dl Completed...: 1 url')
    sys.stderr.flush()
    raise NO_NETWORK

  monkeypatch.setattr(
    tfds.core.DatasetBuilder, 'download_and_prepare', download_and_prepare
  )
  with pytest.raises(RuntimeError):
    tasks.load('caltech101', tmp_path)
  assert capsys.readouterr().err == 'Dl Completed...: 1 url'


def test_what_must_be_fetched_by_hand(tmp_path):
  with pytest.raises(RuntimeError, match=r'(?s)manual.*fetched by hand'):
    tasks.load('imagenet2012', tmp_path)


def test_a_command_says_it_in_a_line_and_leaves_nothing(
  tmp_path, monkeypatch, fail
):
  fail(NO_NETWORK)
  monkeypatch.chdir(tmp_path)
  status, out, errors = in_process.run(
    'rank',
    rank.start,
    '--config.task.name=caltech101',
    '--config.task.data_dir=data',
    '--config.cache_dir=cache',
  )
  assert (status, out) == (2, '')
  assert errors.startswith('rank: TFDS could not prepare')
  assert errors.count('\n') == 1
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('made', [(), ('runs',), ('runs/nleep',)])
def test_a_refused_run_removes_no_folder_but_its_own(
  made, tmp_path, monkeypatch
):
  monkeypatch.chdir(tmp_path)
  for folder in made:
    (tmp_path / folder).mkdir(parents=True)
  status, _, errors = in_process.run(
    'rank', rank.start, '--config.task.name=./none'
  )
  assert (status, errors.count('\n')) == (2, 1)
  left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob('*'))
  assert left == sorted({part for f in made for part in (f, f.split('/')[0])})
