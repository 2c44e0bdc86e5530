# SPDX-License-Identifier: Apache-2.0
"""Tasks from a folder of images."""

import concurrent.futures
import shutil

import numpy as np
import pytest
from PIL import Image

from neucrab_jax import tasks
from neucrab_jax.tasks import image_files


def make_rgb(height=6, width=9, seed=0):
  rng = np.random.default_rng(seed)
  return rng.integers(0, 256, (height, width, 3)).astype(np.uint8)


def save(path, pixels, **options):
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.fromarray(pixels).save(path, **options)


def make_folder(root, *, classes=('cat', 'dog', 'emu'), per_class=3):
  for label, name in enumerate(classes):
    for i in range(per_class):
      save(
        root / name / f'{i}.png', make_rgb(4 + i, 5 + label, seed=9 * label + i)
      )
  return root


@pytest.fixture
def root(tmp_path):
  return make_folder(tmp_path / 'animals')


def test_the_sub_folders_are_the_classes(root):
  task = tasks.load(str(root))
  examples = task.read('train')
  assert task.splits == ('train',)
  assert task.class_names == ('cat', 'dog', 'emu')
  assert task.num_classes == 3
  assert examples.labels.dtype == np.int32
  np.testing.assert_array_equal(examples.labels, np.repeat([0, 1, 2], 3))


def test_images_of_mixed_sizes_come_in_order(root):
  examples = tasks.load(str(root)).read('train')
  indices = np.array([0, 4, 8])
  with concurrent.futures.ThreadPoolExecutor(3) as pool:
    images = list(pool.map(lambda decode: decode(), examples.open(indices)))
  for index, image in zip(indices, images, strict=True):
    label, i = divmod(index, 3)
    np.testing.assert_array_equal(
      image, make_rgb(4 + i, 5 + label, seed=9 * label + i)
    )


def test_other_files_and_hidden_ones_are_no_images(root):
  (root / 'cat' / '.0.png').write_bytes(b'')
  (root / '.cache').mkdir()
  (root / 'README').write_text('animals')
  assert len(tasks.load(str(root)).read('train')) == 9


def test_suffixes_are_read_in_any_case(root):
  save(root / 'cat' / '9.JPG', make_rgb(), format='JPEG')
  save(root / 'dog' / '9.Jpeg', make_rgb(), format='JPEG')
  save(root / 'emu' / '9.webp', make_rgb())
  save(root / 'emu' / '8.gif', make_rgb())
  save(root / 'emu' / '7.bmp', make_rgb())
  examples = tasks.load(str(root)).read('train')
  assert len(examples) == 14
  assert {
    (image.dtype, image.ndim, image.shape[2])
    for image in (decode() for decode in examples.open(np.arange(14)))
  } == {(np.dtype(np.uint8), 3, 3)}


def test_folders_named_like_splits(tmp_path):
  for split in ('test', 'train', 'val'):
    make_folder(tmp_path / split, per_class=len(split))
  task = tasks.load(str(tmp_path))
  assert task.splits == ('train', 'validation', 'test')
  assert [len(task.read(split)) for split in task.splits] == [15, 9, 12]
  with pytest.raises(ValueError, match=r"'tran'.*mean 'train'.*Known: train"):
    task.read('tran')


def test_classes_may_be_named_like_splits(tmp_path):
  make_folder(tmp_path, classes=('train', 'test'))
  task = tasks.load(str(tmp_path))
  assert (task.splits, task.class_names) == (('train',), ('test', 'train'))


def test_the_fingerprint_is_of_the_content(root, tmp_path):
  copy = tmp_path / 'copy'
  shutil.copytree(root, copy)

  def read_fingerprint(path):
    return tasks.load(str(path)).read('train').fingerprint

  assert read_fingerprint(root) == read_fingerprint(copy)
  save(copy / 'dog' / '1.png', make_rgb(seed=99))
  assert read_fingerprint(root) != read_fingerprint(copy)
  other = tmp_path / 'other'
  shutil.copytree(root, other)
  shutil.move(other / 'cat' / '2.png', other / 'dog' / '-.png')
  assert read_fingerprint(root) != read_fingerprint(other)


# Each mode of Pillow: the pixels saved as PNG, and the RGB they show.
GREY = make_rgb()[..., 0]
OPAQUE = np.full_like(GREY, 255)
MODES = {
  'L': (GREY, GREY),
  '1': (GREY > 127, np.where(GREY > 127, 255, 0)),
  'I;16': (GREY.astype(np.uint16) * 256 + 7, GREY),
  'RGB': (make_rgb(), make_rgb()),
  'RGBA': (np.dstack([make_rgb(), OPAQUE]), make_rgb()),
  'LA': (np.dstack([GREY, OPAQUE]), GREY),
}


@pytest.mark.parametrize('mode', MODES)
def test_png_modes(tmp_path, mode):
  pixels, shown = MODES[mode]
  path = tmp_path / 'image.png'
  save(path, pixels)
  with Image.open(path) as image:
    assert image.mode == mode
  decoded = image_files.decode(path)
  shown = shown[..., np.newaxis] if shown.ndim == 2 else shown
  assert (decoded.dtype, decoded.shape) == (np.uint8, (6, 9, 3))
  np.testing.assert_array_equal(decoded, np.broadcast_to(shown, (6, 9, 3)))


