# SPDX-License-Identifier: Apache-2.0
"""A network of each kind of file, as a user has them side by side."""

import sys

import jax.numpy as jnp
import numpy as np
import pytest

from neucrab_jax import checkpoints
from neucrab_jax.checkpoints import keras_files
from tests.checkpoints import small_keras, small_onnx, torch_files
from tests.checkpoints import tiny_torch as tiny

EXPORTED_SIZE = 8
# A product of matrices: additions and multiplications of each number.
WEIGHTS = np.random.default_rng(0).standard_normal(
  (EXPORTED_SIZE * EXPORTED_SIZE * 3, 7)
)
WEIGHTS = WEIGHTS.astype(np.float32)


def features(images):
  return jnp.tanh(images.reshape(images.shape[0], -1) @ WEIGHTS / 8)


def save(folder):
  """Writes `x.onnx`, `y.keras`, `z.jaxexport` and a folder `vit`."""
  small_onnx.save(str(folder / 'x.onnx'))
  keras = keras_files.import_keras()
  from keras.src.utils import module_utils

  with pytest.MonkeyPatch.context() as patch:
    if 'tensorflow' not in sys.modules:  # Which it would import.
      patch.setattr(module_utils.tensorflow, '_available', False)
    small_keras.save(keras, small_keras.functional, folder / 'y.keras')
  checkpoints.save_exported(
    features,
    folder / 'z.jaxexport',
    image_size=EXPORTED_SIZE,
    value_range=(-1.0, 1.0),
  )
  (folder / 'vit').mkdir()
  torch_files.write(folder / 'vit', config=tiny.config(), stored=tiny.vit())
  return folder
