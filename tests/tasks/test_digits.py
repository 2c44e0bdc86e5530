# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from sklearn import datasets

from neucrab_jax import storage, tasks
from neucrab_jax.tasks import digits

SIZES = {'train': 1000, 'validation': 300, 'trainval': 1300, 'test': 497}

# SHA-256 of each split's indices. Scores on another split can't be compared:
# if this test fails, it is the split that is wrong.
INDICES = {
  'train': '4e0f6096b65abc476a38794dbb12bc63012193eca92189b0a5d92acdafd30864',
  'validation': (
    '9767c6f2adfd361c218b92ad69ee33598efb2e862820acdb47c237968b1e7bae'
  ),
  'trainval': (
    'c1df37d29fe23b3e669cad08fc054b7deac7988785d509f58eebe62ab58be9da'
  ),
  'test': 'e25d299c967145b0d9740bd74410a5f1189d04c75c328af4016d8568ca634620',
}


@pytest.fixture(scope='module')
def labels():
  return datasets.load_digits().target


def test_sizes():
  task = tasks.load('digits')
  assert task.splits == tuple(SIZES)
  assert {split: len(task.read(split)) for split in SIZES} == SIZES


def test_the_split_is_fixed_for_good(labels):
  indices = digits.split_indices(labels)
  assert {split: storage.digest(i) for split, i in indices.items()} == INDICES


def test_the_splits_share_nothing_and_leave_nothing_out(labels):
  indices = digits.split_indices(labels)
  parts = [indices[split] for split in ('train', 'validation', 'test')]
  np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(1797))
  np.testing.assert_array_equal(
    indices['trainval'], np.sort(np.concatenate(parts[:2]))
  )


@pytest.mark.parametrize('split', SIZES)
def test_the_splits_are_stratified(split, labels):
  expected = np.bincount(labels) * SIZES[split] / len(labels)
  counts = np.bincount(tasks.load('digits').read(split).labels)
  assert np.abs(counts - expected).max() < 2


def test_images_are_the_digits_enlarged(labels):
  original = datasets.load_digits().images
  indices = digits.split_indices(labels)['test']
  examples = tasks.load('digits').read('test')
  np.testing.assert_array_equal(examples.labels, labels[indices])
  for index, decode in zip(indices, examples.open(np.arange(497)), strict=True):
    image = decode()
    assert image.shape == (32, 32, 3)
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image[..., 0], image[..., 2])
    # The mean over each 4×4 block is a blur of the pixel it came from.
    blocks = image[..., 0].reshape(8, 4, 8, 4).mean((1, 3)) * 16 / 255
    assert np.corrcoef(blocks.ravel(), original[index].ravel())[0, 1] > 0.95


def test_fingerprints_are_stable_and_of_the_split():
  task = tasks.load('digits')
  prints = {split: task.read(split).fingerprint for split in SIZES}
  assert len(set(prints.values())) == len(SIZES)
  assert prints['train'] == tasks.load('digits').read('train').fingerprint


def test_an_unknown_split():
  with pytest.raises(ValueError, match=r"'tset'.*mean 'test'.*Known: train"):
    tasks.load('digits').read('tset')
