# SPDX-License-Identifier: Apache-2.0
"""The four tasks of the paper, with the splits of VTAB.

Reference: github.com/google-research/task_adaptation, `data/caltech.py`,
`data/oxford_flowers102.py`, `data/patch_camelyon.py` and `data/sun397.py`,
where 'validation' is called "val".
"""

import os
from collections.abc import Mapping
from typing import Any

from neucrab_jax.tasks import from_tfds, tfds_preparation
from neucrab_jax.tasks import task as task_lib

# The versions that VTAB asks TFDS for.
_TFDS_NAMES = {
  'caltech101': 'caltech101:3.*.*',
  'oxford_flowers102': 'oxford_flowers102:2.*.*',
  'patch_camelyon': 'patch_camelyon:2.*.*',
  'sun397': 'sun397/tfds:4.*.*',
}

# Caltech101 has no validation split: it is the last tenth of train.
_CALTECH101_TRAIN_PERCENT = 90
# 30 images for each of 102 classes, if the data's own record does not say.
_CALTECH101_TRAINVAL = 3060

# Of 1,000 examples; a smaller data set, as tests prepare them, is taken whole.
_TRAIN, _VALIDATION = 800, 200

NAMES = tuple(_TFDS_NAMES)


def split_expressions(name: str, splits: Mapping[str, Any]) -> dict[str, str]:
  """The splits of one of the four, as expressions of TFDS's own.

  Args:
    name: one of `NAMES`.
    splits: TFDS's record of each split; the size of Caltech101's depends on
      the version that was prepared.
  """
  sizes = {split: info.num_examples for split, info in splits.items()}
  train, validation = 'train', 'validation'
  start, num_validation = 0, sizes.get('validation', _VALIDATION)
  cut = sizes.get('train', _TRAIN)
  if name == 'caltech101':
    size = sizes.get('train', _CALTECH101_TRAINVAL)
    start = cut = _CALTECH101_TRAIN_PERCENT * size // 100
    train, validation = f'train[:{cut}]', f'train[{cut}:]'
    num_validation = size - cut
  train800 = f'train[:{min(_TRAIN, cut)}]'
  end = start + min(_VALIDATION, num_validation)
  held_out = 'train' if start else 'validation'
  val200 = f'{held_out}[{start or ""}:{end}]'
  return {
    'train': train,
    'validation': validation,
    'trainval': 'train' if start else 'train+validation',
    'test': 'test',
    'train800': train800,
    'val200': val200,
    'train800val200': f'{train800}+{val200}',
  }


def load(name: str, data_dir: str | os.PathLike | None) -> task_lib.Task:
  """Loads one of the four.

  With a version behind it, as in 'caltech101:3.0.2', a name means the data set
  as TFDS splits it instead.
  """
  builder = from_tfds.find_builder(_TFDS_NAMES[name], data_dir, built_in=NAMES)
  tfds_preparation.prepare(builder)
  return from_tfds.load(
    name,
    builder,
    vtab_splits=split_expressions(name, builder.info.splits),
  )
