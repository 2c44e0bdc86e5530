# SPDX-License-Identifier: Apache-2.0
"""Whether a network is the original one, by what the original graph gave.

`testdata/parity` holds, for each architecture, the names and shapes of its
checkpoint's variables, and the features and logits that TF-slim's own graph
(s4l's, revisiting-self-supervised's) gave on TensorFlow 2.15 for weights and
images that are functions of a name alone.
"""

import functools
import hashlib
import json
import pathlib

import flax.linen as nn
import jax
import numpy as np
from flax import traverse_util

from neucrab_jax import models
from neucrab_jax.checkpoints import tf_names

FOLDER = pathlib.Path(__file__).parents[1] / 'testdata' / 'parity'

# Relative L2. The same TensorFlow with and without oneDNN differs by 1e-6, and
# the smallest of the usual mistakes makes 2e-4.
TOLERANCE = 2e-5
CENTRED_TOLERANCE = 2e-4

_POSITIVE = ('gamma', 'moving_variance')
_SMALL = ('beta', 'moving_mean', 'biases', 'bias')


def manifest(architecture: str) -> dict:
  return json.loads((FOLDER / f'{architecture}.json').read_text())


@functools.cache
def reference(architecture: str) -> dict[str, np.ndarray]:
  with np.load(FOLDER / f'{architecture}.npz', allow_pickle=False) as arrays:
    return dict(arrays)


def sizes(architecture: str) -> list[int]:
  """The image sizes at which features are known."""
  names = [name.split('_') for name in reference(architecture)]
  return [int(size) for kind, size in names if kind == 'features']


def _generator(name: str) -> np.random.Generator:
  digest = hashlib.sha256(f'open:{name}'.encode()).digest()
  seed = int.from_bytes(digest[:8], 'little')
  return np.random.Generator(np.random.PCG64(seed))


def _draw(name: str, shape, gain: float) -> np.ndarray:
  leaf = name.rsplit('/', 1)[-1]
  if leaf in _POSITIVE:
    values = _generator(name).random(shape, dtype=np.float32) + np.float32(0.5)
  else:
    values = _generator(name).standard_normal(shape, dtype=np.float32)
    fan_in = np.prod(shape[:2] if leaf == 'depthwise_weights' else shape[:-1])
    scale = 0.1 if leaf in _SMALL else np.sqrt(2 / fan_in)
    values = values * np.float32(scale)
  return values * np.float32(gain)


@functools.lru_cache(maxsize=1)
def weights(architecture: str) -> dict[str, np.ndarray]:
  """Every variable of the original's checkpoint, by its TensorFlow name."""
  return {
    name: _draw(name, tuple(shape), gain)
    for name, (shape, gain) in manifest(architecture)['variables'].items()
  }


def images(size: int) -> np.ndarray:
  """[2, size, size, 3] in [-1, 1): two of the three that are known."""
  shape = (3, size, size, 3)
  values = _generator('input').random(shape, dtype=np.float32)[:2]
  return values * np.float32(2) - np.float32(1)


@functools.lru_cache(maxsize=1)
def network(architecture: str) -> tuple[nn.Module, dict]:
  """The module and the weights, of which each must find its place in it."""
  logits = f'logits_{manifest(architecture)["image_size"]}'
  module = models.build(
    architecture, num_classes=reference(architecture)[logits].shape[-1]
  )
  stored = weights(architecture)
  named = {new: stored[old] for old, new in tf_names.to_flax(stored).items()}
  expected = jax.eval_shape(module.init, jax.random.key(0), images(224))
  scopes = {
    '/'.join(scope): (scope, value.shape)
    for scope, value in traverse_util.flatten_dict(expected).items()
  }
  assert set(named) == set(scopes), (
    sorted(set(named) - set(scopes))[:5],
    sorted(set(scopes) - set(named))[:5],
  )
  for name, (_, shape) in scopes.items():
    assert named[name].shape == shape, (name, named[name].shape, shape)
  variables = {scope: named[name] for name, (scope, _) in scopes.items()}
  return module, traverse_util.unflatten_dict(variables)


def _error(given, expected) -> float:
  return np.linalg.norm(given - expected) / np.linalg.norm(expected)


def check(architecture: str, size: int) -> None:
  """Asserts that features, and at the network's own size logits, agree."""
  expected = reference(architecture)
  module, variables = network(architecture)
  outputs = jax.jit(module.apply)(variables, images(size))
  features = expected[f'features_{size}'][:2]
  if features.ndim == 4:  # The original leaves them spatial.
    features = features.mean((1, 2))
  assert outputs.features.shape == features.shape
  given = np.asarray(outputs.features)
  assert _error(given, features) < TOLERANCE
  centred = _error(given - given.mean(0), features - features.mean(0))
  assert centred < CENTRED_TOLERANCE
  if f'logits_{size}' in expected:
    logits = expected[f'logits_{size}'][:2].reshape(outputs.logits.shape)
    assert _error(np.asarray(outputs.logits), logits) < TOLERANCE
