# SPDX-License-Identifier: Apache-2.0
"""Native networks against what timm and transformers make of the same weights.

A wrong constant, such as BatchNorm's epsilon, makes 1e-4 at least.
"""

import jax
import numpy as np
import pytest

from neucrab_jax import checkpoints
from neucrab_jax.checkpoints import backbone as backbone_lib
from tests.checkpoints import torch_files

_TOLERANCE = 2e-5

# One program of a network, and its two runs, are quick to compile.
_APPLY = jax.jit(
  lambda module, variables, images, dtype: module.apply(variables, images),
  static_argnums=(0, 3),
)


def _error(found, wanted):
  found = np.asarray(found, np.float64)
  return np.linalg.norm(found - wanted) / np.linalg.norm(wanted)


@pytest.mark.parametrize(
  'name', sorted(file.stem for file in torch_files.FOLDER.glob('*.npz'))
)
def test_computes_what_the_original_does(name, tmp_path, monkeypatch):
  monkeypatch.setattr(backbone_lib, '_apply', _APPLY)
  backbone = checkpoints.restore(str(torch_files.write(tmp_path / 'x', name)))
  wanted = np.load(torch_files.FOLDER / f'{name}.npz')
  images = torch_files.images(torch_files.manifest(name)['size'])
  # Three images, as when it was restored: one program.
  outputs = backbone(np.concatenate([images, images[:1]]))
  assert _error(outputs.features[:2], wanted['features']) < _TOLERANCE
  if 'logits' in wanted and outputs.logits is not None:
    assert _error(outputs.logits[:2], wanted['logits']) < _TOLERANCE
