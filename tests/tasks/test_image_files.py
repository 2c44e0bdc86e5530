# SPDX-License-Identifier: Apache-2.0
"""Image files: their pixels."""

import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from neucrab_jax.tasks import image_files


def make_rgb(height=6, width=9, seed=0):
  rng = np.random.default_rng(seed)
  return rng.integers(0, 256, (height, width, 3)).astype(np.uint8)


def save(path, pixels, **options):
  Image.fromarray(pixels).save(path, **options)


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


# Files that Pillow writes without loss, and the suffixes they go by.
LOSSLESS = {
  'TIFF': ('.tif', '.tiff', '.TIF'),
  'PPM': ('.ppm', '.pnm'),
  'PNG': ('.apng',),
  'TGA': ('.tga',),
  'SGI': ('.sgi',),
  'BMP': ('.dib',),
  'PCX': ('.pcx',),
}
LOSSY = {'JPEG': ('.jfif', '.jpe', '.JPG'), 'AVIF': ('.avif',)}


@pytest.mark.parametrize(
  ('kind', 'suffix'),
  [(k, s) for k, all_ in (LOSSLESS | LOSSY).items() for s in all_],
)
def test_what_pillow_reads_is_an_image(tmp_path, kind, suffix):
  if kind not in image_files.formats():
    pytest.skip(f'This Pillow has no {kind}.')
  path = tmp_path / f'image{suffix}'
  save(path, make_rgb(16, 16), format=kind)
  assert image_files.is_image(path)
  shown = image_files.decode(path)
  assert (shown.dtype, shown.shape) == (np.uint8, (16, 16, 3))
  if kind in LOSSLESS:
    np.testing.assert_array_equal(shown, make_rgb(16, 16))


@pytest.mark.parametrize(
  'suffix', ['', '.txt', '.eps', '.h5', '.hdf', '.mpg', '.wmf', '.pdf', '.npz']
)
def test_what_it_only_recognises_is_none(tmp_path, suffix):
  assert not image_files.is_image(tmp_path / f'image{suffix}')


def test_a_program_for_a_printer_is_not_run(tmp_path):
  # Pillow would give it to Ghostscript, whatever it is called.
  path = tmp_path / 'image.png'
  save(path, make_rgb(), format='EPS')
  with pytest.raises(ValueError, match='cannot be decoded'):
    image_files.decode(path)


@pytest.mark.parametrize('suffix', ['png', 'tif'])
@pytest.mark.parametrize('depth', [8, 10, 12, 14, 16])
def test_grey_is_scaled_by_the_depth_that_it_has(tmp_path, depth, suffix):
  path = tmp_path / f'image.{suffix}'
  values = np.linspace(0, 2**depth - 1, 256).astype(np.uint16).reshape(16, 16)
  save(path, values)
  with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter('always')
    shown = image_files.decode(path)
  np.testing.assert_array_equal(shown[..., 0], values >> (depth - 8))
  assert (shown.min(), shown.max()) == (0, 255)
  said = [w for w in caught if w.category is image_files.DepthWarning]
  assert len(said) == (depth < 16)
  assert all(f'over {depth} bits' in str(w.message) for w in said)


def _write_png(path, values):
  """Colours of 16 bits, which Pillow cannot write."""

  def chunk(name, content):
    checksum = struct.pack('>I', zlib.crc32(name + content))
    return struct.pack('>I', len(content)) + name + content + checksum

  height, width, channels = values.shape
  kind = {2: 4, 3: 2, 4: 6}[channels]
  header = struct.pack('>IIBBBBB', width, height, 16, kind, 0, 0, 0)
  rows = b''.join(b'\0' + row.astype('>u2').tobytes() for row in values)
  path.write_bytes(
    b'\x89PNG\r\n\x1a\n'
    + chunk(b'IHDR', header)
    + chunk(b'IDAT', zlib.compress(rows))
    + chunk(b'IEND', b'')
  )


@pytest.mark.parametrize('channels', [2, 3, 4])
@pytest.mark.parametrize('depth', [8, 12, 16])
def test_colours_are_scaled_by_the_depth_that_they_have(
  tmp_path, depth, channels
):
  values = np.linspace(0, 2**depth - 1, 16 * 16 * channels).astype(np.uint16)
  values = values.reshape(16, 16, channels)
  if channels % 2 == 0:
    values[..., -1] = 2**16 - 1
  _write_png(tmp_path / 'image.png', values)
  with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter('always')
    shown = image_files.decode(tmp_path / 'image.png')
  assert len(caught) == (depth < 16)
  expected = (values[..., : 1 if channels == 2 else 3] >> (depth - 8)).astype(
    int
  )
  # Of grey beside transparency Pillow gives the upper byte alone.
  tolerance = 2 ** (16 - depth) if channels == 2 else 1
  assert np.abs(shown - expected).max() <= tolerance


def test_a_black_image_of_16_bits_is_black(tmp_path):
  path = tmp_path / 'image.png'
  save(path, np.zeros((4, 4), np.uint16))
  with pytest.warns(image_files.DepthWarning):
    assert not image_files.decode(path).any()


def test_floats_are_refused(tmp_path):
  path = tmp_path / 'image.tif'
  save(path, np.ones((4, 4), np.float32))
  with pytest.raises(ValueError, match=r'image\.tif.*floats.*8 or 16 bit'):
    image_files.decode(path)


def _exif(orientation, *, damage):
  """EXIF of an orientation and of an entry that points beyond the end."""
  entries = [struct.pack('<HHIHH', 0x0112, 3, 1, orientation, 0)]
  if damage == 'points nowhere':
    entries.append(struct.pack('<HHII', 0x0132, 2, 20, 2**31))
  elif damage == 'is of another type':
    entries.append(struct.pack('<HHII', 0x011A, 2, 4, 0x41414141))
  count = len(entries) + 5 * (damage == 'ends early')
  header = b'II*\0' + struct.pack('<IH', 8, count)
  return b'Exif\0\0' + header + b''.join(entries) + bytes(4)


ORIENTATIONS = {
  1: lambda x: x,
  2: np.fliplr,
  3: lambda x: np.rot90(x, 2),
  4: np.flipud,
  5: lambda x: np.swapaxes(x, 0, 1),
  6: lambda x: np.rot90(x, -1),
  7: lambda x: np.swapaxes(np.rot90(x, 2), 0, 1),
  8: np.rot90,
  9: lambda x: x,
}


@pytest.mark.filterwarnings('ignore:Corrupt EXIF', 'ignore:Truncated')
@pytest.mark.parametrize(
  'damage',
  ['none', 'points nowhere', 'is of another type', 'ends early'],
)
@pytest.mark.parametrize('orientation', ORIENTATIONS)
def test_of_exif_only_the_orientation_matters(tmp_path, orientation, damage):
  path = tmp_path / 'image.png'
  save(path, make_rgb(), exif=_exif(orientation, damage=damage))
  np.testing.assert_array_equal(
    image_files.decode(path), ORIENTATIONS[orientation](make_rgb())
  )


@pytest.mark.parametrize(
  'exif', [b'Exif\0\0', b'Exif\0\0II*\0\xff', b'\xff' * 9]
)
def test_exif_that_cannot_be_read_is_ignored(tmp_path, exif):
  path = tmp_path / 'image.png'
  save(path, make_rgb(), exif=exif)
  np.testing.assert_array_equal(image_files.decode(path), make_rgb())
