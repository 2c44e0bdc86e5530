# SPDX-License-Identifier: Apache-2.0
"""Finding a task by its name, and what every task promises."""

import subprocess
import sys

import numpy as np
import pytest

from neucrab_jax import tasks
from neucrab_jax.tasks import task as task_lib


def make_examples(n=5):
  images = [np.full((2, 2, 3), i, np.uint8) for i in range(n)]
  return tasks.Examples(
    labels=np.arange(n, dtype=np.int32),
    fingerprint='0',
    opener=lambda indices: (lambda i=i: images[i] for i in indices),
  )


def test_names_are_the_bundled_and_the_papers_four():
  assert tasks.names() == (
    'digits',
    'photos',
    'monochrome',
    'shapes',
    'caltech101',
    'oxford_flowers102',
    'patch_camelyon',
    'sun397',
  )


def test_bundled_tasks_need_no_tensorflow():
  code = """
import sys
import numpy as np
from neucrab_jax import tasks

for name in ('digits', 'photos', 'shapes'):
  examples = tasks.load(name).read('train')
  next(examples.open(np.arange(3)))()
  heavy = {'tensorflow', 'tensorflow_datasets'} & set(sys.modules)
  assert not heavy, (name, heavy)
"""
  subprocess.run([sys.executable, '-c', code], check=True)


def test_a_folder_called_like_a_task_is_told_of(tmp_path, monkeypatch):
  (tmp_path / 'photos').mkdir()
  monkeypatch.chdir(tmp_path)
  with pytest.warns(tasks.SameNameWarning, match=r'write \./photos'):
    assert tasks.load('photos').num_classes == 10


@pytest.mark.parametrize(
  ('name', 'nearest'),
  [
    ('digts', 'digits'),
    ('caltech_101', 'caltech101'),
    ('cifra10', 'cifar10'),
    ('cats_vs_dog', 'cats_vs_dogs'),
  ],
)
def test_an_unknown_name_gets_the_nearest(name, nearest):
  with pytest.raises(ValueError, match=f'{name}.*Did you mean {nearest!r}'):
    tasks.load(name)


@pytest.mark.parametrize('name', ['', 'a/b:1.0.0', 'no such name'])
def test_an_unknown_name_gets_the_known_ones(name):
  with pytest.raises(ValueError, match=r'Known: digits, photos, .*, sun397'):
    tasks.load(name)


@pytest.mark.parametrize('name', ['/no/such/folder', './none', 'none.npz'])
def test_a_path_that_leads_nowhere(name):
  with pytest.raises(ValueError, match=f'no folder or file {name!r}'):
    tasks.load(name)


def test_a_file_of_another_kind(tmp_path):
  path = tmp_path / 'images.csv'
  path.write_text('1,2')
  with pytest.raises(ValueError, match=r'folder of images or an \.npz'):
    tasks.load(str(path))


def test_open_gives_the_images_of_the_indices():
  decoded = [decode() for decode in make_examples().open(np.array([1, 4]))]
  assert [image[0, 0, 0] for image in decoded] == [1, 4]


def test_open_with_no_indices_gives_nothing():
  assert list(make_examples().open(np.array([], np.int64))) == []


@pytest.mark.parametrize(
  ('indices', 'message'),
  [
    ([2, 1], 'ascending'),
    ([1, 1], 'unique'),
    ([-1, 1], '5 examples'),
    ([1, 5], '5 examples'),
    ([0.0, 1.0], 'integers'),
    ([[0, 1]], 'vector'),
  ],
)
def test_open_refuses_other_indices(indices, message):
  with pytest.raises(ValueError, match=message):
    make_examples().open(np.array(indices))


@pytest.mark.parametrize(
  ('labels', 'message'),
  [
    ([0.0, 1.0], 'integers'),
    ([[0, 1]], 'vector'),
    ([], 'no examples'),
    ([-1, 0, 1], 'negative'),
    ([1, 2], 'start at 0'),
    ([0, 0], 'at least two classes'),
  ],
)
def test_bad_labels_are_refused(labels, message):
  dtype = None if labels else np.int64
  with pytest.raises(ValueError, match=f'here: .*{message}'):
    task_lib.check_labels(np.array(labels, dtype), source='here')


def test_a_part_of_known_classes_may_lack_the_first():
  labels = task_lib.check_labels(
    np.array([1, 2], np.int64), source='here', num_classes=3
  )
  assert labels.dtype == np.int32


def test_labels_beyond_the_known_classes_are_refused():
  with pytest.raises(ValueError, match='a label is 3, but there are 3 classes'):
    task_lib.check_labels(np.array([0, 3]), source='here', num_classes=3)
