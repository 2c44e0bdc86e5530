# SPDX-License-Identifier: Apache-2.0
"""What every architecture promises, tested for every family there is."""

import pathlib

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import test_families
from flax import traverse_util

from neucrab_jax import models

# What families are made of, and tested with them.
_SHARED = {
  '__init__',
  'colours',
  'compiler_options',
  'counting',
  'depthwise',
  'exported',  # Of a user's own function.
  'grouped',
  'inception',
  'inverted_residual',
  'keras_model',  # Of a user's own file.
  'outputs',
  'pooling',
  'precision',
  'slim',
  'winograd',
}


def test_every_family_is_tested_in_small():
  package = pathlib.Path(models.__file__).parent
  families = {f.stem for f in package.glob('*.py')} - _SHARED
  assert families == set(test_families.SMALL)


@pytest.mark.parametrize('num_classes', [3, None])
@pytest.mark.parametrize('family', test_families.SMALL)
def test_gives_features_with_a_decay_for_every_batch_norm(family, num_classes):
  network, arguments, size, _ = test_families.SMALL[family]
  module = network(num_classes=num_classes, **arguments)
  changed = models.with_batch_norm_decay(module, 0.125)
  assert models.with_batch_norm_decay(module, 0) is module
  found = {}

  def look(method, args, kwargs, context):
    if isinstance(context.module, nn.BatchNorm):
      found[context.module.path] = context.module.momentum
    return method(*args, **kwargs)

  images = jnp.zeros((2, size, size, 3))
  with nn.intercept_methods(look):
    outputs, variables = jax.eval_shape(
      changed.init_with_output, jax.random.key(0), images
    )
  assert outputs.features.ndim == 2
  assert outputs.features.shape[0] == 2
  assert outputs.features.dtype == np.float32
  assert getattr(outputs.logits, 'shape', None) == (
    None if num_classes is None else (2, 3)
  )
  assert set(found.values()) <= {0.125}
  flat = traverse_util.flatten_dict(variables.get('batch_stats', {}))
  assert set(found) == {path[:-1] for path in flat if path[-1] == 'mean'}


def test_an_unknown_architecture_gets_the_nearest():
  with pytest.raises(ValueError, match=r"mean 'resnet_v2_mini'.*Known: ") as e:
    models.build('resnet_v2_mimi')
  assert "Unknown architecture 'resnet_v2_mimi'" in str(e.value)
