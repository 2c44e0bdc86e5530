# SPDX-License-Identifier: Apache-2.0
"""A bundled task that is made, not found: how many discs are in the image?

Discs do not touch; their sizes, places and colours vary, the ground is a
coloured gradient with noise, and squares among them do not count.

Axes: N examples, H height, W width.
"""

import functools

import numpy as np

from neucrab_jax.tasks import bundled
from neucrab_jax.tasks import task as task_lib

_MOST_DISCS = 6

# These numbers and the seeds make the task: they are fixed for good.
_SEEDS = {'train': 0, 'validation': 1, 'test': 2}
_MOST_SQUARES = 3
# Shapes are drawn so many times as large and then averaged: smooth edges.
_FINENESS = 4
_CANVAS = bundled.IMAGE_SIZE * _FINENESS
# In pixels of the canvas: half the width of a shape, the space around it.
_SMALLEST, _LARGEST = 7, 11
_SPACE = 5  # More than a pixel: no two discs run into one.
# After so many misses the image is too full, and its layout is drawn anew.
_ATTEMPTS = 100

# Before the noise, ground and shapes differ by over 46 of 255. Half of the
# images are inverted.
_GROUND = (20, 110)
_SHAPE = (156, 246)
_NOISE = 12


def _place(
  reaches: np.ndarray, random: np.random.RandomState
) -> np.ndarray | None:
  """Places circles apart: centres [n, 2] on the canvas, or None if too full.

  Args:
    reaches: [n] their radii.
    random: where the centres come from.
  """
  centres = np.empty((len(reaches), 2), np.int64)
  for index, reach in enumerate(reaches):
    for _ in range(_ATTEMPTS):
      centre = random.randint(reach, _CANVAS + 1 - reach, size=2)
      distances = ((centres[:index] - centre) ** 2).sum(1)
      if (distances >= (reaches[:index] + reach + _SPACE) ** 2).all():
        centres[index] = centre
        break
    else:
      return None
  return centres


def _draw_layout(
  is_disc: np.ndarray, random: np.random.RandomState
) -> tuple[np.ndarray, np.ndarray]:
  """Draws half the widths [n] of discs and squares, and centres [n, 2]."""
  while True:
    halves = random.randint(_SMALLEST, _LARGEST + 1, size=len(is_disc))
    # The corners of a square are √2, less than 3/2, times as far.
    reaches = np.where(is_disc, halves, (3 * halves + 1) // 2)
    centres = _place(reaches, random)
    if centres is not None:
      return halves, centres


def _draw_ground(random: np.random.RandomState) -> np.ndarray:
  """A gradient between four coloured corners, with noise: [H, W, 3]."""
  corners = random.randint(*_GROUND, size=(2, 2, 3))
  last = bundled.IMAGE_SIZE - 1
  ramp = np.stack([last - np.arange(last + 1), np.arange(last + 1)])
  ground = np.einsum('yxc,yh,xw->hwc', corners, ramp, ramp) // last**2
  return ground + random.randint(-_NOISE, _NOISE + 1, size=ground.shape)


def _draw_image(num_discs: int, random: np.random.RandomState) -> np.ndarray:
  """Draws one image, in integers: [H, W, 3] uint8."""
  num_squares = random.randint(_MOST_SQUARES + 1)
  is_disc = np.arange(num_discs + num_squares) < num_discs
  halves, centres = _draw_layout(is_disc, random)
  colours = random.randint(*_SHAPE, size=(len(is_disc), 3))
  image = _draw_ground(random)
  size = bundled.IMAGE_SIZE
  pixels = np.arange(_CANVAS)
  for centre, half, disc, colour in zip(
    centres, halves, is_disc, colours, strict=True
  ):
    # Twice the distances to the middles of the pixels, to stay in integers.
    down = np.abs(2 * (pixels - centre[0]) + 1)[:, np.newaxis]
    across = np.abs(2 * (pixels - centre[1]) + 1)
    if disc:
      mask = down**2 + across**2 <= (2 * half) ** 2
    else:
      mask = np.maximum(down, across) <= 2 * half
    cover = mask.reshape(size, _FINENESS, size, _FINENESS).sum((1, 3))
    cover = cover[:, :, np.newaxis]
    image = (cover * colour + (_FINENESS**2 - cover) * image) // _FINENESS**2
  return (255 - image if random.randint(2) else image).astype(np.uint8)


@functools.cache
def _draw() -> bundled.Splits:
  splits = {}
  for split, size in bundled.SIZES.items():
    random = np.random.RandomState(_SEEDS[split])
    labels = bundled.balanced_labels(size, _MOST_DISCS)
    images = np.stack([_draw_image(label + 1, random) for label in labels])
    splits[split] = images, labels
  return splits


def load() -> task_lib.Task:
  """The task `counting`: one to six discs."""
  names = tuple(str(count + 1) for count in range(_MOST_DISCS))
  return bundled.make_task('counting', names, _draw)
