# SPDX-License-Identifier: Apache-2.0
"""Resizing on the host, with the pixels TensorFlow would give.

A checkpoint was trained on one way of resizing, most of them on TensorFlow's:
its plain bilinear looks at two pixels per axis, however much it shrinks, while
Pillow's and PyTorch's average over all of them (antialias). Scaling to a
network's value range is left to the device.

Axes: H height, W width.
"""

import functools

import cv2
import numpy as np
from PIL import Image

from neucrab_jax import spelling

# The share of an image's side that slim looks at when it evaluates.
_CENTRAL = 0.875


def _bilinear(image: np.ndarray, size: int) -> np.ndarray:
  """tf.image.resize(method='bilinear', antialias=False)."""
  values = image.astype(np.float32)
  return cv2.resize(values, (size, size), interpolation=cv2.INTER_LINEAR)


def _resample(
  image: np.ndarray, size: int, *, kernel: Image.Resampling
) -> np.ndarray:
  """tf.image.resize(antialias=True), which took its kernels from Pillow."""
  resized = np.empty((size, size, 3), np.float32)
  for channel in range(3):
    values = Image.fromarray(image[:, :, channel].astype(np.float32))
    resized[:, :, channel] = np.asarray(values.resize((size, size), kernel))
  # Bicubic overshoots at edges.
  return np.clip(resized, 0, 255, out=resized)


def _from_corner(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
  """TensorFlow 1's resize_bilinear, which aligns the first corners."""
  for axis, size in enumerate(shape):
    old = image.shape[axis]
    positions = np.arange(size, dtype=np.float32) * np.float32(old / size)
    weights = np.expand_dims(positions % 1, [1 - axis, 2])
    before = positions.astype(int)
    after = np.minimum(before + 1, old - 1)
    first = np.take(image, before, axis).astype(np.float32)
    image = first + (np.take(image, after, axis) - first) * weights
  return image


def _slim_inception(image: np.ndarray, size: int) -> np.ndarray:
  """slim's inception_preprocessing for evaluation: the central 87.5 %."""
  height, width = image.shape[:2]
  top, left = int(height * (1 - _CENTRAL) / 2), int(width * (1 - _CENTRAL) / 2)
  cropped = image[top : height - top, left : width - left]
  return _from_corner(cropped, (size, size))


def _slim_vgg(image: np.ndarray, size: int) -> np.ndarray:
  """slim's vgg_preprocessing for evaluation: the centre at its own aspect."""
  scale = round(size / _CENTRAL) / min(image.shape[:2])
  height, width = (round(side * scale) for side in image.shape[:2])
  top, left = (height - size) // 2, (width - size) // 2
  resized = _from_corner(image, (height, width))
  return resized[top : top + size, left : left + size]


_METHODS = {
  'bilinear': _bilinear,
  'bilinear_antialias': functools.partial(
    _resample, kernel=Image.Resampling.BILINEAR
  ),
  'bicubic': functools.partial(_resample, kernel=Image.Resampling.BICUBIC),
  'slim_inception': _slim_inception,
  'slim_vgg': _slim_vgg,
}
# These crop what has the right size already, too.
_CROPPING = ('slim_inception', 'slim_vgg')


def resize(
  image: np.ndarray, size: int = 224, method: str = 'bilinear'
) -> np.ndarray:
  """Resizes an image to a square, unless told otherwise without its aspect.

  Args:
    image: [H, W, 3] uint8
    size: the new height and width, in pixels.
    method: 'bilinear' (no antialias, as TF's), 'bilinear_antialias' or
      'bicubic' (with antialias), all of the whole image; 'slim_inception' or
      'slim_vgg', as TF-slim evaluates its networks: of the central 87.5 % of
      both sides, or of the central square of 87.5 % of the shorter one.

  Returns:
    [size, size, 3] float32 from 0 to 255; or the given image itself, uint8, if
    it has that size already.

  Raises:
    ValueError: if the method is unknown.
  """
  if method not in _METHODS:
    raise spelling.unknown('resize method', method, _METHODS)
  if image.shape[:2] == (size, size) and method not in _CROPPING:
    return image
  return _METHODS[method](image, size)
