# SPDX-License-Identifier: Apache-2.0
"""Resizing on the host, with the pixels TensorFlow would give.

A checkpoint was trained on one way of resizing, most of them on TensorFlow's:
its plain bilinear looks at two pixels per axis, however much it shrinks, while
Pillow's and PyTorch's average over all of them (antialias). Scaling to a
network's value range is left to the device.

Axes: H height, W width.
"""

import functools

import numpy as np
from PIL import Image

from neucrab_jax import spelling


def _two_taps(old_size: int, new_size: int):
  """The two pixels per new pixel of one axis, and the second's weight.

  In float32 throughout, as TensorFlow does: at 500 pixels the rounding of a
  position is worth 0.01 of 255.
  """
  scale = np.float32(old_size) / np.float32(new_size)
  half = np.float32(0.5)
  position = (np.arange(new_size, dtype=np.float32) + half) * scale - half
  floor = np.floor(position)
  low = np.maximum(floor, 0).astype(np.intp)
  high = np.minimum(np.ceil(position), old_size - 1).astype(np.intp)
  return low, high, position - floor


@functools.lru_cache(maxsize=32)
def _corners(height: int, width: int, size: int):
  """Where each new pixel's four old ones are, and the weights between them.

  Kept, because the images of a task are often of few sizes.

  Returns:
    [2, 2, size, size] flat positions of top and bottom, left and right; the
    weights of the right ones, [3 · size], and of the lower ones, [size, 1].
  """
  top, bottom, down = _two_taps(height, size)
  left, right, across = _two_taps(width, size)
  rows, columns = np.stack([top, bottom]), np.stack([left, right])
  positions = rows[:, None, :, None] * width + columns[:, None, :]
  return positions, np.repeat(across, 3), down[:, None]


def _interpolate(first, second, weight):
  """first + (second - first) · weight, in the place of `second`."""
  second -= first
  second *= weight
  second += first
  return second


def _bilinear(image: np.ndarray, size: int) -> np.ndarray:
  """tf.image.resize(method='bilinear', antialias=False)."""
  positions, across, down = _corners(*image.shape[:2], size)
  corners = image.reshape(-1, 3).take(positions, axis=0)
  corners = corners.reshape(2, 2, size, 3 * size).astype(np.float32)
  upper, lower = _interpolate(corners[:, 0], corners[:, 1], across)
  return _interpolate(upper, lower, down).reshape(size, size, 3)


def _resample(
  image: np.ndarray, size: int, *, kernel: Image.Resampling
) -> np.ndarray:
  """tf.image.resize(antialias=True), which took its kernels from Pillow."""
  resized = np.empty((size, size, 3), np.float32)
  for channel in range(3):
    values = Image.fromarray(image[:, :, channel].astype(np.float32))
    resized[:, :, channel] = values.resize((size, size), kernel)
  # Bicubic overshoots at edges.
  return np.clip(resized, 0, 255, out=resized)


_METHODS = {
  'bilinear': _bilinear,
  'bilinear_antialias': functools.partial(
    _resample, kernel=Image.Resampling.BILINEAR
  ),
  'bicubic': functools.partial(_resample, kernel=Image.Resampling.BICUBIC),
}


def resize(
  image: np.ndarray, size: int = 224, method: str = 'bilinear'
) -> np.ndarray:
  """Resizes an image to a square, without keeping its aspect.

  Args:
    image: [H, W, 3] uint8
    size: the new height and width, in pixels.
    method: 'bilinear' (no antialias, as TF's), 'bilinear_antialias', or
      'bicubic' (with antialias).

  Returns:
    [size, size, 3] float32 from 0 to 255; or the given image itself, uint8, if
    it has that size already.

  Raises:
    ValueError: if the method is unknown.
  """
  if method not in _METHODS:
    raise spelling.unknown('resize method', method, _METHODS)
  if image.shape[:2] == (size, size):
    return image
  return _METHODS[method](image, size)
