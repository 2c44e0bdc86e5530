# SPDX-License-Identifier: Apache-2.0
"""Tasks from a folder of images."""

import concurrent.futures
import os
import shutil

import numpy as np
import pytest

from neucrab_jax import tasks
from tests.tasks.image_folders import make_folder, make_rgb, save


@pytest.fixture
def root(tmp_path):
  return make_folder(tmp_path / 'animals')


def test_the_sub_folders_are_the_classes(root):
  task = tasks.load(str(root))
  examples = task.read('train')
  assert task.splits == ('train',)
  assert task.class_names == ('cat', 'dog', 'emu')
  assert task.num_classes == 3
  assert examples.labels.dtype == np.int32
  np.testing.assert_array_equal(examples.labels, np.repeat([0, 1, 2], 3))


def test_images_of_mixed_sizes_come_in_order(root):
  examples = tasks.load(str(root)).read('train')
  indices = np.array([0, 4, 8])
  with concurrent.futures.ThreadPoolExecutor(3) as pool:
    images = list(pool.map(lambda decode: decode(), examples.open(indices)))
  for index, image in zip(indices, images, strict=True):
    label, i = divmod(index, 3)
    np.testing.assert_array_equal(
      image, make_rgb(4 + i, 5 + label, seed=9 * label + i)
    )


def test_other_files_and_hidden_ones_are_no_images(root):
  (root / 'cat' / '.0.png').write_bytes(b'')
  (root / '.cache').mkdir()
  (root / 'README').write_text('animals')
  assert len(tasks.load(str(root)).read('train')) == 9


def test_suffixes_are_read_in_any_case(root):
  save(root / 'cat' / '9.JPG', make_rgb(), format='JPEG')
  save(root / 'dog' / '9.Jpeg', make_rgb(), format='JPEG')
  save(root / 'emu' / '9.webp', make_rgb())
  save(root / 'emu' / '8.gif', make_rgb())
  save(root / 'emu' / '7.bmp', make_rgb())
  examples = tasks.load(str(root)).read('train')
  assert len(examples) == 14
  assert {
    (image.dtype, image.ndim, image.shape[2])
    for image in (decode() for decode in examples.open(np.arange(14)))
  } == {(np.dtype(np.uint8), 3, 3)}


def test_folders_named_like_splits(tmp_path):
  for split in ('test', 'train', 'val'):
    make_folder(tmp_path / split, per_class=len(split))
  task = tasks.load(str(tmp_path))
  assert task.splits == ('train', 'validation', 'test')
  assert [len(task.read(split)) for split in task.splits] == [15, 9, 12]
  with pytest.raises(ValueError, match=r"'tran'.*mean 'train'.*Known: train"):
    task.read('tran')


def test_classes_may_be_named_like_splits(tmp_path):
  make_folder(tmp_path, classes=('train', 'test'))
  task = tasks.load(str(tmp_path))
  assert (task.splits, task.class_names) == (('train',), ('test', 'train'))


def test_the_fingerprint_is_of_the_content(root, tmp_path):
  copy = tmp_path / 'copy'
  shutil.copytree(root, copy)

  def read_fingerprint(path):
    return tasks.load(str(path)).read('train').fingerprint

  assert read_fingerprint(root) == read_fingerprint(copy)
  save(copy / 'dog' / '1.png', make_rgb(seed=99))
  assert read_fingerprint(root) != read_fingerprint(copy)
  other = tmp_path / 'other'
  shutil.copytree(root, other)
  shutil.move(other / 'cat' / '2.png', other / 'dog' / '-.png')
  assert read_fingerprint(root) != read_fingerprint(other)


def test_an_empty_folder(tmp_path):
  with pytest.raises(ValueError, match='has no sub-folders'):
    tasks.load(str(tmp_path))


def test_images_without_sub_folders(tmp_path):
  save(tmp_path / 'a.png', make_rgb())
  with pytest.raises(ValueError, match='each class in a sub-folder'):
    tasks.load(str(tmp_path))


def test_a_class_without_images(root):
  (root / 'fox').mkdir()
  (root / 'fox' / 'fox.heic').write_bytes(b'')
  with pytest.raises(ValueError, match=r'animals/fox.*has no images.*\.png'):
    tasks.load(str(root))