def test_32_bit_grey_is_read_like_16_bit():
  pixels = Image.fromarray(GREY.astype(np.int32) * 256)
  assert pixels.mode == 'I'
  shown = np.asarray(image_files.to_rgb(pixels))
  np.testing.assert_array_equal(shown[..., 1], GREY)


def test_palette(tmp_path):
  path = tmp_path / 'image.png'
  image = Image.fromarray(make_rgb()).quantize(16)
  image.save(path)
  expected = np.array(image.getpalette()).reshape(-1, 3)[np.asarray(image)]
  np.testing.assert_array_equal(image_files.decode(path), expected)


@pytest.mark.parametrize('kind', ['RGBA', 'LA', 'P'])
def test_what_is_transparent_shows_white(tmp_path, kind):
  pixels = np.zeros((2, 2, 4), np.uint8)  # Black, and half of it transparent.
  pixels[0, :, 3] = 255
  image = Image.fromarray(pixels)
  if kind == 'P':
    image = Image.fromarray(np.array([[0, 0], [1, 1]], np.uint8), mode='P')
    image.putpalette([0, 0, 0, 0, 0, 0])
    image.info['transparency'] = 1
  path = tmp_path / 'image.png'
  image.convert(kind).save(path)
  with Image.open(path) as saved:
    assert saved.mode == kind
  np.testing.assert_array_equal(
    image_files.decode(path)[..., 0], [[0, 0], [255, 255]]
  )


@pytest.mark.parametrize('mode', ['L', 'RGB', 'CMYK'])
def test_jpeg_modes(tmp_path, mode):
  # A ramp, which JPEG keeps well.
  rgb = np.zeros((32, 48, 3), np.uint8)
  rgb[..., 0] = np.linspace(0, 255, 48)
  rgb[..., 1] = np.linspace(255, 0, 32)[:, np.newaxis]
  path = tmp_path / 'image.jpg'
  original = Image.fromarray(rgb).convert(mode)
  original.save(path, quality=95)
  with Image.open(path) as image:
    assert image.mode == mode
  expected = np.asarray(original.convert('RGB')).astype(int)
  assert np.abs(image_files.decode(path) - expected).mean() < 3


def test_a_photo_is_turned_the_right_way_up(tmp_path):
  path = tmp_path / 'image.png'
  exif = Image.Exif()
  exif[0x0112] = 6  # Orientation: turn clockwise by a quarter.
  save(path, make_rgb(), exif=exif)
  np.testing.assert_array_equal(
    image_files.decode(path), np.rot90(make_rgb(), -1)
  )


def test_the_first_frame_of_an_animation(tmp_path):
  path = tmp_path / 'image.gif'
  black, white = (Image.new('L', (4, 4), value) for value in (0, 255))
  black.save(path, save_all=True, append_images=[white])
  assert not image_files.decode(path).any()


def test_an_empty_folder(tmp_path):
  with pytest.raises(ValueError, match='has no sub-folders'):
    tasks.load(str(tmp_path))


def test_images_without_sub_folders(tmp_path):
  save(tmp_path / 'a.png', make_rgb())
  with pytest.raises(ValueError, match='each class in a sub-folder'):
    tasks.load(str(tmp_path))


def test_a_class_without_images(root):
  (root / 'fox').mkdir()
  (root / 'fox' / 'fox.heic').write_bytes(b'')
  with pytest.raises(ValueError, match=r'animals/fox.*has no images.*\.png'):
    tasks.load(str(root))


def test_one_class_only(tmp_path):
  make_folder(tmp_path, classes=('cat',))
  with pytest.raises(ValueError, match=r"only one class, 'cat'"):
    tasks.load(str(tmp_path))


def test_splits_with_other_classes(tmp_path):
  make_folder(tmp_path / 'train')
  make_folder(tmp_path / 'test', classes=('cat', 'dog', 'gnu'))
  with pytest.raises(ValueError, match=r"'train' and 'test'.*emu, gnu"):
    tasks.load(str(tmp_path))


def test_one_split_twice(tmp_path):
  make_folder(tmp_path / 'val')
  make_folder(tmp_path / 'validation')
  with pytest.raises(ValueError, match=r"both the split 'validation'"):
    tasks.load(str(tmp_path))


@pytest.mark.parametrize('suffix', ['png', 'jpg', 'gif', 'webp', 'bmp'])
@pytest.mark.parametrize('damage', ['truncated', 'foreign', 'empty'])
def test_a_damaged_image_is_named(root, suffix, damage):
  path = root / 'cat' / f'a.{suffix}'
  save(path, make_rgb(64, 64))
  content = path.read_bytes()
  path.write_bytes(
    {
      'truncated': content[: len(content) // 2],
      'foreign': b'<html>404</html>',
      'empty': b'',
    }[damage]
  )
  # Of the header it is known when the split is read, of the rest later.
  task = tasks.load(str(root))
  with pytest.raises(ValueError, match=rf'cat/a\.{suffix}.*cannot be decoded'):
    list(task.read('train').open(np.arange(4)))[3]()
