# SPDX-License-Identifier: Apache-2.0
"""Two bundled tasks of real pixels: which photograph is this a crop of?

`photos` are the colour photographs, `monochrome` the grey ones that come with
scikit-image, scikit-learn and matplotlib. A photograph is cut into tiles, and
its tiles are dealt to the splits; a crop lies within one tile, so that no two
splits share a pixel. Crops are normalised in brightness and contrast, so
that these don't tell the class.

Six files are JPEGs, whose standard leaves rounding open. libjpeg-turbo, with
which Pillow's wheels decode, gave the same bytes in versions 3.1 and 3.2.

Axes: H height, W width, s the side of a crop.
"""

import functools

import numpy as np
from scipy import sparse

from neucrab_jax.tasks import bundled, image_files, package_files
from neucrab_jax.tasks import task as task_lib

# Where in an installed package each photograph lies. These files are part of
# the packages; what scikit-image downloads on demand is not among them.
_SKIMAGE = 'skimage/data'
_SKLEARN = 'sklearn/datasets/images'
_MATPLOTLIB = 'matplotlib/mpl-data/sample_data'
FILES = {
  'photos': {
    'astronaut': f'{_SKIMAGE}/astronaut.png',
    'cat': f'{_SKIMAGE}/chelsea.png',
    'coffee': f'{_SKIMAGE}/coffee.png',
    'galaxies': f'{_SKIMAGE}/hubble_deep_field.jpg',
    'stained tissue': f'{_SKIMAGE}/ihc.png',
    'motorcycle': f'{_SKIMAGE}/motorcycle_left.png',
    'retina': f'{_SKIMAGE}/retina.jpg',
    'temple': f'{_SKLEARN}/china.jpg',
    'flower': f'{_SKLEARN}/flower.jpg',
    'officer': f'{_MATPLOTLIB}/grace_hopper.jpg',
  },
  'monochrome': {
    'brick': f'{_SKIMAGE}/brick.png',
    'cameraman': f'{_SKIMAGE}/camera.png',
    'cell': f'{_SKIMAGE}/cell.png',
    'clock': f'{_SKIMAGE}/clock_motion.png',
    'coins': f'{_SKIMAGE}/coins.png',
    'grass': f'{_SKIMAGE}/grass.png',
    'gravel': f'{_SKIMAGE}/gravel.png',
    'moon': f'{_SKIMAGE}/moon.png',
    'page': f'{_SKIMAGE}/page.png',
    'text': f'{_SKIMAGE}/text.png',
  },
}

# These numbers and the seed make the tasks: they are fixed for good.
_SEED = 0
_TILE = 56  # Three of them fit into the lowest photograph, of 172 px.
_LARGEST_SIDE = 6 * _TILE  # The shorter side of a photograph, at most.
_SMALLEST_CROP = bundled.IMAGE_SIZE  # None is enlarged: blur would tell it.
# Of five tiles two are for training, one for validation, two for testing.
_SHARES = {'train': (0, 2), 'validation': (2, 3), 'test': (3, 5)}

# What crops are normalised to. 3 standard deviations up or down stay in 0–255.
_MEAN, _STD = 128, 42
# Flatter crops stay flatter: more contrast would show the noise of the file.
_SMALLEST_STD = 8


@functools.cache
def _average_matrix(old: int, new: int) -> sparse.csr_array:
  """[new, old]: how many times 1/new of an old pixel a new pixel covers."""
  old_edges = np.arange(old + 1) * new
  new_edges = np.arange(new + 1)[:, np.newaxis] * old
  covered = np.clip(old_edges, new_edges[:-1], new_edges[1:])
  return sparse.csr_array(np.diff(covered, axis=1).astype(np.float64))


