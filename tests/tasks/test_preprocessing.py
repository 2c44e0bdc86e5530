# SPDX-License-Identifier: Apache-2.0
"""Resizing against TensorFlow's."""

import numpy as np
import pytest
from PIL import Image

from neucrab_jax import tasks

# Height, width and new size: up, down, both, not square, tiny, nearly equal.
SIZES = [
  (32, 32, 224),
  (96, 96, 224),
  (300, 200, 224),
  (37, 501, 224),
  (500, 375, 299),
  (224, 223, 224),
  (8, 8, 32),
  (1, 1, 16),
  (1, 7, 16),
  (640, 480, 32),
  (3, 2, 224),
  (33, 65, 17),
  (448, 448, 224),
  (2, 2, 1),
]

# How each method is called in TensorFlow, and how near ours is, of 255:
# OpenCV and Pillow round positions in f64 and TensorFlow in f32.
METHODS = {
  'bilinear': ({'method': 'bilinear', 'antialias': False}, 2e-2),
  'bilinear_antialias': ({'method': 'bilinear', 'antialias': True}, 2e-2),
  'bicubic': ({'method': 'bicubic', 'antialias': True}, 2e-2),
}


def make_image(height, width):
  rng = np.random.default_rng(height * 1000 + width)
  return rng.integers(0, 256, (height, width, 3)).astype(np.uint8)


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize(('height', 'width', 'size'), SIZES)
def test_the_pixels_are_tensorflows(height, width, size, method):
  import tensorflow as tf

  image = make_image(height, width)
  arguments, tolerance = METHODS[method]
  # Bicubic overshoots; an image stays within its range.
  expected = np.clip(tf.image.resize(image, (size, size), **arguments), 0, 255)
  resized = tasks.resize(image, size, method)
  assert resized.dtype == np.float32
  np.testing.assert_allclose(resized, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize('method', METHODS)
def test_an_image_of_that_size_is_left_alone(method):
  image = make_image(16, 16)
  assert tasks.resize(image, 16, method) is image


@pytest.mark.parametrize('method', METHODS)
def test_the_given_image_is_not_changed(method):
  image = make_image(16, 20)
  before = image.copy()
  tasks.resize(image, 32, method)
  np.testing.assert_array_equal(image, before)


def test_an_unknown_method():
  with pytest.raises(ValueError, match=r"'bilinaer'.*mean 'bilinear'.*cubic"):
    tasks.resize(make_image(4, 4), 8, 'bilinaer')


def slim_inception(image, size):
  """slim's preprocess_for_eval for Inception, by TensorFlow's operations."""
  import tensorflow as tf

  cropped = tf.image.central_crop(image, central_fraction=0.875)
  return tf.compat.v1.image.resize_bilinear(cropped[None], [size, size])[0]


def slim_vgg(image, size):
  """slim's preprocess_for_eval for VGG, by TensorFlow's operations."""
  import tensorflow as tf

  scale = round(size / 0.875) / min(image.shape[:2])
  shape = [round(side * scale) for side in image.shape[:2]]
  resized = tf.compat.v1.image.resize_bilinear(image[None], shape)[0]
  top, left = ((side - size) // 2 for side in shape)
  return tf.image.crop_to_bounding_box(resized, top, left, size, size)


@pytest.mark.parametrize('oracle', [slim_inception, slim_vgg])
@pytest.mark.parametrize(
  ('height', 'width', 'size'),
  [
    (300, 200, 224),
    (500, 375, 299),
    (224, 224, 224),
    (37, 501, 224),
    (8, 9, 16),
  ],
)
def test_crops_as_slim_does(height, width, size, oracle):
  image = make_image(height, width)
  resized = tasks.resize(image, size, oracle.__name__)
  assert resized.shape == (size, size, 3)
  assert resized.dtype == np.float32
  np.testing.assert_allclose(resized, oracle(image, size), rtol=0, atol=2e-2)


@pytest.mark.parametrize(
  ('shape', 'method', 'resized', 'corner'),
  [
    ((40, 60), 'bicubic/shorter=32', (48, 32), (12, 4)),
    ((61, 40), 'bilinear/shorter=30', (30, 45), (3, 10)),
    ((40, 60), 'bicubic/square=24', (24, 24), (0, 0)),
    ((24, 24), 'lanczos/square=28', (28, 28), (2, 2)),
    ((24, 24), 'bicubic/shorter=24', (24, 24), (0, 0)),
  ],
)
def test_pytorchs_pixels_are_pillows(shape, method, resized, corner):
  image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
  kernel = Image.Resampling[method.split('/')[0].upper()]
  expected = Image.fromarray(image).resize(resized, kernel)
  left, top = corner
  expected = expected.crop((left, top, left + 24, top + 24))
  found = tasks.resize(image, 24, method)
  assert found.dtype == np.uint8
  np.testing.assert_array_equal(found, np.asarray(expected))


def test_an_image_smaller_than_its_crop_gets_a_black_edge():
  image = np.full((9, 9, 3), 7, np.uint8)
  found = tasks.resize(image, 11, 'bicubic/shorter=9')
  assert found.shape == (11, 11, 3)
  assert (found[1:-1, 1:-1] == 7).all()
  assert found.sum() == image.sum()


@pytest.mark.parametrize(
  'method', ['bicubic/longer=3', 'cubic/shorter=3', 'bicubic/shorter=0']
)
def test_odd_methods_of_pytorch_are_unknown(method):
  with pytest.raises(ValueError, match='resize method'):
    tasks.resize(np.zeros((4, 4, 3), np.uint8), 3, method)
