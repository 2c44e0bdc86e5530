# SPDX-License-Identifier: Apache-2.0
import functools
import itertools

import jax
import numpy as np
import pytest

from experiments import sources

NAMES = ('glyphs', 'textures', 'scenes', 'mixed')
# Crosses from one internal chunk into the next.
NUM_EXAMPLES = 700


@functools.cache
def draw(name):
  return sources.draw(name, key=jax.random.key(1), num_examples=NUM_EXAMPLES)


@pytest.fixture(scope='module', params=NAMES)
def drawn(request):
  return request.param, *draw(request.param)


def test_images_and_labels_have_their_types(drawn):
  _, images, labels = drawn
  size = sources.IMAGE_SIZE
  assert images.shape == (NUM_EXAMPLES, size, size, 3)
  assert images.dtype == np.uint8
  assert labels.shape == (NUM_EXAMPLES,)
  assert labels.dtype == np.int32


def test_labels_are_in_range_and_use_most_classes(drawn):
  name, _, labels = drawn
  assert labels.min() >= 0
  assert labels.max() < sources.num_classes(name)
  assert len(np.unique(labels)) > 0.9 * sources.num_classes(name)


def test_fewer_examples_of_a_key_are_the_first_of_more(drawn):
  name, images, labels = drawn
  few = sources.draw(name, key=jax.random.key(1), num_examples=10)
  np.testing.assert_array_equal(images[:10], few[0])
  np.testing.assert_array_equal(labels[:10], few[1])


def test_another_key_gives_other_examples(drawn):
  name, images, labels = drawn
  other = sources.draw(name, key=jax.random.key(2), num_examples=10)
  assert (images[:10] != other[0]).any(axis=(1, 2, 3)).all()
  assert (labels[:10] != other[1]).any()


def test_no_example_is_drawn_twice(drawn):
  _, images, _ = drawn
  assert len({image.tobytes() for image in images}) == NUM_EXAMPLES


def test_images_are_neither_blank_nor_saturated(drawn):
  _, images, _ = drawn
  assert (images.std(axis=(1, 2, 3)) > 5).mean() > 0.95
  assert 40 < images.mean() < 215


def test_classes_differ(drawn):
  """The nearest neighbour by spectrum and colour is often of the same class."""
  name, images, labels = drawn
  spectra = np.abs(np.fft.rfft2(images, axes=(1, 2)))
  spectra = np.log1p(spectra).reshape(NUM_EXAMPLES, -1)
  spectra -= spectra.mean(axis=0)
  spectra /= np.linalg.norm(spectra, axis=1, keepdims=True)
  similarity = spectra @ spectra.T
  np.fill_diagonal(similarity, -1)
  accuracy = (labels[similarity.argmax(1)] == labels).mean()
  assert accuracy > 2 / sources.num_classes(name)


def test_sources_differ():
  drawn = [draw(name)[0] for name in NAMES]
  for one, other in itertools.combinations(drawn, 2):
    assert (one != other).any()
