# SPDX-License-Identifier: Apache-2.0
"""The splits of VTAB, whose sizes are those its own code states."""

import types

import numpy as np
import pytest
import tensorflow_datasets as tfds

from neucrab_jax import tasks
from neucrab_jax.tasks import vtab

# What TFDS holds of each, and what VTAB makes of it.
TFDS_SIZES = {
  'caltech101': {'train': 3060, 'test': 6084},
  'oxford_flowers102': {'train': 1020, 'validation': 1020, 'test': 6149},
  'patch_camelyon': {'train': 262144, 'validation': 32768, 'test': 32768},
  'sun397': {'train': 76128, 'validation': 10875, 'test': 21750},
}
VTAB_SIZES = {
  'caltech101': (2754, 306, 3060, 6084, 800, 200, 1000),
  'oxford_flowers102': (1020, 1020, 2040, 6149, 800, 200, 1000),
  'patch_camelyon': (262144, 32768, 294912, 32768, 800, 200, 1000),
  'sun397': (76128, 10875, 87003, 21750, 800, 200, 1000),
}
SPLITS = (
  'train',
  'validation',
  'trainval',
  'test',
  'train800',
  'val200',
  'train800val200',
)


def make_splits(sizes):
  """TFDS's record of splits of these sizes, in files nobody opens."""
  return tfds.core.splits.SplitDict(
    [
      tfds.core.SplitInfo(
        name=name,
        shard_lengths=[size],
        num_bytes=0,
        filename_template=tfds.core.ShardedFileTemplate(
          data_dir='none',
          dataset_name='none',
          split=name,
          filetype_suffix='tfrecord',
        ),
      )
      for name, size in sizes.items()
    ]
  )


@pytest.mark.parametrize('name', vtab.NAMES)
def test_sizes(name):
  splits = make_splits(TFDS_SIZES[name])
  expressions = vtab.split_expressions(name, splits)
  sizes = [splits[expressions[split]].num_examples for split in SPLITS]
  assert tuple(expressions) == SPLITS
  assert tuple(sizes) == VTAB_SIZES[name]


@pytest.mark.parametrize('name', vtab.NAMES)
def test_a_small_data_set_is_taken_whole(name):
  sizes = {'train': 30, 'test': 9}
  if name != 'caltech101':
    sizes['validation'] = 7
  splits = make_splits(sizes)
  expressions = vtab.split_expressions(name, splits)
  found = {s: splits[expressions[s]].num_examples for s in SPLITS}
  assert found['train800'] == found['train']
  assert found['val200'] == found['validation']
  assert (
    found['train800val200']
    == found['trainval']
    == sum(size for split, size in sizes.items() if split != 'test')
  )


@pytest.mark.parametrize('size', [3059, 3060])
def test_the_split_of_caltech101_follows_its_size(size):
  splits = {'train': types.SimpleNamespace(num_examples=size)}
  expressions = vtab.split_expressions('caltech101', splits)
  assert expressions['train'] == f'train[:{size * 90 // 100}]'


@pytest.mark.parametrize('name', vtab.NAMES)
def test_mocked_tasks_have_vtabs_splits_only(name):
  with tfds.testing.mock_data(num_examples=20):
    task = tasks.load(name)
    assert task.splits == SPLITS
    assert all(len(task.read(split)) == 20 for split in ('test', 'val200'))
    assert len(task.read('val')) == 20
    with pytest.raises(ValueError, match=r"'val2'.*Known: train, validation"):
      task.read('val2')


def test_the_parts_of_a_real_caltech101(tmp_path):
  """Written to disk: no example in two splits, and none left out."""
  n = 2040
  tfds.dataset_builders.store_as_tfds_dataset(
    name='caltech101',
    version='3.0.1',
    features=tfds.features.FeaturesDict(
      {
        'image': tfds.features.Image(),
        'label': tfds.features.ClassLabel(num_classes=n),
      }
    ),
    split_datasets={
      split: [
        (i, {'image': np.zeros((1, 1, 3), np.uint8), 'label': i})
        for i in range(size)
      ]
      for split, size in {'train': n, 'test': 5}.items()
    },
    data_dir=tmp_path,
  )
  task = tasks.load('caltech101', tmp_path)
  labels = {split: task.read(split).labels for split in SPLITS}
  np.testing.assert_array_equal(
    np.concatenate([labels['train'], labels['validation']]), labels['trainval']
  )
  np.testing.assert_array_equal(np.sort(labels['trainval']), np.arange(n))
  np.testing.assert_array_equal(labels['train800'], labels['train'][:800])
  np.testing.assert_array_equal(labels['val200'], labels['validation'][:200])
  np.testing.assert_array_equal(
    np.concatenate([labels['train800'], labels['val200']]),
    labels['train800val200'],
  )
