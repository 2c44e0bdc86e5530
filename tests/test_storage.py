# SPDX-License-Identifier: Apache-2.0
import io
import json
import os
import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest

from neucrab_jax import storage

ARRAYS = {
  'x': np.arange(6, dtype=np.float32).reshape(2, 3),
  'y': np.array([3, 1], np.int32),
}


def list_names(folder):
  return sorted(file.name for file in folder.iterdir())


def assert_same(arrays, expected):
  assert arrays.keys() == expected.keys()
  for name, array in arrays.items():
    assert array.dtype == expected[name].dtype
    np.testing.assert_array_equal(array, expected[name])


@pytest.fixture
def archive(tmp_path):
  path = tmp_path / 'arrays.npz'
  storage.write_npz(path, ARRAYS)
  return path


def test_a_failing_writer_leaves_the_old_file_and_nothing_else(tmp_path):
  path = tmp_path / 'record.json'
  storage.write_json(path, {'old': 1})

  def write_half():
    with storage.atomic_path(path) as temporary:
      temporary.write_text('{"half":')
      raise RuntimeError('out of ideas')

  with pytest.raises(RuntimeError, match='out of ideas'):
    write_half()
  assert json.loads(path.read_text()) == {'old': 1}
  assert list_names(tmp_path) == ['record.json']


def test_a_reader_sees_the_old_file_until_the_new_one_is_whole(tmp_path):
  path = tmp_path / 'record.txt'
  storage.write_text(path, 'old')
  with storage.atomic_path(path) as temporary:
    temporary.write_text('new')
    assert path.read_text() == 'old'
  assert path.read_text() == 'new'
  assert list_names(tmp_path) == ['record.txt']


def test_of_two_writers_the_last_one_wins(tmp_path):
  path = tmp_path / 'record.txt'
  with storage.atomic_path(path) as outer:
    outer.write_text('last')
    with storage.atomic_path(path) as inner:
      inner.write_text('first')
    assert path.read_text() == 'first'
  assert path.read_text() == 'last'
  assert list_names(tmp_path) == ['record.txt']


def test_a_record_is_as_readable_as_any_other_file(tmp_path):
  storage.write_text(tmp_path / 'record', '')
  (tmp_path / 'other').touch()
  modes = {file.stat().st_mode for file in tmp_path.iterdir()}
  assert len(modes) == 1


def test_writers_in_threads_leave_the_umask_alone(tmp_path):
  before = os.umask(0o027)
  try:
    threads = [
      threading.Thread(
        target=lambda i=i: [
          storage.write_text(tmp_path / f'{i}', str(j)) for j in range(50)
        ]
      )
      for i in range(4)
    ]
    for thread in threads:
      thread.start()
    for thread in threads:
      thread.join()
    assert {f.stat().st_mode & 0o777 for f in tmp_path.iterdir()} == {0o640}
    assert os.umask(0o027) == 0o027
  finally:
    os.umask(before)


@pytest.mark.parametrize('compress', [False, True])
def test_arrays_come_back_as_they_were(tmp_path, compress):
  path = tmp_path / 'new' / 'folder' / 'arrays.npz'
  arrays = {
    'params/conv1/kernel': np.arange(4, dtype=np.float16),
    'empty': np.zeros((0, 5), np.int64),
    'text': np.array('{}'),
  }
  storage.write_npz(path, arrays, compress=compress)
  assert_same(storage.read_npz(path), arrays)


def test_objects_are_not_written(tmp_path):
  with pytest.raises(ValueError, match="'bad' holds Python objects"):
    storage.write_npz(tmp_path / 'a.npz', {'bad': np.array([{}, None])})
  assert not list_names(tmp_path)


def test_pickled_objects_are_refused_and_never_run(tmp_path):
  class Trap:
    def __reduce__(self):
      return (os.mkdir, (str(tmp_path / 'sprung'),))

  np.savez(tmp_path / 'trap.npz', x=np.array([Trap()], object))
  with pytest.raises(storage.DamagedFileError, match='pickled Python objects'):
    storage.read_npz(tmp_path / 'trap.npz')
  assert list_names(tmp_path) == ['trap.npz']


def _npy():
  file = io.BytesIO()
  np.save(file, np.arange(3))
  return file.getvalue()


@pytest.mark.parametrize(
  'content',
  [b'', b'features, labels\n', _npy(), pickle.dumps({'x': 1}), bytes(100)],
  ids=['empty', 'text', 'npy', 'pickle', 'zeros'],
)
def test_other_files_are_said_to_be_no_npz(tmp_path, content):
  path = tmp_path / 'other.npz'
  path.write_bytes(content)
  with pytest.raises(storage.DamagedFileError, match='not a readable'):
    storage.read_npz(path)


def test_a_missing_file_is_named(tmp_path):
  with pytest.raises(FileNotFoundError, match=r'nowhere\.npz'):
    storage.read_npz(tmp_path / 'nowhere.npz')


