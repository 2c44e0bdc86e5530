# SPDX-License-Identifier: Apache-2.0
"""Image files that are damaged, too large or no files, found beforehand."""

import os
import pathlib

import numpy as np
import pytest
from PIL import Image

from neucrab_jax import tasks
from neucrab_jax.tasks import image_files, inspection

LIMIT = image_files.MAX_MEGAPIXELS * 10**6


def make_rgb(height=64, width=64, seed=0):
  rng = np.random.default_rng(seed)
  return rng.integers(0, 256, (height, width, 3)).astype(np.uint8)


def save(path, pixels=None, **options):
  path.parent.mkdir(parents=True, exist_ok=True)
  pixels = make_rgb() if pixels is None else pixels
  Image.fromarray(pixels).save(path, **options)
  return path


def inspect(path, max_pixels=LIMIT):
  return inspection.inspect(path, max_pixels=max_pixels)


def make_special(path, kind):
  if kind == 'pipe':
    os.mkfifo(path)
  elif kind == 'folder':
    path.mkdir()
  else:
    path.symlink_to({'device': '/dev/zero', 'circle': path}.get(kind, 'none'))


@pytest.mark.parametrize(
  ('kind', 'message'),
  [
    ('pipe', 'it is a pipe, a socket or a device'),
    ('device', 'it is a pipe, a socket or a device'),
    ('folder', 'it is a folder, not a file'),
    ('circle', 'Too many levels'),
    ('broken link', 'No such file'),
  ],
)
def test_what_is_no_file_is_named(tmp_path, kind, message):
  path = tmp_path / 'x.png'
  make_special(path, kind)
  with pytest.raises(ValueError, match=rf'x\.png.*{message}'):
    image_files.decode(path)
  assert message in inspect(path).fault


def test_a_file_that_may_not_be_read_is_a_fault(tmp_path, monkeypatch):
  path = save(tmp_path / 'x.png')

  def refuse(*_args, **_options):
    raise PermissionError(13, 'Permission denied')

  monkeypatch.setattr(pathlib.Path, 'read_bytes', refuse)
  assert 'Permission denied' in inspect(path).fault


@pytest.mark.parametrize('pillows', [None, 10])
def test_the_limit_of_pixels_is_ours_and_names_its_setting(
  tmp_path, monkeypatch, pillows
):
  path = save(tmp_path / 'x.png', make_rgb(30, 30))
  monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', pillows)
  assert inspect(path, max_pixels=900).fault is None
  assert image_files.decode(path, max_pixels=900).shape == (30, 30, 3)
  fault = inspect(path, max_pixels=899).fault
  assert 'limit' in fault
  assert '--config.task.max_megapixels' in fault
  with pytest.raises(ValueError, match=r'x\.png.*0\.0009 megapixels'):
    image_files.decode(path, max_pixels=899)
  assert pillows == Image.MAX_IMAGE_PIXELS


FORMATS = ('png', 'jpg', 'gif', 'webp', 'bmp', 'tif', 'ppm', 'tga')


@pytest.mark.parametrize('suffix', FORMATS)
@pytest.mark.parametrize('damage', ['half', 'most', 'last', 'foreign', 'empty'])
def test_what_cannot_be_decoded_is_found_beforehand(tmp_path, suffix, damage):
  path = save(tmp_path / f'x.{suffix}')
  content = path.read_bytes()
  path.write_bytes(
    {
      'half': content[: len(content) // 2],
      'most': content[: len(content) * 9 // 10],
      'last': content[:-1],
      'foreign': b'<html>404</html>',
      'empty': b'',
    }[damage]
  )
  try:
    image_files.decode(path)
  except ValueError:
    assert inspect(path).fault
  else:  # Pillow makes up for a last byte.
    assert inspect(path).fault is None


# What Pillow itself says of some of them.
@pytest.mark.filterwarnings('ignore::UserWarning')
@pytest.mark.parametrize('suffix', FORMATS)
def test_a_flipped_byte_is_found_beforehand_or_decoded(tmp_path, suffix):
  path = save(tmp_path / f'x.{suffix}', make_rgb(16, 16))
  content = path.read_bytes()
  for place in np.random.default_rng(0).integers(len(content), size=40):
    path.write_bytes(
      content[:place] + bytes([content[place] ^ 255]) + content[place + 1 :]
    )
    if inspect(path).fault is None:
      assert image_files.decode(path).ndim == 3


def test_what_has_checksums_is_not_decoded_to_be_looked_at(
  tmp_path, monkeypatch
):
  path = save(tmp_path / 'x.png')
  monkeypatch.setattr(Image.Image, 'load', lambda _: pytest.fail('decoded'))
  assert inspect(path).digest


def make_classes(root, *, per_class=12, classes=('cat', 'dog')):
  for label, name in enumerate(classes):
    for i in range(per_class):
      save(
        root / name / f'{i:02}.png', make_rgb(4, 4, seed=per_class * label + i)
      )
  return root


@pytest.mark.parametrize('bad', [1, 2, 20, 21, 23])
def test_all_bad_files_are_found_and_up_to_20_named(tmp_path, bad):
  files = sorted(make_classes(tmp_path).glob('*/*'))
  for file in files[:bad]:
    file.write_bytes(b'<html>404</html>')
  with pytest.raises(tasks.BadImagesError, match='Replace') as error:
    tasks.load(str(tmp_path)).read('train')
  text = str(error.value)
  assert list(error.value.faults) == files[:bad]
  assert text.count('cannot be decoded') == min(bad, 20)
  assert (f'and {bad - 20} more' in text) == (bad > 20)
  assert (f'{bad} bad images' in text) == (bad > 1)
  assert ('skip_damaged=True' in text) == (bad < 12)


def test_damaged_images_are_left_out_where_that_is_asked_for(tmp_path):
  whole = make_classes(tmp_path / 'whole', per_class=3)
  broken = make_classes(tmp_path / 'broken', per_class=3)
  for place in ('cat/01.png', 'dog/02.png'):
    (whole / place).unlink()
    (broken / place).write_bytes(b'')
  task = tasks.load(str(broken), skip_damaged=True)
  with pytest.warns(
    inspection.DamagedImagesWarning, match='images left out: 2'
  ):
    found = task.read('train')
  wanted = tasks.load(str(whole), skip_damaged=True).read('train')
  assert (found.num_damaged, wanted.num_damaged) == (2, 0)
  assert found.fingerprint == wanted.fingerprint
  np.testing.assert_array_equal(found.labels, wanted.labels)
  for one, other in zip(
    found.open(np.arange(4)), wanted.open(np.arange(4)), strict=True
  ):
    np.testing.assert_array_equal(one(), other())
  assert task.read('train[:50%]').num_damaged == 2


def test_no_class_is_left_out_as_damaged(tmp_path):
  make_classes(tmp_path, per_class=1, classes=('ant', 'cat', 'dog'))
  (tmp_path / 'cat' / '00.png').write_bytes(b'')
  with pytest.raises(ValueError, match=r"no image of 'cat' is left"):
    tasks.load(str(tmp_path), skip_damaged=True).read('train')
