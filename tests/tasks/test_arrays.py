# SPDX-License-Identifier: Apache-2.0
"""Tasks from an `.npz`."""

import numpy as np
import pytest

from neucrab_jax import storage, tasks

N = 6


def make_images(*shape, seed=0):
  rng = np.random.default_rng(seed)
  return rng.integers(0, 256, (N, *shape)).astype(np.uint8)


LABELS = np.arange(N) % 3


@pytest.fixture
def save(tmp_path):
  def save(**arrays):
    path = tmp_path / 'task.npz'
    np.savez(path, **arrays)
    return str(path)

  return save


@pytest.mark.parametrize('shape', [(4, 5), (4, 5, 1), (4, 5, 3)])
@pytest.mark.parametrize('dtype', [np.uint8, np.int64])
def test_images_come_back_with_three_channels(save, shape, dtype):
  images = make_images(*shape)
  task = tasks.load(save(images=images, labels=LABELS.astype(dtype)))
  examples = task.read('train')
  assert (task.splits, task.num_classes) == (('train',), 3)
  assert examples.labels.dtype == np.int32
  np.testing.assert_array_equal(examples.labels, LABELS)
  expected = np.broadcast_to(images.reshape(N, 4, 5, -1), (N, 4, 5, 3))
  indices = np.array([0, 2, 5])
  decoded = [decode() for decode in examples.open(indices)]
  np.testing.assert_array_equal(decoded, expected[indices])


def test_named_splits(save):
  train, test = make_images(4, 4), make_images(4, 4, seed=1)
  task = tasks.load(
    save(
      train_images=train,
      train_labels=LABELS,
      test_images=test,
      test_labels=LABELS,
    )
  )
  assert task.splits == ('train', 'test')
  decode = next(task.read('test').open(np.array([3])))
  np.testing.assert_array_equal(decode()[..., 0], test[3])
  with pytest.raises(ValueError, match=r"'tests'.*mean 'test'.*Known: train"):
    task.read('tests')


def test_the_fingerprint_is_of_the_content(save):
  images = make_images(4, 4)
  first = tasks.load(save(images=images, labels=LABELS)).read('train')
  again = tasks.load(save(labels=LABELS, images=images)).read('train')
  images[0, 0, 0] ^= 1
  other = tasks.load(save(images=images, labels=LABELS)).read('train')
  relabelled = tasks.load(save(images=images, labels=LABELS[::-1]))
  assert first.fingerprint == again.fingerprint
  assert (
    len({e.fingerprint for e in (first, other, relabelled.read('train'))}) == 3
  )


IMAGES = make_images(4, 4)


@pytest.mark.parametrize(
  ('arrays', 'message'),
  [
    ({'pixels': IMAGES, 'labels': LABELS}, 'no array images.*pixels, labels'),
    ({'images': IMAGES}, 'no array labels.*Present: images'),
    ({'test_images': IMAGES, 'labels': LABELS}, 'no array test_labels'),
    ({}, 'Present: none'),
    (
      {
        'images': IMAGES,
        'labels': LABELS,
        'train_images': IMAGES,
        'train_labels': LABELS,
      },
      "both the split 'train'",
    ),
    ({'images': IMAGES / 255.0, 'labels': LABELS}, r'float64.*255 \* images'),
    ({'images': IMAGES.astype(np.int32), 'labels': LABELS}, 'int32.*uint8'),
    ({'images': IMAGES[0], 'labels': LABELS}, r'shape \[4, 4\]'),
    (
      {'images': make_images(4, 4, 2), 'labels': LABELS},
      r'shape \[6, 4, 4, 2\]',
    ),
    ({'images': IMAGES[:0], 'labels': LABELS[:0]}, 'empty'),
    ({'images': IMAGES, 'labels': LABELS[1:]}, '6 images but 5 labels'),
    ({'images': IMAGES, 'labels': LABELS * 1.0}, 'integers, not float64'),
    ({'images': IMAGES, 'labels': LABELS > 1}, 'integers, not bool'),
    ({'images': IMAGES, 'labels': np.eye(N, dtype=int)}, r'int64\[6, 6\]'),
    ({'images': IMAGES, 'labels': LABELS + 1}, 'start at 0, not at 1'),
    ({'images': IMAGES, 'labels': LABELS - 1}, 'negative, and one is -1'),
    ({'images': IMAGES, 'labels': LABELS * 0}, 'at least two classes'),
  ],
)
def test_other_contents_are_refused(save, arrays, message):
  with pytest.raises(ValueError, match=message):
    tasks.load(save(**arrays))


def test_pickled_objects_are_refused(save):
  path = save(images=IMAGES, labels=np.array([{}] * N, dtype=object))
  with pytest.raises(storage.DamagedFileError, match='pickled'):
    tasks.load(path)


def test_a_truncated_file_is_refused(save, tmp_path):
  path = save(images=IMAGES, labels=LABELS)
  half = tmp_path / 'half.npz'
  with open(path, 'rb') as file:
    half.write_bytes(file.read()[:200])
  with pytest.raises(storage.DamagedFileError, match='readable'):
    tasks.load(str(half))
