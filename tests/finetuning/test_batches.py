# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import small

from neucrab_jax import tasks
from neucrab_jax.finetuning import batches
from neucrab_jax.tasks import arrays


@pytest.mark.parametrize(('n', 'b'), [(10, 4), (7, 7), (3, 8), (200, 64)])
def test_every_epoch_sees_every_example_once(n, b):
  epochs = 5
  steps = -(-epochs * n // b)
  seen = np.concatenate(
    [
      batches.order(t, num_examples=n, batch_size=b, seed=3)
      for t in range(steps)
    ]
  )
  for epoch in range(epochs):
    here = seen[epoch * n : (epoch + 1) * n]
    np.testing.assert_array_equal(np.sort(here), np.arange(n))


def test_the_order_is_a_function_of_seed_and_step():
  def order(step, seed):
    return batches.order(step, num_examples=50, batch_size=20, seed=seed)

  late = order(9, 0)
  np.testing.assert_array_equal(order(9, 0), late)
  assert not np.array_equal(order(9, 1), late)
  # Another epoch has another order.
  epochs = [
    batches.order(t, num_examples=50, batch_size=50, seed=0) for t in (0, 1)
  ]
  assert not np.array_equal(*epochs)


def test_the_order_is_the_same_for_good():
  # Of NumPy's frozen stream, computed by it alone.
  wanted = np.random.RandomState([4, 0]).permutation(9)[3:6]
  found = batches.order(1, num_examples=9, batch_size=3, seed=4)
  np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize('n', [1, 4, 5, 9])
def test_evaluation_counts_every_example_once(n):
  split = batches.Arrays(
    np.arange(n, dtype=np.float32)[:, None], np.arange(n, dtype=np.int32)
  )
  seen = []
  for inputs, labels, mask in batches.in_order(split, 4):
    assert len(inputs) == len(labels) == len(mask) == 4
    np.testing.assert_array_equal(inputs[:, 0], labels)
    seen += list(labels[mask])
  assert seen == list(range(n))


@pytest.mark.parametrize('memory', [0, 1 << 30])
@pytest.mark.parametrize('size', [16, 12])
def test_images_are_what_resizing_gives(monkeypatch, tmp_path, size, memory):
  monkeypatch.setattr(batches, '_MEMORY_BYTES', memory)
  monkeypatch.setattr(batches, '_CHUNK', 3)
  images = small.make_images(8)
  examples = arrays.make_examples(images, np.arange(8, dtype=np.int32))
  indices = np.array([0, 2, 3, 6, 7])
  split = batches.load_images(
    examples, indices, size=size, method='bilinear', folder=tmp_path
  )
  assert isinstance(split.inputs, np.memmap) == (memory == 0)
  assert split.inputs.dtype == (np.uint8 if size == 16 else np.float32)
  wanted = [tasks.resize(images[i], size=size) for i in indices]
  np.testing.assert_array_equal(split.inputs, np.stack(wanted))
  np.testing.assert_array_equal(split.labels, indices)
  # Even a kill leaves no file behind, as it has no name.
  assert not list(tmp_path.iterdir())


def test_images_of_mixed_sizes_widen_to_f32(monkeypatch, tmp_path):
  monkeypatch.setattr(batches, '_CHUNK', 2)
  images = [
    *small.make_images(2),
    *small.make_images(2, size=20),
    *small.make_images(1),
  ]
  examples = tasks.Examples(
    labels=np.arange(5, dtype=np.int32),
    fingerprint='mixed',
    opener=lambda indices: ((lambda i=i: images[i]) for i in indices),
  )
  split = batches.load_images(
    examples, np.arange(5), size=16, method='bilinear', folder=tmp_path
  )
  wanted = np.stack([tasks.resize(image, size=16) for image in images])
  np.testing.assert_array_equal(split.inputs, wanted)
