# SPDX-License-Identifier: Apache-2.0
"""Resizing on the host, with the pixels TensorFlow would give.

A checkpoint was trained on one way of resizing, most of them on TensorFlow's:
its plain bilinear looks at two pixels per axis, however much it shrinks, while
Pillow's and PyTorch's average over all of them (antialias). Scaling to a
network's value range is left to the device.

Axes: H height, W width.
"""

import functools
from collections.abc import Callable

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


def _like_torchvision(
  image: np.ndarray, size: int, *, how: str, side: int, kernel: str
) -> np.ndarray:
  """PyTorch's transforms of Pillow's images: resize, and cut the centre.

  Args:
    image: [H, W, 3] uint8
    size: of the centre that is cut; zeros beyond the image.
    how: 'shorter' for the shorter side, 'square' for both.
    side: what they become.
    kernel: of Pillow.
  """
  height, width = image.shape[:2]
  if how == 'square':
    shape = (side, side)
  elif width <= height:
    shape = (side, int(side * height / width))
  else:
    shape = (int(side * width / height), side)
  if shape != (width, height):
    resampling = Image.Resampling[kernel.upper()]
    image = np.asarray(Image.fromarray(image).resize(shape, resampling))
  most = [max(size - length, 0) for length in image.shape[:2]]
  if any(most):
    before = [(length // 2, length - length // 2) for length in most]
    image = np.pad(image, [*before, (0, 0)])
  # Python rounds a half to the even number, as PyTorch does.
  top, left = (round((length - size) / 2) for length in image.shape[:2])
  return image[top : top + size, left : left + size]


# Of the methods that name a kernel and a side.
_HOWS = ('shorter', 'square')
_KERNELS = ('nearest', 'box', 'bilinear', 'hamming', 'bicubic', 'lanczos')
_MOST_PIXELS = 1 << 14


@functools.cache
def _parse(method: str) -> Callable[..., np.ndarray] | None:
  """The method of 'KERNEL/shorter=SIDE' or 'KERNEL/square=SIDE'."""
  kernel, _, rest = method.partition('/')
  how, _, side = rest.partition('=')
  if kernel not in _KERNELS or how not in _HOWS or not side.isdecimal():
    return None
  if not 1 <= int(side) <= _MOST_PIXELS:
    return None
  return functools.partial(
    _like_torchvision, how=how, side=int(side), kernel=kernel
  )


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


def gives_uint8(method: str) -> bool:
  """Whether images of all sizes are uint8 when they are resized.

  >>> gives_uint8('bicubic/shorter=256'), gives_uint8('bilinear')
  (True, False)
  """
  return _parse(method) is not None


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
      both sides, or of the central square of 87.5 % of the shorter one;
      'KERNEL/shorter=SIDE' or 'KERNEL/square=SIDE', as PyTorch's libraries do:
      Pillow resizes the shorter side, or both, and the centre is cut; KERNEL is
      'bicubic', 'bilinear', 'lanczos', 'box', 'hamming' or 'nearest'.

  Returns:
    [size, size, 3] float32 from 0 to 255; or uint8, by PyTorch's methods, and
    the given image itself if it has that size already.

  Raises:
    ValueError: if the method is unknown.
  """
  of_pytorch = _parse(method)
  if of_pytorch is not None:
    return of_pytorch(image, size)
  if method not in _METHODS:
    raise spelling.unknown('resize method', method, _METHODS)
  if image.shape[:2] == (size, size) and method not in _CROPPING:
    return image
  return _METHODS[method](image, size)
