# SPDX-License-Identifier: Apache-2.0
"""Resizing on the host, with the pixels TensorFlow would give.

A checkpoint was trained on one way of resizing, most of them on TensorFlow's:
its plain bilinear looks at two pixels per axis, however much it shrinks, while
Pillow's and PyTorch's average over all of them (antialias). Scaling to a
network's value range is left to the device.

Axes: H height, W width.
"""

import numpy as np
from PIL import Image

from neucrab_jax.tasks import spelling


def _two_taps(channel: Image.Image, size: int) -> Image.Image:
  """tf.image.resize(method='bilinear', antialias=False)."""
  # An affine map samples at half-pixel centres and repeats the border.
  across, down = channel.width / size, channel.height / size
  return channel.transform(
    (size, size),
    Image.Transform.AFFINE,
    (across, 0, 0, 0, down, 0),
    Image.Resampling.BILINEAR,
  )


def _bilinear_antialias(channel: Image.Image, size: int) -> Image.Image:
  """tf.image.resize(method='bilinear', antialias=True)."""
  return channel.resize((size, size), Image.Resampling.BILINEAR)


def _bicubic(channel: Image.Image, size: int) -> Image.Image:
  """tf.image.resize(method='bicubic', antialias=True)."""
  return channel.resize((size, size), Image.Resampling.BICUBIC)


# Each takes a Pillow image of mode 'F' and the new size.
_METHODS = {
  'bilinear': _two_taps,
  'bilinear_antialias': _bilinear_antialias,
  'bicubic': _bicubic,
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
  resized = np.empty((size, size, 3), np.float32)
  for channel in range(3):
    values = Image.fromarray(image[:, :, channel].astype(np.float32))
    resized[:, :, channel] = _METHODS[method](values, size)
  # Bicubic overshoots at edges.
  return np.clip(resized, 0, 255, out=resized)
