# SPDX-License-Identifier: Apache-2.0
"""Files from elsewhere, looked at before they are read."""

import io
import os
import socket
import tracemalloc
import zipfile

import numpy as np
import pytest

from neucrab_jax import storage, untrusted


def make_special(path, kind):
  """Makes something that is no file, and returns it to be kept alive."""
  if kind == 'pipe':
    os.mkfifo(path)
  elif kind == 'device':
    path.symlink_to('/dev/zero')
  elif kind == 'folder':
    path.mkdir()
  elif kind == 'circle':
    path.symlink_to(path)
  elif kind == 'broken link':
    path.symlink_to(path.with_name('nowhere'))
  elif kind == 'socket':
    # The path of a socket must be short.
    special = socket.socket(socket.AF_UNIX)
    here = os.getcwd()
    os.chdir(path.parent)
    try:
      special.bind(path.name)
    finally:
      os.chdir(here)
      # Its node stays.
      special.close()


SPECIAL = ('pipe', 'socket', 'device', 'folder', 'circle', 'broken link')


@pytest.mark.parametrize('kind', SPECIAL)
def test_what_is_no_file_is_refused(tmp_path, kind):
  path = tmp_path / 'a.npz'
  make_special(path, kind)
  with pytest.raises((OSError, ValueError)):
    untrusted.check_regular(path)
  with pytest.raises((FileNotFoundError, storage.DamagedFileError)) as error:
    storage.read_npz(path)
  assert str(path) in str(error.value)


def test_a_header_that_two_threads_were_at_is_read_again(tmp_path, monkeypatch):
  np.savez(tmp_path / 'a.npz', x=np.arange(3))
  read, failures = np.lib.format.read_array_header_1_0, [SystemError('depth')]

  def fail_once(file):
    if failures:
      raise failures.pop()
    return read(file)

  monkeypatch.setattr(np.lib.format, 'read_array_header_1_0', fail_once)
  assert list(storage.read_npz(tmp_path / 'a.npz')['x']) == [0, 1, 2]
  assert not failures


def test_a_link_to_a_file_is_a_file(tmp_path):
  np.savez(tmp_path / 'a.npz', x=np.arange(3))
  (tmp_path / 'b.npz').symlink_to('a.npz')
  np.testing.assert_array_equal(
    storage.read_npz(tmp_path / 'b.npz')['x'], np.arange(3)
  )


def _npy(shape, dtype='<f8', *, version=(1, 0), content=bytes(24)):
  file = io.BytesIO()
  header = {'descr': dtype, 'fortran_order': False, 'shape': shape}
  write = {
    (1, 0): np.lib.format.write_array_header_1_0,
    (2, 0): np.lib.format.write_array_header_2_0,
  }[version]
  write(file, header)
  return file.getvalue() + content


MEMBERS = {
  'raw bytes': ('x.npy', b'features'),
  'a text beside': ('README', b'all about it'),
  'another magic': ('x.npy', b'\x94NUMPY' + _npy((3,))[6:]),
  'an unknown version': ('x.npy', b'\x93NUMPY\x09\x00' + _npy((3,))[8:]),
  'too many rows': ('x.npy', _npy((10**12,))),
  'too many rows, version 2': ('x.npy', _npy((10**12,), version=(2, 0))),
  'a product beyond 64 bits': ('x.npy', _npy((2**40, 2**40))),
  'too few rows': ('x.npy', _npy((2,))),
  'a negative number of rows': ('x.npy', _npy((-3,))),
  'nothing after the header': ('x.npy', _npy((3,), content=b'')),
}


@pytest.mark.parametrize('packing', [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize('kind', MEMBERS)
def test_members_that_are_not_what_they_say(tmp_path, kind, packing):
  path = tmp_path / 'a.npz'
  with zipfile.ZipFile(path, 'w', packing) as archive:
    archive.writestr(*MEMBERS[kind])
  tracemalloc.start()
  try:
    with pytest.raises(storage.DamagedFileError, match=r'a\.npz'):
      storage.read_npz(path)
    assert tracemalloc.get_traced_memory()[1] < 10**7
  finally:
    tracemalloc.stop()


@pytest.mark.parametrize('packing', [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_directory_that_promises_more_than_there_is(tmp_path, packing):
  rows = 10**8
  content = _npy((rows,))
  path = tmp_path / 'a.npz'
  with zipfile.ZipFile(path, 'w', packing) as archive:
    archive.writestr('x.npy', content)
  size = len(content) - 24 + 8 * rows
  whole = path.read_bytes()
  real = len(content).to_bytes(4, 'little')
  assert real in whole
  path.write_bytes(whole.replace(real, size.to_bytes(4, 'little')))
  with pytest.raises(storage.DamagedFileError, match=r'x\.npy.*as large as'):
    storage.read_npz(path)


@pytest.mark.parametrize('save', [np.savez, np.savez_compressed])
def test_honest_arrays_are_read(tmp_path, save):
  arrays = {
    'zeros': np.zeros(10**6),  # As small as deflate can make it.
    'scalar': np.array(3.5),
    'empty': np.zeros((0, 4)),
    'text': np.array(['a', 'bc']),
    'columns': np.asfortranarray(np.arange(6).reshape(2, 3)),
    'records': np.zeros(3, [('é', 'f4'), ('b', 'i8')]),  # Version 3.
  }
  save(tmp_path / 'a.npz', **arrays)
  loaded = storage.read_npz(tmp_path / 'a.npz')
  for name, array in arrays.items():
    np.testing.assert_array_equal(loaded[name], array)
