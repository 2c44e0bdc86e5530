# SPDX-License-Identifier: Apache-2.0
"""Object stores, by fsspec's own in memory, with faults put in."""

import json

import fsspec
import numpy as np
import pytest

from configs import measure as measure_config
from neucrab_jax import checkpoints, input_files, storage, stores
from neucrab_jax.ranking import run
from tests.checkpoints import tiny_torch, torch_files
from tests.ranking import ranked

MEMORY = fsspec.filesystem('memory')


@pytest.fixture(autouse=True)
def bucket(tmp_path, monkeypatch):
  """An address of nothing yet; its mirror is a test's own."""
  monkeypatch.setattr(stores, '_root', lambda: tmp_path / 'mirror')
  monkeypatch.setattr(stores, '_FIRST_WAIT', 0.0)
  MEMORY.store.clear()
  MEMORY.pseudo_dirs[:] = ['']
  return 'memory://bucket'


def put(address, content=b'content'):
  MEMORY.pipe_file(address.partition(':/')[2], content)


def put_folder(folder, address):
  for file in folder.rglob('*'):
    if file.is_file():
      put(f'{address}/{file.relative_to(folder)}', file.read_bytes())


def names(address):
  return {name.removeprefix('/bucket/') for name in MEMORY.find(address)}


def fail_first(monkeypatch, name, *, times, error):
  """The first calls of a method of the store fail."""
  method, calls = getattr(type(MEMORY), name), []

  def failing(self, *args, **kwargs):
    calls.append(1)
    if len(calls) <= times:
      raise error
    return method(self, *args, **kwargs)

  monkeypatch.setattr(type(MEMORY), name, failing)
  return calls


def test_a_ranking_reads_and_writes_as_in_a_folder(bucket, tmp_path):
  folder = ranked.make_files(tmp_path / 'files')
  expected = ranked.rank(ranked.files_config(folder), str(tmp_path / 'here'))
  put_folder(folder, f'{bucket}/files')
  config = ranked.files_config(f'{bucket}/files/*.npz')
  found = ranked.rank(config, f'{bucket}/run')
  assert ranked.scores_of(found) == ranked.scores_of(expected)
  assert names('/bucket/run') == {
    f'run/{file.relative_to(tmp_path / "here")}'
    for file in (tmp_path / 'here').rglob('*')
    if file.is_file()
  }
  written = json.loads(MEMORY.cat_file('/bucket/run/ranking.json'))
  assert written == found
  (file,) = input_files.find(f'{bucket}/run/ranking.json', setting='rankings')
  assert json.loads(file.read_text()) == found


def test_an_interrupted_run_goes_on_on_another_machine(
  bucket, tmp_path, monkeypatch
):
  folder = ranked.make_files(tmp_path / 'files')
  config = ranked.files_config(folder)
  run.rank(config, f'{bucket}/run')
  # Whose mirror is empty: the records are fetched.
  monkeypatch.setattr(stores, '_root', lambda: tmp_path / 'other')
  put_calls = fail_first(monkeypatch, 'put_file', times=0, error=OSError())
  run.rank(config, f'{bucket}/run')
  # Settings and results, and no score a second time.
  assert len(put_calls) == 4


def test_task_and_cache_are_in_a_store(bucket, tmp_path):
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, (40, 16, 16, 3), np.uint8)
  np.savez(tmp_path / 'task.npz', images=images, labels=np.arange(40) % 4)
  put(f'{bucket}/task.npz', (tmp_path / 'task.npz').read_bytes())
  config = measure_config.get_config('knn')
  config.checkpoints = 'mini_vae'
  config.batch_size = 20
  config.task.name = f'{bucket}/task.npz'
  config.cache_dir = f'{bucket}/cache'
  first = ranked.rank(config, str(tmp_path / 'first'))
  (kept,) = names('/bucket/cache')
  assert kept.endswith('.npz')
  assert first['task']['name'] == 'task.npz'
  stores.place(f'{bucket}/{kept}').unlink()
  again = ranked.rank(config, str(tmp_path / 'again'))
  assert again['ranking'][0]['cached']


@pytest.mark.parametrize(
  'error',
  [OSError(503, 'Slow Down'), ConnectionResetError('cut'), RuntimeError('odd')],
)
@pytest.mark.parametrize('method', ['put_file', 'get_file', 'find', 'info'])
def test_what_fails_for_a_moment_is_tried_again(
  method, error, bucket, monkeypatch
):
  put(f'{bucket}/a/b.txt')
  calls = fail_first(monkeypatch, method, times=3, error=error)
  path = stores.fetch(f'{bucket}/a')
  assert (path / 'b.txt').read_bytes() == b'content'
  storage.write_text(path / 'c.txt', 'more')
  assert MEMORY.cat_file('/bucket/a/c.txt') == b'more'
  assert len(calls) >= 4


