# SPDX-License-Identifier: Apache-2.0
import dataclasses
import errno
import os

import numpy as np
import pytest
import small

from neucrab_jax import tasks
from neucrab_jax.features import compute as compute_lib
from neucrab_jax.features import decoded

COUNT, SIZE = 5, 16


class Images:
  """Examples of images of 20 pixels, whose decodings are counted."""

  def __init__(self, *, seed=0):
    self.decoded = []
    images = small.make_images(COUNT, seed=seed, size=20)
    found = small.make_examples(COUNT, seed=seed, size=20)

    def open_images(indices):
      for index in indices:
        yield lambda index=index: self.decoded.append(index) or images[index]

    self.examples = dataclasses.replace(
      found, opener=open_images, in_memory=False
    )


@pytest.fixture
def images():
  return Images()


def open_store(examples, folder, *, method='bilinear', gigabytes=1.0):
  return decoded.open_store(
    examples,
    num_images=COUNT,
    size=SIZE,
    method=method,
    cache_dir=str(folder),
    gigabytes=gigabytes,
  )


def load(images, store, *, indices=None, method='bilinear'):
  """What `resizing` gives, and which images that decoded."""
  indices = np.arange(COUNT) if indices is None else np.array(indices)
  images.decoded.clear()
  found = decoded.resizing(
    images.examples.open(indices),
    indices,
    size=SIZE,
    method=method,
    store=store,
  )
  loaded = np.stack([one() for one in found])
  return loaded, list(images.decoded)


@pytest.mark.parametrize('method', ['bilinear', 'bicubic/square=16'])
def test_images_are_decoded_once_and_the_same_bits(method, images, tmp_path):
  expected, _ = load(images, None, method=method)
  with open_store(images.examples, tmp_path, method=method) as store:
    some, told = load(images, store, indices=[1, 3], method=method)
    assert told == [1, 3]
    np.testing.assert_array_equal(some, expected[[1, 3]])
  # And another checkpoint, perhaps in another process.
  with open_store(images.examples, tmp_path, method=method) as store:
    whole, told = load(images, store, method=method)
    assert told == [0, 2, 4]
    again, told = load(images, store, method=method)
    assert told == []
  for found in (whole, again):
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


def test_what_is_prepared_otherwise_is_not_shared(images, tmp_path):
  with open_store(images.examples, tmp_path) as store:
    load(images, store)
  other = Images(seed=1)
  with open_store(other.examples, tmp_path) as store:
    assert load(other, store)[1] == list(range(COUNT))
  with open_store(images.examples, tmp_path, method='bicubic') as store:
    assert load(images, store, method='bicubic')[1] == list(range(COUNT))


def test_a_damaged_image_is_decoded_again(images, tmp_path):
  with open_store(images.examples, tmp_path) as store:
    expected, _ = load(images, store)
  (file,) = tmp_path.rglob('rows')
  content = bytearray(file.read_bytes())
  content[len(content) // 2] ^= 8
  file.write_bytes(content)
  with open_store(images.examples, tmp_path) as store:
    found, told = load(images, store)
    assert told == [COUNT // 2]
    np.testing.assert_array_equal(found, expected)
    assert load(images, store)[1] == []


def test_a_full_disk_costs_time_alone(images, tmp_path, monkeypatch):
  def fail(*unused):
    raise OSError(errno.ENOSPC, 'No space left on device')

  expected, _ = load(images, None)
  with open_store(images.examples, tmp_path) as store:
    monkeypatch.setattr(os, 'pwrite', fail)
    for _ in range(2):
      found, told = load(images, store)
      assert told == list(range(COUNT))
      np.testing.assert_array_equal(found, expected)


def test_a_thread_that_ends_late_writes_nowhere(images, tmp_path):
  with open_store(images.examples, tmp_path) as store:
    pass
  assert load(images, store)[1] == list(range(COUNT))


def test_stores_are_bounded_and_the_oldest_goes(images, tmp_path):
  size = COUNT * SIZE * SIZE * 3 * 4
  # Room for two, whatever blocks a disk has.
  gigabytes = 2.7 * size / 1e9
  folders = []
  for number, method in enumerate(['bilinear', 'bicubic', 'slim_vgg']):
    with open_store(
      images.examples, tmp_path, method=method, gigabytes=gigabytes
    ) as store:
      load(images, store, method=method)
    (new,) = set((tmp_path / 'images').iterdir()) - set(folders)
    os.utime(new, (number, number))
    folders.append(new)
  assert set((tmp_path / 'images').iterdir()) == set(folders[1:])


@pytest.mark.parametrize(
  ('chosen', 'copied'),
  [([0, 1, 2, 3, 4], False), ([1, 2], False), ([0, 2], True), ([1, 0], True)],
)
def test_a_batch_that_is_in_the_store_is_not_copied(
  chosen, copied, images, tmp_path
):
  with open_store(images.examples, tmp_path) as store:
    expected, _ = load(images, store)
    rows = [store.get(index, lambda: np.zeros(())) for index in chosen]
    found = decoded.stack(rows)
    np.testing.assert_array_equal(found, expected[chosen])
    assert np.shares_memory(found, rows[0]) != copied


@pytest.mark.parametrize('gigabytes', [0.0, 1e-6])
def test_without_room_there_is_no_store(gigabytes, images, tmp_path):
  assert open_store(images.examples, tmp_path, gigabytes=gigabytes) is None


def test_what_is_in_memory_needs_no_store(tmp_path):
  assert open_store(small.make_examples(COUNT), tmp_path) is None


def test_checkpoints_share_what_they_prepare_alike(images, tmp_path):
  def compute(seed, **options):
    return compute_lib.compute(
      small.make_backbone(seed=seed),
      images.examples,
      indices=np.arange(COUNT),
      task='t',
      batch_size=2,
      cache_dir=str(tmp_path / str(seed)),
      **options,
    ).features

  expected = [compute(seed).fingerprint() for seed in (0, 1)]
  for seed in (0, 1):
    for file in (tmp_path / str(seed)).glob('*.npz'):
      file.unlink()
  images.decoded.clear()
  shared = tmp_path / 'shared'
  shared.mkdir()
  for seed in (0, 1):
    (tmp_path / str(seed) / 'images').symlink_to(shared)
  found = [compute(s, decoded_gigabytes=1.0).fingerprint() for s in (0, 1)]
  assert found == expected
  assert sorted(images.decoded) == list(range(COUNT))


def test_an_image_that_is_stored_is_what_resizing_gives(images, tmp_path):
  image = next(images.examples.open(np.array([2])))()
  with open_store(images.examples, tmp_path) as store:
    load(images, store)
    found, _ = load(images, store, indices=[2])
  np.testing.assert_array_equal(found[0], tasks.resize(image, SIZE))
