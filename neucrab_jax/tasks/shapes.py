# SPDX-License-Identifier: Apache-2.0
"""A bundled task that is made, not found: which of ten shapes is in the image?

A shape is a polygon, of any size, place and colour, turned by up to an eighth
of a circle and stretched; the ground is a coloured gradient with noise, and
thin lines cross both.

Axes: N examples, H height, W width, V vertices, E edges.
"""

import functools

import numpy as np

from neucrab_jax.tasks import bundled
from neucrab_jax.tasks import task as task_lib

# Vertices (across, down) of each shape, in −12…12.
SHAPES = {
  'triangle': ((0, -12), (11, 8), (-11, 8)),
  'kite': ((0, -12), (8, -3), (0, 12), (-8, -3)),
  'house': ((0, -12), (9, -3), (9, 10), (-9, 10), (-9, -3)),
  'arrow': (
    (0, -12), (9, -2), (3, -2), (3, 12), (-3, 12), (-3, -2), (-9, -2),
  ),
  'cross': (
    (-3, -11), (3, -11), (3, -3), (11, -3), (11, 3), (3, 3), (3, 11),
    (-3, 11), (-3, 3), (-11, 3), (-11, -3), (-3, -3),
  ),
  'star': (
    (0, -12), (3, -4), (12, -4), (5, 2), (7, 10), (0, 5), (-7, 10), (-5, 2),
    (-12, -4), (-3, -4),
  ),
  'bolt': ((3, -12), (-8, 2), (-1, 2), (-4, 12), (8, -3), (1, -3)),
  'angle': ((-9, -11), (-3, -11), (-3, 5), (10, 5), (10, 11), (-9, 11)),
  'gate': (
    (-10, 10), (-10, -10), (10, -10), (10, 10), (5, 10), (5, -5), (-5, -5),
    (-5, 10),
  ),
  'hourglass': ((-9, -11), (9, -11), (2, 0), (9, 11), (-9, 11), (-2, 0)),
}  # fmt: skip

# These numbers and the seeds make the task: they are fixed for good.
_SEEDS = {'train': 0, 'validation': 1, 'test': 2}
# Shapes are drawn so many times as large and then averaged: smooth edges.
_FINENESS = 4
_CANVAS = bundled.IMAGE_SIZE * _FINENESS
_TURNS = 64  # To a full circle; so many sixty-fourths at most, either way.
_MOST_TURNS = 8
# Cosines of the turns, in 4096ths: none is so near a half that a last bit of
# the cosine could round it the other way.
_ONE = 4096
_COSINES = np.rint(
  _ONE * np.cos(np.arange(_TURNS) * (2 * np.pi / _TURNS))
).astype(np.int64)
# Pixels of the canvas to a unit of the vertices, in 16ths; for either axis.
_SCALES = (38, 62)
_SIXTEENTHS = 16
_SHIFT = 20  # Pixels of the canvas, either way.
_MOST_LINES = 2

# Ground and shape differ by 36 at least, of 255; some images are inverted.
_GROUND = (20, 120)
_INK = (156, 246)
_NOISE = 10


def _inside(vertices: np.ndarray) -> np.ndarray:
  """Which pixels of the canvas a polygon [V, 2] holds, by counting crossings.

  Vertices are in pixels times `_SIXTEENTHS`; all is in integers.
  """
  ticks = _SIXTEENTHS * np.arange(_CANVAS) + _SIXTEENTHS // 2
  across, down = ticks[np.newaxis, :], ticks[:, np.newaxis]
  inside = np.zeros((_CANVAS, _CANVAS), bool)
  for (x0, y0), (x1, y1) in zip(
    vertices, np.roll(vertices, -1, axis=0), strict=True
  ):
    if y0 == y1:
      continue
    # To the right of a pixel: the sign of a cross product.
    side = (x1 - x0) * (down - y0) - (across - x0) * (y1 - y0)
    spans = (y0 > down) != (y1 > down)
    inside ^= spans & ((side > 0) if y1 > y0 else (side < 0))
  return inside


def _place(vertices: np.ndarray, random: np.random.RandomState) -> np.ndarray:
  """Stretches, turns and shifts a shape: [V, 2] in 16ths of canvas pixels."""
  stretched = vertices * random.randint(_SCALES[0], _SCALES[1] + 1, size=2)
  turn = random.randint(-_MOST_TURNS, _MOST_TURNS + 1)
  cosine = _COSINES[turn % _TURNS]
  sine = _COSINES[(turn - _TURNS // 4) % _TURNS]
  turned = stretched @ np.array([[cosine, sine], [-sine, cosine]])
  middle = _CANVAS // 2 + random.randint(-_SHIFT, _SHIFT + 1, size=2)
  return turned // _ONE + _SIXTEENTHS * middle


def _draw_line(random: np.random.RandomState) -> np.ndarray:
  """A thin line between two places: a polygon [4, 2] as `_place` gives it."""
  ends = random.randint(_CANVAS, size=(2, 2)) * _SIXTEENTHS
  width = np.array([[2, -2]]) * _SIXTEENTHS
  return np.concatenate([ends, ends[::-1] + width])


def _draw_ground(random: np.random.RandomState) -> np.ndarray:
  """A gradient between four coloured corners, with noise: [H, W, 3]."""
  corners = random.randint(*_GROUND, size=(2, 2, 3))
  last = bundled.IMAGE_SIZE - 1
  ramp = np.stack([last - np.arange(last + 1), np.arange(last + 1)])
  ground = np.einsum('yxc,yh,xw->hwc', corners, ramp, ramp) // last**2
  return ground + random.randint(-_NOISE, _NOISE + 1, size=ground.shape)


def _paint(
  image: np.ndarray, mask: np.ndarray, colour: np.ndarray
) -> np.ndarray:
  """Paints what a mask of the canvas covers of each pixel."""
  size = bundled.IMAGE_SIZE
  cover = mask.reshape(size, _FINENESS, size, _FINENESS).sum((1, 3))
  cover = cover[:, :, np.newaxis]
  return (cover * colour + (_FINENESS**2 - cover) * image) // _FINENESS**2


def _draw_image(
  vertices: np.ndarray, random: np.random.RandomState
) -> np.ndarray:
  """Draws one image, in integers: [H, W, 3] uint8."""
  image = _draw_ground(random)
  ink = random.randint(*_INK, size=3)
  image = _paint(image, _inside(_place(vertices, random)), ink)
  for _ in range(random.randint(_MOST_LINES + 1)):
    colour = random.randint(_GROUND[0], _INK[1], size=3)
    image = _paint(image, _inside(_draw_line(random)), colour)
  image = np.clip(image, 0, 255)
  return (255 - image if random.randint(2) else image).astype(np.uint8)


@functools.cache
def _draw(split: str) -> bundled.Drawn:
  polygons = [np.array(vertices) for vertices in SHAPES.values()]
  random = np.random.RandomState(_SEEDS[split])
  labels = bundled.balanced_labels(bundled.SIZES[split], len(polygons))
  images = np.stack([_draw_image(polygons[i], random) for i in labels])
  return images, labels


def load() -> task_lib.Task:
  """The task `shapes`, of ten classes."""
  return bundled.make_task('shapes', tuple(SHAPES), _draw)
