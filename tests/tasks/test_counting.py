# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from scipy import ndimage

from neucrab_jax.tasks import counting


def draw_images(num_discs, n=40):
  random = np.random.RandomState(5)
  return np.stack(
    [counting._draw_image(num_discs, random) for _ in range(n)]
  ).astype(int)


@pytest.mark.parametrize('num_discs', range(1, 7))
def test_the_label_is_the_number_of_discs(num_discs, monkeypatch):
  monkeypatch.setattr(counting, '_MOST_SQUARES', 0)
  for image in draw_images(num_discs):
    # Grounds and shapes keep their distance from 128, in opposite directions.
    bright = image.mean(2) > 133
    shapes = bright if bright.mean() < 0.5 else image.mean(2) < 122
    assert ndimage.label(shapes)[1] == num_discs


def test_squares_are_there_and_do_not_count():
  numbers = []
  for image in draw_images(2, n=60):
    bright = image.mean(2) > 133
    shapes = bright if bright.mean() < 0.5 else image.mean(2) < 122
    numbers.append(ndimage.label(shapes)[1])
  assert set(numbers) == {2, 3, 4, 5}


def test_shapes_keep_apart_and_within_the_image():
  random = np.random.RandomState(0)
  for _ in range(50):
    is_disc = np.arange(9) < 6
    halves, centres = counting._draw_layout(is_disc, random)
    assert (centres >= halves[:, np.newaxis]).all()
    assert (centres + halves[:, np.newaxis] <= 32 * 4).all()
    distances = np.linalg.norm(centres[:, np.newaxis] - centres, axis=2)
    reaches = np.where(is_disc, halves, halves * np.sqrt(2))
    gaps = distances - reaches - reaches[:, np.newaxis]
    assert gaps[~np.eye(9, dtype=bool)].min() > 0


def test_a_canvas_can_be_too_full():
  reaches = np.full(2, 60)
  assert counting._place(reaches, np.random.RandomState(0)) is None
