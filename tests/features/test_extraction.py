# SPDX-License-Identifier: Apache-2.0
import threading

import flax.linen as nn
import jax
import numpy as np
import pytest
import small

from neucrab_jax import checkpoints, models, parallel, tasks
from neucrab_jax.features import extraction

# No wait in these tests lasts as long, unless what is waited for never comes.
_PATIENCE = 30


def distance(one, other):
  """Relative L2 distance."""
  return np.linalg.norm(np.float64(one) - other) / np.linalg.norm(other)


def from_decoders(decoders):
  """A split whose images are decoded by the given functions."""
  return tasks.Examples(
    labels=np.arange(len(decoders), dtype=np.int32) % 2,
    fingerprint='decoders',
    opener=lambda indices: (decoders[i] for i in indices),
  )


@pytest.mark.parametrize('num_classes', [None, 4])
@pytest.mark.parametrize(
  'value_range',
  [(-1.0, 1.0), (0.0, 1.0), ((-123.0, -117.0, -104.0), (132.0, 138.0, 151.0))],
)
def test_features_are_what_the_network_gives(num_classes, value_range):
  backbone = small.make_backbone(
    num_classes=num_classes, value_range=value_range
  )
  found = extraction.extract(backbone, small.make_examples(11), batch_size=4)
  low, high = np.float32(value_range)
  images = low + small.make_images(11) / np.float32(255) * (high - low)
  outputs = backbone(images.astype(np.float32))
  assert distance(found.features, outputs.features) < 1e-5
  assert found.features.dtype == np.float32
  np.testing.assert_array_equal(found.labels, np.arange(11) % 3)
  assert found.labels.dtype == np.int32
  if num_classes is None:
    assert found.source_probs is None
  else:
    logits = np.float64(outputs.logits)
    odds = np.exp(logits - logits.max(1, keepdims=True))
    np.testing.assert_allclose(
      found.source_probs, odds / odds.sum(1, keepdims=True), atol=1e-4
    )
    np.testing.assert_allclose(found.source_probs.sum(1), 1, rtol=1e-5)


@pytest.mark.parametrize('method', ['bilinear', 'bicubic'])
def test_images_are_resized_as_the_checkpoint_wants(method):
  backbone = small.make_backbone(resize_method=method)
  examples = small.make_examples(5, size=23)
  resized = np.stack(
    [
      tasks.resize(image, size=small.SIZE, method=method)
      for image in small.make_images(5, size=23)
    ]
  )
  found = extraction.extract(backbone, examples)
  expected = backbone(np.float32(-1) + resized * np.float32(2 / 255))
  assert distance(found.features, expected.features) < 1e-5


@pytest.mark.parametrize('indices', [[0], [2, 3, 7], [10]])
def test_only_the_chosen_examples_are_taken(indices):
  backbone, examples = small.make_backbone(), small.make_examples(11)
  everything = extraction.extract(backbone, examples, batch_size=4)
  some = extraction.extract(
    backbone, examples, indices=np.array(indices), batch_size=4
  )
  assert distance(some.features, everything.features[indices]) < 1e-6
  np.testing.assert_array_equal(some.labels, everything.labels[indices])


@pytest.mark.parametrize('batch_size', [1, 2, 7, 16])
def test_the_batch_size_does_not_matter(batch_size):
  backbone, examples = small.make_backbone(), small.make_examples(13)
  expected = extraction.extract(backbone, examples, batch_size=13)
  found = extraction.extract(backbone, examples, batch_size=batch_size)
  assert distance(found.features, expected.features) < 1e-6
  assert distance(found.source_probs, expected.source_probs) < 1e-6
  np.testing.assert_array_equal(found.labels, expected.labels)


def test_the_same_extraction_gives_the_same_bytes():
  backbone, examples = small.make_backbone(), small.make_examples(13)
  one, other = (
    extraction.extract(backbone, examples, batch_size=4) for _ in range(2)
  )
  assert one.fingerprint() == other.fingerprint()


def test_every_example_is_advanced_past_once():
  counts = []
  extraction.extract(
    small.make_backbone(),
    small.make_examples(11),
    batch_size=4,
    advance=counts.append,
  )
  assert counts == [4, 4, 3]


@pytest.mark.parametrize('batch_size', [0, -1])
def test_the_batch_size_must_be_positive(batch_size):
  with pytest.raises(ValueError, match=f'at least 1, not {batch_size}'):
    extraction.extract(
      small.make_backbone(), small.make_examples(3), batch_size=batch_size
    )


@pytest.mark.parametrize(
  ('devices', 'batch_size', 'rounded'),
  [(1, 7, 7), (2, 7, 8), (8, 1, 8), (8, 64, 64)],
)
def test_every_device_gets_the_same_share(
  monkeypatch, devices, batch_size, rounded
):
  monkeypatch.setattr(jax, 'local_device_count', lambda: devices)
  assert extraction.round_batch_size(batch_size) == rounded