def test_every_truncation_is_noticed(archive):
  whole = archive.read_bytes()
  for length in range(len(whole)):
    archive.write_bytes(whole[:length])
    with pytest.raises(storage.DamagedFileError):
      storage.read_npz(archive)


@pytest.mark.parametrize('compress', [False, True])
@pytest.mark.parametrize('bit', [0, 5])
def test_no_flipped_bit_changes_an_array_unnoticed(tmp_path, bit, compress):
  path = tmp_path / 'arrays.npz'
  storage.write_npz(path, ARRAYS, compress=compress)
  whole = path.read_bytes()
  noticed = 0
  for index in range(len(whole)):
    damaged = bytearray(whole)
    damaged[index] ^= 1 << bit
    path.write_bytes(damaged)
    try:
      arrays = storage.read_npz(path)
    except storage.DamagedFileError:
      noticed += 1
    else:
      # Some bits, such as those of a date, mean nothing to us. One of the
      # directory's can lose an array; who needs it will miss it.
      assert_same(arrays, {name: ARRAYS[name] for name in arrays})
  assert noticed > len(whole) // 2


@pytest.mark.parametrize(
  ('one', 'other'),
  [
    ([np.zeros(4, 'i4')], [np.zeros(4, 'f4')]),
    ([np.zeros(4, '<i4')], [np.zeros(4, '>i4')]),
    ([np.zeros((2, 3))], [np.zeros((3, 2))]),
    ([np.zeros((0, 3))], [np.zeros((3, 0))]),
    ([np.zeros(2), np.zeros(4)], [np.zeros(4), np.zeros(2)]),
    (['ab', 'c'], ['a', 'bc']),
    ([b'ab', b'c'], [b'a', b'bc']),
    ([b'1'], [1]),
    ([b''], []),
    (['1'], [1]),
    ([['a', 'b']], ['a', 'b']),
  ],
)
def test_different_sequences_have_different_digests(one, other):
  assert storage.digest(*one) != storage.digest(*other)


@pytest.mark.parametrize(
  'array',
  [
    np.arange(12.0).reshape(3, 4).T,
    np.arange(12, dtype='>i2')[::2],
    np.float16(3),
    np.array(['a', 'bc']),
    np.array(True),
  ],
  ids=['transposed', 'big-endian', 'scalar', 'text', 'bool'],
)
def test_the_digest_is_of_the_values_not_of_their_layout(array):
  array = np.asarray(array)
  copy = array.copy(order='C')
  assert storage.digest(array) == storage.digest(copy)


def test_sources_have_a_digest_that_follows_them(tmp_path, monkeypatch):
  monkeypatch.syspath_prepend(tmp_path)
  (tmp_path / 'digested').mkdir()
  for name in ('__init__', 'part'):
    (tmp_path / 'digested' / f'{name}.py').write_text('')
  import digested

  before = storage.digest_sources(digested)
  assert before == storage.digest_sources(digested)
  (tmp_path / 'digested' / 'part.py').write_text('x = 1')
  assert before != storage.digest_sources(digested)


def test_it_imports_where_there_is_no_fcntl():
  code = (
    'import sys; sys.modules["fcntl"] = None\n'
    'import warnings; warnings.simplefilter("ignore")\n'
    'import neucrab_jax.rank, neucrab_jax.finetune, neucrab_jax.evaluate\n'
  )
  subprocess.run([sys.executable, '-c', code], check=True, timeout=300)


def test_a_folder_that_is_a_file_is_not_writable(tmp_path):
  (tmp_path / 'file').touch()
  with pytest.raises(ValueError, match=r'Cannot write to .*file'):
    storage.check_writable(tmp_path / 'file' / 'below')


def test_a_writable_folder_is_made_and_left_empty(tmp_path):
  storage.check_writable(tmp_path / 'new')
  assert not list_names(tmp_path / 'new')


def test_of_two_claims_one_is_refused(tmp_path):
  path = tmp_path / 'deep' / 'record.json'
  with storage.claim(path) as first:
    with storage.claim(path) as second:
      assert (first, second) == (True, False)
    with storage.claim(tmp_path / 'deep' / 'other.json') as other:
      assert other
  with storage.claim(path) as third:
    assert third


def test_the_claim_of_a_killed_process_is_free_again(tmp_path):
  path = tmp_path / 'record.json'
  code = (
    'import time\n'
    'from neucrab_jax import storage\n'
    f'with storage.claim({str(path)!r}) as mine:\n'
    '  print(mine, flush=True)\n'
    '  time.sleep(60)\n'
  )
  with subprocess.Popen(
    [sys.executable, '-c', code], stdout=subprocess.PIPE, text=True
  ) as process:
    try:
      assert process.stdout.readline() == 'True\n'
      with storage.claim(path) as mine:
        assert not mine
    finally:
      process.kill()
  with storage.claim(path, wait=True) as mine:
    assert mine
