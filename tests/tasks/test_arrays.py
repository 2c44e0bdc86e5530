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
    ({'images': IMAGES, 'labels': LABELS > 1}, 'integers, not bool'),
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


# Arrays of labels that can mean only one thing, and how many classes they make.
MEANT = {
  'uint64': (LABELS.astype(np.uint64), 3),
  'float': (LABELS * 1.0, 3),
  'float16 column': (LABELS.astype(np.float16)[:, np.newaxis], 3),
  'column': (LABELS[:, np.newaxis].astype(np.uint8), 3),
  'one-hot': (np.eye(3, dtype=np.uint8)[LABELS], 3),
  'one-hot floats': (np.eye(3)[LABELS], 3),
  'one-hot bools': (np.eye(3, dtype=bool)[LABELS], 3),
  'one-hot without the last class': (np.eye(4, dtype=int)[LABELS], 4),
}


@pytest.mark.parametrize('kind', MEANT)
def test_labels_that_mean_one_thing_are_taken(save, kind):
  labels, num_classes = MEANT[kind]
  task = tasks.load(save(images=IMAGES, labels=labels))
  examples = task.read('train')
  assert (examples.labels.dtype, task.num_classes) == (np.int32, num_classes)
  np.testing.assert_array_equal(examples.labels, LABELS)
  plain = tasks.load(save(images=IMAGES, labels=LABELS)).read('train')
  assert examples.fingerprint == plain.fingerprint


@pytest.mark.parametrize(
  ('labels', 'message'),
  [
    # Both would be 0 as int32, and so one class.
    (LABELS.astype(np.int64) * 2**32, 'a label is 8589934592.*return_inverse'),
    (LABELS.astype(np.uint64) * 2**62, 'a label is 9223372036854775808'),
    (LABELS * 2.0**40, 'a label is 2199023255552.0'),
    (LABELS + 0.5, 'not all are whole numbers'),
    (np.where(LABELS, LABELS, np.nan), 'not all are whole numbers'),
    (np.where(LABELS, LABELS, np.inf), 'not all are whole numbers'),
    (LABELS - 1.0, 'negative, and one is -1'),
    (np.array(['a', 'b'])[LABELS % 2], r'are text.*return_inverse'),
    (LABELS * 1j, 'integers, not complex128'),
    (np.tri(N, dtype=int), r'image 1 has 2 labels.*labels\[:, 0\]'),
    (np.eye(3, dtype=int)[LABELS] * (LABELS > 0)[:, None], 'image 0 has 0'),
    (np.full((N, 3), 1 / 3), r'neither integers nor one-hot.*argmax\(1\)'),
    (LABELS.reshape(1, N), r'int64\[1, 6\].*neither'),
    (LABELS.reshape(N, 1, 1), r'shape \[6, 1, 1\]'),
    (np.array(3), r'shape \[\]'),
  ],
)
def test_labels_that_could_mean_another_are_refused(save, labels, message):
  path = save(images=IMAGES, labels=labels)
  with pytest.raises(ValueError, match=f'(?s)task.npz.*labels: .*{message}'):
    tasks.load(path)


# What other libraries call the arrays, and the splits that they make.
NAMES = {
  'MedMNIST': (('{}_images', '{}_labels'), ('train', 'val', 'test')),
  'Keras': (('x_{}', 'y_{}'), ('train', 'test')),
  'other spellings': (('{}_images', '{}_labels'), ('Train', 'valid', 'Test')),
  'scikit-learn': (('X_{}', 'y_{}'), ('train', 'dev', 'test')),
  'sets': (('{}_images', '{}_labels'), ('training_set', 'valset', 'Test set')),
}


@pytest.mark.parametrize('library', NAMES)
def test_names_of_other_libraries(save, library):
  (images, labels), splits = NAMES[library]
  arrays = {}
  for seed, split in enumerate(splits):
    arrays[images.format(split)] = make_images(4, 4, seed=seed)
    arrays[labels.format(split)] = LABELS[:, np.newaxis]
  task = tasks.load(save(**arrays))
  ours = ('train', 'validation', 'test')
  assert task.splits == (ours if len(splits) == 3 else ('train', 'test'))
  for split, theirs in zip(task.splits, splits, strict=True):
    shown = next(task.read(split).open(np.array([2])))()
    np.testing.assert_array_equal(
      shown[..., 0], arrays[images.format(theirs)][2]
    )


@pytest.mark.parametrize(
  ('names', 'message'),
  [
    (('x_train', 'train_labels'), 'no array y_train'),
    (('x_train', 'y_train', 'images', 'labels'), "both the split 'train'"),
    (
      ('val_images', 'val_labels', 'x_valid', 'y_valid'),
      "`val_images` and `x_valid` are both the split 'validation'",
    ),
  ],
)
def test_names_of_other_libraries_that_do_not_go_together(save, names, message):
  arrays = {
    name: LABELS if name.startswith('y') or 'labels' in name else IMAGES
    for name in names
  }
  path = save(**arrays)
  with pytest.raises(ValueError, match=message):
    tasks.load(path)


def test_other_arrays_may_be_beside_them(save):
  path = save(images=IMAGES, labels=LABELS, x_mean=np.zeros(3), names=LABELS)
  assert tasks.load(path).splits == ('train',)
