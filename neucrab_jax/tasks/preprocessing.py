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
