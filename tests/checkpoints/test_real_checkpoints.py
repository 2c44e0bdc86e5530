# SPDX-License-Identifier: Apache-2.0
"""Checkpoints that others trained, against the frameworks they come from.

Where each is from, and its licence, is in `testdata/real/README.md`.
"""

import hashlib
import json
import pathlib
import re
import shutil

import numpy as np
import pytest

from neucrab_jax import checkpoints

FOLDER = pathlib.Path(__file__).parents[1] / 'testdata' / 'real'
PREPARED = {'value_range': [-1, 1], 'resize_method': 'bilinear'}

# File: image size, and the largest difference as a share of the largest output.
# TFLite rounded what went through the last one to integers, too.
CASES = {
  'ch_ppocr_mobile_v2.0_cls_infer.onnx': (48, 1e-4),
  'emotion_model.hdf5': (64, 1e-4),
  'emotion_model_quantized.onnx': (64, 5e-2),
}


def images(size):
  """Noise and a ramp of colours, as `make_references.py` has them."""
  noise = np.random.default_rng(0).uniform(-1, 1, (size, size, 3))
  ramp = np.linspace(-1, 1, size)
  colours = np.stack([ramp, -ramp, ramp / 2], -1)
  return np.float32([noise, np.broadcast_to(colours, noise.shape)])


@pytest.mark.filterwarnings('ignore::DeprecationWarning')
@pytest.mark.parametrize('file', CASES)
def test_gives_what_its_own_framework_gives(file, tmp_path):
  size, tolerance = CASES[file]
  path = pathlib.Path(shutil.copy(FOLDER / file, tmp_path))
  path.with_suffix('.json').write_text(
    json.dumps({**PREPARED, 'image_size': size})
  )
  backbone = checkpoints.restore(str(path))
  found = backbone(images(size))
  with np.load((FOLDER / file).with_suffix('.npz')) as wanted:
    for kind in ('features', 'logits'):
      difference = np.abs(getattr(found, kind) - wanted[kind]).max()
      scale = np.abs(wanted[kind]).max()
      assert difference <= tolerance * scale, kind


def test_every_file_is_told_of():
  readme = (FOLDER / 'README.md').read_text()
  assert {f'`{file}`' for file in CASES} <= set(re.findall('`[^`]+`', readme))
  for file in CASES:
    digest = hashlib.sha256((FOLDER / file).read_bytes()).hexdigest()
    assert digest in readme, file
