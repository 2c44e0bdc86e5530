# SPDX-License-Identifier: Apache-2.0
"""What the bundled tasks that are drawn from a seed promise."""

import numpy as np
import pytest

from neucrab_jax import tasks
from neucrab_jax.tasks import bundled, photographs, shapes

NAMES = ('photos', 'monochrome', 'shapes')
SIZES = {'train': 1000, 'validation': 500, 'trainval': 1500, 'test': 1000}

# Each task's fingerprint of images and labels. Scores on other examples can't
# be compared: if this test fails, it is the examples that are wrong.
FINGERPRINTS = {
  'photos': {
    'train': '0fba26362dbd4dac4596d2894fc2c23d7e2c769515b892cbf9a7f74da390aa07',
    'validation': (
      'a1cca204f6e7132043b36e37c63d31663a2f307976361134da5fef12857ca101'
    ),
    'test': 'eb86aef98cbe37c776a731121addfc90805a464e8a7f5d9df250c6e499c0b799',
  },
  'monochrome': {
    'train': '8bf19edf4bfec4304a4447822d569c9f0975d2215bd253e857025baac77a4ee1',
    'validation': (
      '8c8d3d076e6e05c89b02781ef6fcf117d87160557ee0d9174618434e979c236a'
    ),
    'test': 'c3360627e42d44d4596660d5a72625eb51e7906e88a3b6e6dcae70e477732741',
  },
  'shapes': {
    'train': '1ba40c485361ff843af38e61c795232488a96a173db79c0ab3490aef71611e51',
    'validation': (
      '62116b5831f906c97b50cf6647db0a52de989f66e69fe69dda3d5b005dd3f12f'
    ),
    'test': 'cadf513d2c7525791877ed96504a3730a811d4c4e6eae3a365acbb52c5a42dbb',
  },
}


@pytest.fixture(params=NAMES)
def task(request):
  return tasks.load(request.param)


def read_images(examples):
  decoded = examples.open(np.arange(len(examples)))
  return np.stack([decode() for decode in decoded])


@pytest.mark.parametrize('split', ['train', 'validation', 'test'])
@pytest.mark.parametrize('name', NAMES)
def test_the_examples_are_fixed_for_good(name, split):
  examples = tasks.load(name).read(split)
  assert examples.fingerprint == FINGERPRINTS[name][split]


@pytest.mark.parametrize(
  ('name', 'module', 'one'),
  [('shapes', shapes, '_draw_image'), ('photos', photographs, '_crop')],
)
def test_no_other_split_is_drawn(name, module, one, monkeypatch):
  drawn = []
  draw = getattr(module, one)
  monkeypatch.setattr(module, one, lambda *a: drawn.append(1) or draw(*a))
  module._draw.cache_clear()
  tasks.load(name).read('validation')
  assert len(drawn) == SIZES['validation']


def test_sizes_and_shapes(task):
  assert task.splits == tuple(SIZES)
  for split, size in SIZES.items():
    images = read_images(task.read(split))
    assert images.shape == (size, 32, 32, 3)
    assert images.dtype == np.uint8


def test_the_classes_are_balanced(task):
  assert len(task.class_names) == task.num_classes
  for split in SIZES:
    labels = task.read(split).labels
    assert labels.dtype == np.int32
    counts = np.bincount(labels, minlength=task.num_classes)
    assert len(counts) == task.num_classes
    # Each of two parts of 'trainval' may differ by one.
    assert np.ptp(counts) <= (2 if split == 'trainval' else 1)


def test_trainval_is_train_and_validation(task):
  parts = [task.read(split) for split in ('train', 'validation')]
  both = task.read('trainval')
  np.testing.assert_array_equal(
    both.labels, np.concatenate([part.labels for part in parts])
  )
  np.testing.assert_array_equal(
    read_images(both), np.concatenate([read_images(part) for part in parts])
  )


def test_a_reader_cannot_change_what_the_next_one_reads(task):
  examples = task.read('test')
  fingerprint = examples.fingerprint
  examples.labels[:] = 0
  next(examples.open(np.array([0])))()[:] = 0
  assert task.read('test').fingerprint == fingerprint


def test_an_unknown_split(task):
  message = rf"split of '{task.name}' 'tset'.*mean 'test'.*Known: train"
  with pytest.raises(ValueError, match=message):
    task.read('tset')


@pytest.mark.parametrize(('n', 'classes'), [(1000, 11), (6, 6), (7, 6)])
def test_balanced_labels(n, classes):
  counts = np.bincount(bundled.balanced_labels(n, classes))
  assert len(counts) == classes
  assert counts.sum() == n
  assert np.ptp(counts) <= 1
