# SPDX-License-Identifier: Apache-2.0
import fractions

import numpy as np
import pytest

from neucrab_jax.tasks import photographs

# Where the smallest, the widest and the largest photograph come from.
FILES = [
  photographs.FILES['monochrome']['text'],
  photographs.FILES['photos']['cat'],
  photographs.FILES['photos']['galaxies'],
]


def draw_image(height, width, seed=0):
  random = np.random.RandomState(seed)
  return random.randint(256, size=(height, width, 3)).astype(np.uint8)


def average_slowly(values, new):
  """The mean over each new pixel of a row, in exact fractions."""
  old = len(values)
  ratio = fractions.Fraction(old, new)
  means = []
  for index in range(new):
    start, stop = index * ratio, (index + 1) * ratio
    covered = [max(min(stop, i + 1) - max(start, i), 0) for i in range(old)]
    total = sum(c * int(v) for c, v in zip(covered, values, strict=True))
    means.append(total / ratio)
  return means


@pytest.mark.parametrize(('old', 'new'), [(5, 5), (6, 3), (7, 3), (13, 8)])
def test_area_averages_are_exact(old, new):
  image = draw_image(old, 1)
  reduced = photographs.area_average(image, new, 1)
  assert reduced.shape == (new, 1, 3)
  for channel in range(3):
    means = average_slowly(image[:, 0, channel], new)
    # Halves up, as the fractions say and floats need not.
    expected = [int(mean + fractions.Fraction(1, 2)) for mean in means]
    np.testing.assert_array_equal(reduced[:, 0, channel], expected)


def test_area_averages_of_whole_blocks():
  image = draw_image(12, 8)
  blocks = image.reshape(4, 3, 4, 2, 3).astype(int).sum((1, 3))
  np.testing.assert_array_equal(
    photographs.area_average(image, 4, 4), (blocks + 3) // 6
  )


def test_rows_and_columns_are_averaged_alike():
  image = draw_image(50, 40)
  np.testing.assert_array_equal(
    photographs.area_average(image, 32, 30),
    photographs.area_average(image.swapaxes(0, 1), 30, 32).swapaxes(0, 1),
  )


def test_crops_have_the_same_mean_and_contrast():
  crop = (draw_image(32, 32) * [0.2, 0.5, 1.0]).astype(np.uint8)
  normal = photographs.normalise(crop).astype(float)
  np.testing.assert_allclose(normal.mean((0, 1)), 128, atol=0.1)
  np.testing.assert_allclose(normal.std((0, 1)), 42, atol=0.1)
  # Contrast is scaled, and nothing else is changed.
  for channel in range(3):
    pair = crop[..., channel].ravel(), normal[..., channel].ravel()
    assert np.corrcoef(*pair)[0, 1] > 0.999


@pytest.mark.parametrize('value', [0, 7, 255])
def test_a_constant_crop_becomes_grey(value):
  crop = np.full((32, 32, 3), value, np.uint8)
  assert (photographs.normalise(crop) == 128).all()


def test_the_noise_of_a_flat_crop_stays_small():
  crop = (200 + draw_image(32, 32) % 2).astype(np.uint8)
  assert photographs.normalise(crop).std() < 5


@pytest.mark.parametrize('task', photographs.FILES)
def test_every_photograph_is_there_and_worth_cutting(task):
  for file in photographs.FILES[task].values():
    photograph = photographs.read_photograph(file)
    grey = np.ptp(photograph.astype(int), axis=2).max() == 0
    assert grey == (task == 'monochrome')
    random = np.random.RandomState(0)
    tiles = photographs.deal_tiles(*photograph.shape[:2], random)
    assert min(len(part) for part in tiles.values()) >= 3


@pytest.mark.parametrize('file', FILES)
def test_no_two_splits_share_a_pixel(file):
  random = np.random.RandomState(0)
  shape = photographs.read_photograph(file).shape[:2]
  tiles = photographs.deal_tiles(*shape, random)
  uses = np.zeros((3, *shape), bool)
  for use, part in zip(uses, tiles.values(), strict=True):
    boxes = photographs.draw_boxes(part, 200, random)
    assert boxes.min() >= 0
    assert (boxes[:, :2] + boxes[:, 2:] <= shape).all()
    for row, column, side in boxes:
      use[row : row + side, column : column + side] = True
    # There is more than one crop to a split.
    assert len(np.unique(boxes, axis=0)) > 100
  assert uses.sum(0).max() == 1


def test_every_side_and_offset_comes_up():
  tile = np.array([[0, 0]])
  boxes = photographs.draw_boxes(tile, 2000, np.random.RandomState(0))
  ends = boxes[:, :2] + boxes[:, 2:]
  assert boxes[:, 2].min() == 32
  assert boxes[:, 2].max() == ends.max()
  assert boxes[:, :2].min() == 0


@pytest.mark.parametrize('file', ['skimage/data/none.png', 'no_such/none.png'])
def test_a_photograph_that_is_not_installed(file):
  with pytest.raises(FileNotFoundError, match=r"none.png'.*requirements.txt"):
    photographs.read_photograph(file)
