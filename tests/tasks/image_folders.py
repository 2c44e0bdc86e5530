# SPDX-License-Identifier: Apache-2.0
"""Small folders of images."""

import numpy as np
from PIL import Image


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