def test_no_examples_are_refused():
  with pytest.raises(ValueError, match='no examples'):
    extraction.extract(
      small.make_backbone(),
      small.make_examples(3),
      indices=np.zeros(0, np.int64),
    )


_TRACED = []


class Counting(nn.Module):
  """Notes the shape of the images every time it is traced."""

  width: int = 2

  @nn.compact
  def __call__(self, images):
    _TRACED.append(images.shape)
    return models.Outputs(nn.Dense(self.width)(images.mean((1, 2))), None)


def make_counting(seed, **changes):
  module = Counting(**changes)
  variables = module.init(
    jax.random.key(seed), np.zeros((1, small.SIZE, small.SIZE, 3))
  )
  return checkpoints.Backbone(
    small.make_checkpoint(name=f'{seed}'), module, variables, f'{seed}'
  )


def test_one_compilation_serves_all_checkpoints_of_an_architecture():
  examples = small.make_examples(11)
  counting = [make_counting(seed, width=3) for seed in range(3)]
  _TRACED.clear()
  results = [
    extraction.extract(backbone, examples, batch_size=4)
    for backbone in counting
  ]
  assert len(_TRACED) == 1
  assert distance(results[0].features, results[1].features) > 0.1


def test_another_batch_size_is_one_more_compilation():
  examples = small.make_examples(11)
  backbone = make_counting(0, width=4)
  _TRACED.clear()
  for batch_size in (4, 8, 4, 8):
    extraction.extract(backbone, examples, batch_size=batch_size)
  assert len(_TRACED) == 2


def test_the_host_decodes_the_next_batch_while_the_devices_run(monkeypatch):
  running, decoded = threading.Event(), threading.Event()
  image = small.make_images(1)[0]
  overlap = []

  def decode_next():
    # Comes back only once the devices are at work on the batch before it.
    assert running.wait(_PATIENCE)
    decoded.set()
    return image

  def forward(variables, images):
    running.set()
    overlap.append(decoded.wait(_PATIENCE))
    return images[..., :2, 0, 0], None

  monkeypatch.setattr(extraction, '_forward', lambda *unused: forward)
  examples = from_decoders([lambda: image, decode_next])
  extraction.extract(small.make_backbone(), examples, batch_size=1)
  assert overlap == [True, True]


def test_two_batches_run_at_once(monkeypatch):
  two = threading.Barrier(2, timeout=_PATIENCE)

  def forward(variables, images):
    two.wait()
    return images[..., :2, 0, 0], None

  monkeypatch.setattr(extraction, '_forward', lambda *unused: forward)
  examples = small.make_examples(4)
  found = extraction.extract(small.make_backbone(), examples, batch_size=1)
  np.testing.assert_array_equal(found.labels, examples.labels)
  images = small.make_images(4)
  np.testing.assert_array_equal(found.features, images[:, :2, 0, 0])


@pytest.mark.parametrize('broken', [0, 5, 10])
def test_an_image_that_cannot_be_decoded_is_the_error(broken):
  def fail():
    raise ValueError('The image is a sandwich.')

  image = small.make_images(1)[0]
  decoders = [lambda: image] * 11
  decoders[broken] = fail
  with pytest.raises(ValueError, match='sandwich'):
    extraction.extract(
      small.make_backbone(), from_decoders(decoders), batch_size=4
    )


def test_no_thread_is_left_behind_by_an_error():
  def fail():
    raise ValueError('The image is a sandwich.')

  before = set(threading.enumerate())
  with pytest.raises(ValueError, match='sandwich'):
    extraction.extract(
      small.make_backbone(), from_decoders([fail] * 40), batch_size=1
    )
  for thread in set(threading.enumerate()) - before:
    thread.join(_PATIENCE)
    assert not thread.is_alive()


@pytest.mark.parametrize('value', [np.nan, np.inf])
def test_a_feature_that_is_no_number_names_checkpoint_and_example(
  monkeypatch, value
):
  def forward(variables, images):
    outputs = images[..., :2, 0, 0].astype(np.float32)
    outputs[images[..., 0, 0, 0] == 7] = value
    return outputs, None

  monkeypatch.setattr(extraction, '_forward', lambda *unused: forward)
  images = np.zeros((5, small.SIZE, small.SIZE, 3), np.uint8)
  images[3] = 7
  examples = from_decoders([lambda image=image: image for image in images])
  with pytest.raises(
    ValueError, match=r'small gives NaN or Inf for 1 of 5 .* number 3'
  ):
    extraction.extract(small.make_backbone(), examples, batch_size=2)


def test_few_examples_are_not_padded_to_a_large_batch(monkeypatch):
  shard, sizes = parallel.shard, []

  def spy(tree, *, batch_size):
    sizes.append(batch_size)
    return shard(tree, batch_size=batch_size)

  monkeypatch.setattr(parallel, 'shard', spy)
  extraction.extract(
    small.make_backbone(), small.make_examples(13), batch_size=128
  )
  assert sizes == [16]
