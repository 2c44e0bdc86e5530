# SPDX-License-Identifier: Apache-2.0
"""How images are prepared, by configs of timm and transformers."""

import json
import re

import pytest

from neucrab_jax.checkpoints import torch_preprocessing

TIMM = {
  'input_size': [3, 224, 224],
  'mean': [0.5, 0.5, 0.5],
  'std': [0.25, 0.25, 0.25],
  'interpolation': 'bicubic',
}
HF = {
  'image_mean': [0.5, 0.5, 0.5],
  'image_std': [0.25, 0.25, 0.25],
  'size': {'height': 224, 'width': 224},
  'resample': 2,
}
SHORTER = {'shortest_edge': 256}
CROP = {'do_center_crop': True, 'crop_size': {'height': 224, 'width': 224}}


def read(folder, told, *, library):
  if library == 'timm':
    return torch_preprocessing.read(folder, {'pretrained_cfg': told})
  text = told if isinstance(told, str) else json.dumps(told)
  (folder / torch_preprocessing.PREPROCESSOR).write_text(text)
  return torch_preprocessing.read(folder, {'model_type': 'vit'})


@pytest.mark.parametrize(
  ('library', 'told', 'method', 'size'),
  [
    ('timm', TIMM, 'bicubic/shorter=224', 224),
    ('timm', {**TIMM, 'crop_pct': 0.875}, 'bicubic/shorter=256', 224),
    ('timm', {**TIMM, 'crop_mode': 'squash'}, 'bicubic/square=224', 224),
    ('timm', {**TIMM, 'crop_mode': 'border'}, 'bicubic/shorter=224', 224),
    ('hf', HF, 'bilinear/square=224', 224),
    ('hf', {**HF, 'size': 384, 'resample': 3}, 'bicubic/square=384', 384),
    ('hf', {**HF, 'size': SHORTER}, 'bilinear/shorter=256', 256),
    ('hf', {**HF, 'size': SHORTER, **CROP}, 'bilinear/shorter=256', 224),
    (
      'hf',
      {**HF, 'size': 256, 'image_processor_type': 'CLIPImageProcessor'},
      'bilinear/shorter=256',
      256,
    ),
    (
      'hf',
      {**HF, 'size': 224, 'feature_extractor_type': 'ConvNextX'},
      'bilinear/shorter=256',
      224,
    ),
    ('hf', {**HF, 'size': 384, 'crop_pct': 0.9}, 'bilinear/square=384', 384),
  ],
)
def test_sizes_and_crops(library, told, method, size, tmp_path):
  prepared = read(tmp_path, told, library=library)
  assert (prepared.resize_method, prepared.image_size) == (method, size)
  # 0 and 255, normalised.
  assert prepared.levels() == ((-2.0,) * 3, (2.0,) * 3)


@pytest.mark.parametrize(
  ('library', 'told', 'message'),
  [
    ('timm', {**TIMM, 'input_size': [1, 28, 28]}, 'of three colours'),
    ('timm', {**TIMM, 'input_size': [3, 28, 32]}, 'not square'),
    ('timm', {**TIMM, 'crop_pct': 1.2}, 'crop_pct is 1.2'),
    ('timm', {**TIMM, 'crop_mode': 'random'}, "crop_mode 'random'"),
    ('timm', {**TIMM, 'interpolation': 'random'}, "interpolation 'random'"),
    ('timm', {**TIMM, 'input_size': [3, 10**6, 10**6]}, 'resizes images to'),
    ('timm', {**TIMM, 'std': [0, 1, 1]}, 'std'),
    ('timm', {'mean': 3}, 'It should be like'),
    ('hf', {**HF, 'size': {'height': 2, 'width': 3}}, 'is no square'),
    ('hf', {**HF, 'size': {'longest_edge': 224}}, 'is no square'),
    ('hf', {**HF, 'resample': 9}, "interpolation '9'"),
    ('hf', {**HF, 'do_resize': False}, 'does not resize'),
    ('hf', {**HF, 'do_normalize': False}, 'does not resize'),
    ('hf', {**HF, 'rescale_factor': 1 / 127.5}, r'rescale to \[0, 1\]'),
    ('hf', {**HF, **CROP, 'crop_size': 0}, 'images are of 0 pixels'),
    ('hf', '{', 'is no JSON'),
    ('hf', '[]', 'It should be like'),
  ],
)
def test_what_is_wrong_is_one_line(library, told, message, tmp_path):
  with pytest.raises(ValueError, match=message) as caught:
    read(tmp_path, told, library=library)
  said = str(caught.value)
  assert '\n' not in said
  assert re.search(r"^'.*config\.json'", said), said


@pytest.mark.parametrize(
  ('more', 'largest'), [({}, 8.0), ({'include_top': False}, 2.0)]
)
def test_efficientnets_divide_by_the_deviation_twice(more, largest, tmp_path):
  told = {**HF, **more, 'image_processor_type': 'EfficientNetImageProcessor'}
  _, high = read(tmp_path, told, library='hf').levels()
  assert high == (largest,) * 3
