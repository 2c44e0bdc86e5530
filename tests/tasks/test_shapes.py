# SPDX-License-Identifier: Apache-2.0
import matplotlib.path
import numpy as np
import pytest

from neucrab_jax.tasks import shapes


@pytest.mark.parametrize('name', shapes.SHAPES)
def test_a_polygon_holds_the_pixels_that_matplotlib_says(name):
  random = np.random.RandomState(3)
  vertices = shapes._place(np.array(shapes.SHAPES[name]), random)
  ticks = 16 * np.arange(128) + 8
  # No vertex lies on a middle of a pixel: then who holds it is no question.
  vertices += (vertices % 16 == 8).astype(int)
  middles = np.stack(np.meshgrid(ticks, ticks), axis=-1).reshape(-1, 2)
  path = matplotlib.path.Path(vertices, closed=False)
  expected = path.contains_points(middles).reshape(128, 128)
  found = shapes._inside(vertices)
  assert 300 < found.sum() < 128**2 / 2
  # Rounding decides for matplotlib where an edge meets a middle exactly.
  assert (found != expected).sum() <= 4


def test_a_shape_stays_within_the_canvas():
  random = np.random.RandomState(0)
  outside = [
    np.abs(shapes._place(np.array(vertices), random) / 16 - 64).max() > 64
    for vertices in shapes.SHAPES.values()
    for _ in range(200)
  ]
  # A corner of the largest may leave it.
  assert np.mean(outside) < 0.1


def test_turns_are_turns():
  cosine, sine = shapes._COSINES, np.roll(shapes._COSINES, 16)
  np.testing.assert_allclose(
    np.hypot(cosine, sine), shapes._ONE, rtol=0, atol=1
  )
  # Nowhere could another last bit of the cosine change what it is rounded to.
  exact = shapes._ONE * np.cos(np.arange(64) * (2 * np.pi / 64))
  assert np.abs(exact - np.floor(exact) - 0.5).min() > 1e-6
  angles = np.arctan2(sine, cosine)
  np.testing.assert_allclose(
    np.diff(np.unwrap(angles)), 2 * np.pi / 64, atol=1e-3
  )


def test_images_of_a_shape_differ():
  random = np.random.RandomState(1)
  vertices = np.array(shapes.SHAPES['star'])
  images = [shapes._draw_image(vertices, random) for _ in range(20)]
  assert len({image.tobytes() for image in images}) == 20
  assert min(image.std() for image in images) > 5