def test_one_class_only(tmp_path):
  make_folder(tmp_path, classes=('cat',))
  with pytest.raises(ValueError, match=r"only one class, 'cat'"):
    tasks.load(str(tmp_path))


def test_splits_with_other_classes(tmp_path):
  make_folder(tmp_path / 'train')
  make_folder(tmp_path / 'test', classes=('cat', 'dog', 'gnu'))
  with pytest.raises(ValueError, match=r"'train' and 'test'.*emu, gnu"):
    tasks.load(str(tmp_path))


def test_one_split_twice(tmp_path):
  make_folder(tmp_path / 'val')
  make_folder(tmp_path / 'validation')
  with pytest.raises(ValueError, match=r"both the split 'validation'"):
    tasks.load(str(tmp_path))


@pytest.mark.parametrize('suffix', ['png', 'jpg', 'gif', 'webp', 'bmp'])
@pytest.mark.parametrize('damage', ['truncated', 'foreign', 'empty'])
def test_a_damaged_image_is_named(root, suffix, damage):
  path = root / 'cat' / f'a.{suffix}'
  save(path, make_rgb(64, 64))
  content = path.read_bytes()
  path.write_bytes(
    {
      'truncated': content[: len(content) // 2],
      'foreign': b'<html>404</html>',
      'empty': b'',
    }[damage]
  )
  task = tasks.load(str(root))
  with pytest.raises(ValueError, match=rf'cat/a\.{suffix}.*cannot be decoded'):
    task.read('train')


def test_what_lies_deeper_belongs_to_its_class(root):
  for i, name in enumerate(('day/1.png', 'day/late/0.png', 'night/2.tif')):
    save(root / 'cat' / name, make_rgb(seed=50 + i))
  examples = tasks.load(str(root)).read('train')
  np.testing.assert_array_equal(
    examples.labels, np.repeat([0, 1, 2], [6, 3, 3])
  )
  deeper = [decode() for decode in examples.open(np.arange(3, 6))]
  for i, image in enumerate(deeper):
    np.testing.assert_array_equal(image, make_rgb(seed=50 + i))


@pytest.mark.parametrize(
  'names',
  [
    ('Train', 'Test'),
    ('TRAIN', 'Valid', 'test'),
    ('training', 'validation', 'testing'),
    ('train', 'val', 'test', '__MACOSX'),
  ],
)
def test_other_spellings_of_splits(tmp_path, names):
  for name in names:
    make_folder(tmp_path / name)
  task = tasks.load(str(tmp_path))
  real = [name for name in names if name != '__MACOSX']
  expected = ('train', 'validation', 'test')
  assert task.splits == (expected if len(real) == 3 else ('train', 'test'))
  assert [len(task.read(split)) for split in task.splits] == [9] * len(real)


@pytest.mark.parametrize(
  'other', ['extra/a.png', 'test/1.png', 'extra/a/1.png']
)
def test_splits_beside_other_folders(tmp_path, other):
  make_folder(tmp_path / 'train')
  save(tmp_path / other, make_rgb())
  name = other.partition('/')[0]
  with pytest.raises(ValueError, match=rf'train. looks like a split.*{name}\.'):
    tasks.load(str(tmp_path))


def test_a_folder_too_high(tmp_path):
  make_folder(tmp_path / 'high' / 'animals')
  with pytest.raises(ValueError, match=r"only one class.*high/animals', give"):
    tasks.load(str(tmp_path / 'high'))


def test_a_pipe_called_like_an_image_is_not_waited_for(root):
  os.mkfifo(root / 'cat' / 'x.png')
  with pytest.raises(ValueError, match=r'cat/x\.png.*a pipe'):
    tasks.load(str(root)).read('train')


def test_a_folder_called_like_an_image_is_refused_by_name(root):
  save(root / 'cat' / 'x.png' / '0.png', make_rgb())
  with pytest.raises(ValueError, match=r'cat/x\.png.*it is a folder'):
    tasks.load(str(root)).read('train')


def test_all_bad_images_of_a_split_are_named_at_once(root):
  for name in ('cat/1.png', 'emu/0.png'):
    (root / name).write_bytes(b'<html>404</html>')
  task = tasks.load(str(root))
  with pytest.raises(ValueError, match=r'(?s)2 bad.*cat/1\.png.*emu/0\.png'):
    task.read('train')