def test_a_cut_download_is_no_file(bucket, monkeypatch):
  put(f'{bucket}/a.txt')
  get, calls = type(MEMORY).get_file, []

  def cut(self, name, file, **options):
    get(self, name, file, **options)
    calls.append(1)
    if len(calls) < 3:
      with open(file, 'r+b') as opened:
        opened.truncate(3)

  monkeypatch.setattr(type(MEMORY), 'get_file', cut)
  path = stores.fetch(f'{bucket}/a.txt')
  assert path.read_bytes() == b'content'
  assert [file.name for file in path.parent.iterdir()] == ['a.txt']


def test_what_the_store_never_takes_stays_here(bucket, monkeypatch):
  fail_first(monkeypatch, 'put_file', times=99, error=OSError('Slow Down'))
  path = stores.place(f'{bucket}/a.txt')
  with pytest.raises(OSError, match='Slow Down'):
    storage.write_text(path, 'made')
  assert path.read_text() == 'made'


def test_only_what_is_new_is_fetched(bucket, monkeypatch):
  for name in 'ab':
    put(f'{bucket}/f/{name}')
  stores.fetch(f'{bucket}/f')
  calls = fail_first(monkeypatch, 'get_file', times=0, error=OSError())
  put(f'{bucket}/f/b', b'another')
  path = stores.fetch(f'{bucket}/f')
  assert len(calls) == 1
  assert (path / 'b').read_bytes() == b'another'


def test_a_folder_is_seen_when_all_of_it_is_there(
  bucket, tmp_path, monkeypatch
):
  folder = stores.place(f'{bucket}/states/net')
  folder.mkdir(parents=True)
  (folder / 'one').write_text('1')
  stores.push_folder(folder)
  # The next one is cut in the middle: the first is what there is.
  (folder / 'one').unlink()
  for name in ('two', 'three'):
    (folder / name).write_text(name)
  fail_first(monkeypatch, 'put_file', times=6, error=OSError('cut'))
  with pytest.raises(OSError, match='cut'):
    stores.push_folder(folder)
  monkeypatch.undo()
  monkeypatch.setattr(stores, '_root', lambda: tmp_path / 'other')
  other = stores.place(f'{bucket}/states/net')
  stores.pull_folder(other)
  assert [file.name for file in other.iterdir()] == ['one']
  # And the whole of it replaces that.
  monkeypatch.setattr(stores, '_root', lambda: tmp_path / 'mirror')
  stores.push_folder(folder)
  monkeypatch.setattr(stores, '_root', lambda: tmp_path / 'other')
  stores.pull_folder(other)
  assert {file.name for file in other.iterdir()} == {'two', 'three'}
  stores.remove_folder(other)
  assert not names('/bucket')


@pytest.mark.parametrize(
  ('address', 'extra'),
  [('s3://bucket/x', 's3'), ('gs://bucket/x', 'gcs'), ('odd://bucket/x', '')],
)
def test_a_store_that_is_not_known_says_what_to_do(address, extra, monkeypatch):
  def fail(where):
    raise ImportError('No module named it.')

  monkeypatch.setattr(fsspec.core, 'url_to_fs', fail)
  remedy = rf'pip install .*\[{extra}\]' if extra else 'Copy it here'
  with pytest.raises(ValueError, match=remedy):
    stores.fetch(address)


def test_an_address_has_one_place_and_back(bucket):
  place = stores.place(f'{bucket}/../a//b/./c.npz')
  assert stores.address(place) == f'{bucket}/a/b/c.npz'
  assert stores.address('/elsewhere/c.npz') is None
  assert not stores.is_address('C:/folder')
  assert not stores.is_address('hf:timm/resnet50')


@pytest.mark.parametrize(
  'reference', ['repo', 'repo/', 're*', 'repo/model.safetensors']
)
def test_a_repository_in_a_store_is_a_checkpoint(reference, bucket, tmp_path):
  folder = tmp_path / 'repo'
  torch_files.write(folder, config=tiny_torch.config(), stored=tiny_torch.vit())
  put_folder(folder, f'{bucket}/repo')
  # Begins alike, and nobody asked for it.
  put(f'{bucket}/repository/weights.txt')
  (spec,) = checkpoints.select(f'{bucket}/{reference}', '')
  there = checkpoints.restore(spec.path)
  assert there.fingerprint == checkpoints.restore(str(folder)).fingerprint
  if reference != 're*':
    assert not stores.place(f'{bucket}/repository').exists()


def test_an_address_without_a_checkpoint_is_refused(bucket):
  put(f'{bucket}/a/b.txt')
  for name in ('a', 'nothing'):
    with pytest.raises(ValueError, match=r'of checkpoints|a network'):
      checkpoints.select(f'{bucket}/{name}', '')