def area_average(image: np.ndarray, height: int, width: int) -> np.ndarray:
  """Reduces an image; a new pixel is the mean of the area that it covers.

  The sums are of integers far below 2^53, and so exact in any order.

  Args:
    image: [H, W, 3] uint8
    height: at most H.
    width: at most W.

  Returns:
    [height, width, 3] uint8, halves rounded up.
  """
  old_height, old_width, channels = image.shape
  down = _average_matrix(old_height, height)
  across = _average_matrix(old_width, width)
  rows = down @ image.reshape(old_height, -1).astype(np.float64)
  rows = rows.reshape(height, old_width, channels).swapaxes(0, 1)
  sums = across @ rows.reshape(old_width, -1)
  sums = sums.reshape(width, height, channels).swapaxes(0, 1).astype(np.int64)
  area = old_height * old_width
  return ((2 * sums + area) // (2 * area)).astype(np.uint8)


def normalise(crop: np.ndarray) -> np.ndarray:
  """Gives every crop the same mean and standard deviation, over all channels.

  The operations are those that IEEE 754 rounds in only one way.

  Args:
    crop: [s, s, 3] uint8

  Returns:
    [s, s, 3] uint8
  """
  values = crop.astype(np.int64)
  size = values.size
  total = values.sum()
  variance = size * (values**2).sum() - total**2  # Times size², exact.
  scale = np.sqrt(np.maximum(variance, (size * _SMALLEST_STD) ** 2))
  scaled = _MEAN + np.rint(_STD * (size * values - total) / scale)
  return np.clip(scaled, 0, 255).astype(np.uint8)


def read_photograph(file: str) -> np.ndarray:
  """Reads a photograph that comes with a package: [H, W, 3] uint8, reduced.

  Raises:
    FileNotFoundError: if the installed package lacks it.
  """
  image = image_files.decode(package_files.find(file))
  height, width = image.shape[:2]
  shorter = min(height, width)
  side = min(shorter, _LARGEST_SIDE)
  return area_average(image, height * side // shorter, width * side // shorter)


def deal_tiles(
  height: int, width: int, random: np.random.RandomState
) -> dict[str, np.ndarray]:
  """Deals the tiles of a photograph to the splits.

  Returns:
    for each split [n, 2] the row and column, in pixels, where a tile begins.
  """
  rows, columns = height // _TILE, width // _TILE
  # What is left over at the edges is shared between both ends.
  top, left = (height - rows * _TILE) // 2, (width - columns * _TILE) // 2
  corners = np.stack(np.divmod(np.arange(rows * columns), columns), axis=1)
  corners = random.permutation(corners * _TILE + np.array([top, left]))
  parts = sum(stop - start for start, stop in _SHARES.values())
  return {
    split: corners[len(corners) * start // parts : len(corners) * stop // parts]
    for split, (start, stop) in _SHARES.items()
  }


def draw_boxes(
  tiles: np.ndarray, count: int, random: np.random.RandomState
) -> np.ndarray:
  """Draws the boxes of crops: [count, 3] rows, columns and sides in pixels."""
  corners = tiles[random.randint(len(tiles), size=count)]
  sides = random.randint(_SMALLEST_CROP, _TILE + 1, size=count)
  offsets = random.randint(_TILE + 1 - sides, size=(2, count))
  return np.column_stack([corners + offsets.T, sides])


def _crop(photograph: np.ndarray, box: np.ndarray, flip: int) -> np.ndarray:
  row, column, side = box
  crop = photograph[row : row + side, column : column + side]
  crop = area_average(crop, bundled.IMAGE_SIZE, bundled.IMAGE_SIZE)
  return normalise(crop[:, ::-1] if flip else crop)


def _labels(name: str, split: str) -> np.ndarray:
  return bundled.balanced_labels(bundled.SIZES[split], len(FILES[name]))


# A photograph, and for each split the boxes of its crops and which are flipped.
_Plan = tuple[np.ndarray, dict[str, tuple[np.ndarray, np.ndarray]]]


@functools.cache
def _plan(name: str) -> tuple[_Plan, ...]:
  """Draws where all crops of a task are, of each class.

  To crop is what takes long, and nobody needs all splits at once.
  """
  random = np.random.RandomState(_SEED)
  plans = []
  for label, file in enumerate(FILES[name].values()):
    photograph = read_photograph(file)
    tiles = deal_tiles(photograph.shape[0], photograph.shape[1], random)
    crops = {}
    for split in bundled.SIZES:
      count = np.sum(_labels(name, split) == label)
      boxes = draw_boxes(tiles[split], count, random)
      crops[split] = boxes, random.randint(2, size=count)
    plans.append((photograph, crops))
  return tuple(plans)


@functools.cache
def _draw(name: str, split: str) -> bundled.Drawn:
  """Crops a split of a task."""
  labels = _labels(name, split)
  size = bundled.IMAGE_SIZE
  images = np.empty((len(labels), size, size, 3), np.uint8)
  for label, (photograph, crops) in enumerate(_plan(name)):
    members = np.flatnonzero(labels == label)
    for member, box, flip in zip(members, *crops[split], strict=True):
      images[member] = _crop(photograph, box, flip)
  return images, labels


def load(name: str) -> task_lib.Task:
  """The task `photos` or `monochrome`, of ten photographs each."""
  return bundled.make_task(
    name, tuple(FILES[name]), functools.partial(_draw, name)
  )
