# SPDX-License-Identifier: Apache-2.0
"""What the bundled tasks that are drawn from a seed promise."""

import numpy as np
import pytest

from neucrab_jax import tasks
from neucrab_jax.tasks import bundled

NAMES = ('photos', 'monochrome', 'counting')
SIZES = {'train': 1000, 'validation': 500, 'trainval': 1500, 'test': 1000}

# Each task's fingerprint of images and labels. Scores on other examples can't
# be compared: if this test fails, it is the examples that are wrong.
FINGERPRINTS = {
  'photos': {
    'train': '72ceb6c05a55eedf6357646e628e000facdbe230b73b4b955e01e4de1409a8de',
    'validation': (
      'e75d89dbf361b0d8d55684da6e2716384e80ea600670f764bb1429182268c7b1'
    ),
    'test': '227b40f8b9c5a682267e6630ed308fd5d27164e327f0629929b935ac06077f9d',
  },
  'monochrome': {
    'train': '8bf19edf4bfec4304a4447822d569c9f0975d2215bd253e857025baac77a4ee1',
    'validation': (
      '8c8d3d076e6e05c89b02781ef6fcf117d87160557ee0d9174618434e979c236a'
    ),
    'test': 'c3360627e42d44d4596660d5a72625eb51e7906e88a3b6e6dcae70e477732741',
  },
  'counting': {
    'train': 'd8f3904ab73504f2e9d22f23cfeda6204059cd1f0563e791309486639833b4cd',
    'validation': (
      '99d526053b9189ce6308b42d7820c718fda851804eda4a728973bbcd3a965bc7'
    ),
    'test': '285a2c856b602617228b33a08bea4d0f3d6907a97fa85af89c81e07c6d600fc7',
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
