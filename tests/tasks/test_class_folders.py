# SPDX-License-Identifier: Apache-2.0
"""Which folders are classes, and what in them is no part of a task."""

import warnings

import numpy as np
import pytest

from neucrab_jax import tasks
from neucrab_jax.tasks import class_folders
from tests.tasks.image_folders import make_folder, make_rgb, save


@pytest.fixture
def root(tmp_path):
  return make_folder(tmp_path / 'animals')


GROCERIES = (
  'Fruit/Apple/Golden-Delicious',
  'Fruit/Apple/Granny-Smith',
  'Fruit/Kiwi',
  'Packages/Milk/Arla/Medium-Fat',
)


@pytest.mark.parametrize(
  ('depth', 'classes', 'sizes'),
  [
    (1, ('Fruit', 'Packages'), (3, 1)),
    (2, ('Fruit/Apple', 'Fruit/Kiwi', 'Packages/Milk'), (2, 1, 1)),
    (3, (*GROCERIES[:3], 'Packages/Milk/Arla'), (1, 1, 1, 1)),
    (4, GROCERIES, (1, 1, 1, 1)),
    (9, GROCERIES, (1, 1, 1, 1)),
  ],
)
@pytest.mark.filterwarnings('ignore:.*the images of every class are in')
def test_classes_are_as_deep_as_is_asked_for(depth, classes, sizes, tmp_path):
  for split in ('train', 'test'):
    for i, name in enumerate(GROCERIES):
      save(tmp_path / split / name / '0.png', make_rgb(seed=i))
  task = tasks.load(str(tmp_path), class_depth=depth)
  assert task.class_names == classes
  assert task.splits == ('train', 'test')
  labels = task.read('test').labels
  assert tuple(np.bincount(labels)) == sizes


def test_other_classes_are_another_task(tmp_path):
  for i, name in enumerate(('a/b/0.png', 'a/c/1.png', 'd/e/2.png')):
    save(tmp_path / name, make_rgb(seed=i))
  with pytest.warns(class_folders.ClassDepthWarning, match='class_depth=2'):
    shallow = tasks.load(str(tmp_path))
  deep = tasks.load(str(tmp_path), class_depth=2)
  prints = {task.read('train').fingerprint for task in (shallow, deep)}
  assert len(prints) == 2


def test_images_beside_deeper_classes_are_said(root):
  save(root / 'dog' / 'big' / '0.png', make_rgb())
  with pytest.warns(
    class_folders.LeftOutWarning, match='beside the classes: 3'
  ):
    task = tasks.load(str(root), class_depth=2)
  assert task.class_names == ('cat', 'dog/big', 'emu')


@pytest.mark.parametrize('limit', [0, -1.0, float('inf'), float('nan')])
def test_a_limit_of_pixels_that_cannot_be(root, limit):
  with pytest.raises(ValueError, match='must be a positive number'):
    tasks.load(str(root), max_megapixels=limit)


@pytest.mark.parametrize('depth', [0, -1])
def test_a_depth_that_cannot_be(root, depth):
  with pytest.raises(ValueError, match=f'at least 1.*not {depth}'):
    tasks.load(str(root), class_depth=depth)
  with pytest.raises(ValueError, match=r'digits.*is none'):
    tasks.load('digits', class_depth=2)


# What systems and archivers leave in folders, and what is hidden.
LEFT_BEHIND = (
  '__MACOSX/cat/._0.png',
  'cat/__MACOSX/0.png',
  'cat/@eaDir/0.png/thumbnail.jpg',
  'lost+found/0.png',
  'cat/.0.png',
  'cat/.DS_Store',
  'cat/.cache/0.png',
  'cat/Thumbs.db',
  'dog/desktop.ini',
  '.git/0.png',
)


@pytest.mark.parametrize('name', LEFT_BEHIND)
def test_what_systems_leave_behind_is_ignored(root, name):
  before = tasks.load(str(root)).read('train')
  save(root / name, make_rgb(), format='PNG')
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    task = tasks.load(str(root))
  assert task.class_names == ('cat', 'dog', 'emu')
  assert task.read('train').fingerprint == before.fingerprint


def test_what_is_left_out_is_said(root):
  for name in ('cat/a.heic', 'dog/b.HEIC', 'emu/x/c.txt', 'emu/notes'):
    path = root / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b'')
  save(root / 'beside.png', make_rgb())
  (root / 'README.md').write_text('animals')
  with pytest.warns(class_folders.LeftOutWarning) as caught:
    assert len(tasks.load(str(root)).read('train')) == 9
  [text] = [str(warning.message) for warning in caught]
  for part in (
    str(root),
    '2 .heic, ',
    '1 .txt',
    '1 without a suffix',
    'images beside the classes: 1.',
  ):
    assert part in text


def test_images_beside_splits_are_said(tmp_path):
  for split in ('train', 'test'):
    make_folder(tmp_path / split)
  save(tmp_path / 'a.jpg', make_rgb())
  save(tmp_path / 'test' / 'b.jpg', make_rgb())
  with pytest.warns(
    class_folders.LeftOutWarning, match='beside the classes: 2'
  ):
    tasks.load(str(tmp_path))


# Links, and what an error says about them; nothing where they are fine.
LINKS = {
  'to a class': ('gnu', 'cat', None),
  'to an image': ('cat/link.png', '../dog/0.png', None),
  'to a folder of images': ('cat/link', '../dog', None),
  'to the folder it is in': ('cat/link', '.', 'leads back'),
  'to the root': ('cat/link', '..', 'leads back'),
  'to itself': ('cat/link', 'link', 'Too many levels'),
  'to itself, as an image': ('cat/x.png', 'x.png', 'Too many levels'),
  'to nowhere': ('cat/link', 'nowhere', 'No such file'),
  'to nowhere, as an image': ('cat/x.png', 'nowhere', 'No such file'),
  'to nowhere, as a class': ('gnu', 'nowhere', 'No such file'),
  'to nowhere, as a text': ('cat/notes.txt', 'nowhere', None),
}


@pytest.mark.filterwarnings(
  'ignore::neucrab_jax.tasks.class_folders.LeftOutWarning'
)
@pytest.mark.parametrize('kind', LINKS)
def test_links(root, kind):
  name, target, message = LINKS[kind]
  (root / name).symlink_to(target)
  if message is None:
    assert len(tasks.load(str(root)).read('train')) >= 9
    return
  with pytest.raises(ValueError, match=message) as error:
    tasks.load(str(root)).read('train')
  assert str(root / name) in str(error.value)
