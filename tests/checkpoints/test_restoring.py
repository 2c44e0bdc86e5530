# SPDX-License-Identifier: Apache-2.0
"""From weights on disk to a network, with weights made here."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from neucrab_jax import checkpoints, models, storage

ARCHITECTURE = 'resnet_v2_mini'
KERNEL = 'params/block2/unit_1/bottleneck_v2/conv2/kernel'


def make_weights(num_classes=None, *, dtype=np.float32, seed=0):
  """A network's variables by path, as a checkpoint's file has them."""
  module = models.build(ARCHITECTURE, num_classes=num_classes)
  shapes = jax.eval_shape(
    module.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3))
  )
  rng = np.random.default_rng(seed)
  return {
    '/'.join(path): rng.uniform(0.05, 0.15, leaf.shape).astype(dtype)
    for path, leaf in traverse_util.flatten_dict(shapes).items()
  }


@pytest.fixture
def store(tmp_path):
  """Writes weights to a file, and gives the spec of a checkpoint of them."""

  def write(weights, name='net'):
    path = tmp_path / f'{name}.npz'
    storage.write_npz(path, weights)
    return checkpoints.Checkpoint(
      name, architecture=ARCHITECTURE, path=str(path), group='none'
    )

  return write


@pytest.fixture
def images():
  rng = np.random.default_rng(0)
  return rng.uniform(-1, 1, (3, 16, 16, 3)).astype(np.float32)


@pytest.mark.parametrize('num_classes', [None, 5])
def test_the_file_says_whether_there_is_a_head(store, images, num_classes):
  backbone = checkpoints.restore(store(make_weights(num_classes)))
  outputs = backbone(images)
  assert outputs.features.shape[0] == 3
  assert outputs.features.ndim == 2
  if num_classes is None:
    assert outputs.logits is None
  else:
    assert outputs.logits.shape == (3, num_classes)


def test_every_variable_is_where_the_network_wants_it(store, images):
  weights = make_weights(5)
  backbone = checkpoints.restore(store(weights))
  flat = traverse_util.flatten_dict(dict(backbone.variables))
  assert {'/'.join(path) for path in flat} == set(weights)
  for path, value in flat.items():
    np.testing.assert_array_equal(value, weights['/'.join(path)])
  outputs = backbone.module.apply(backbone.variables, images)
  np.testing.assert_allclose(
    backbone(images).features, outputs.features, rtol=1e-5
  )


def test_half_precision_is_widened(store):
  weights = make_weights(dtype=np.float16)
  backbone = checkpoints.restore(store(weights))
  for path, value in traverse_util.flatten_dict(backbone.variables).items():
    assert value.dtype == np.float32
    np.testing.assert_array_equal(value, weights['/'.join(path)])


def test_weights_can_be_elsewhere(store, images):
  spec = store(make_weights(seed=1))
  bundled = checkpoints.names('mini_1')[0]
  backbone = checkpoints.restore(bundled, spec.path)
  assert backbone.checkpoint.name == bundled
  assert backbone.checkpoint.path == spec.path
  np.testing.assert_array_equal(
    backbone(images).features, checkpoints.restore(spec)(images).features
  )


def test_the_fingerprint_is_of_the_weights(store):
  one = checkpoints.restore(store(make_weights(), 'one'))
  same = checkpoints.restore(store(make_weights(), 'same'))
  weights = make_weights()
  weights[KERNEL][1, 1, 0, 0] += 1e-3
  other = checkpoints.restore(store(weights, 'other'))
  assert one.fingerprint == same.fingerprint
  assert one.fingerprint != other.fingerprint


def test_missing_weights_are_named(store):
  spec = store(make_weights())
  with pytest.raises(FileNotFoundError, match=r'nowhere\.npz'):
    checkpoints.restore(spec, 'nowhere.npz')


@pytest.mark.parametrize('share', [0.0, 0.1, 0.9, 0.999])
def test_truncated_weights_are_refused(store, tmp_path, share):
  spec = store(make_weights())
  path = tmp_path / 'net.npz'
  whole = path.read_bytes()
  path.write_bytes(whole[: int(share * len(whole))])
  with pytest.raises(storage.DamagedFileError, match=r'net\.npz'):
    checkpoints.restore(spec)


@pytest.mark.parametrize('place', [0.2, 0.5, 0.8])
def test_damaged_weights_are_refused(store, tmp_path, place):
  spec = store(make_weights())
  path = tmp_path / 'net.npz'
  content = bytearray(path.read_bytes())
  content[int(place * len(content))] ^= 1
  path.write_bytes(content)
  with pytest.raises(storage.DamagedFileError, match=r'net\.npz'):
    checkpoints.restore(spec)


def spoil_missing(weights):
  del weights[KERNEL]
  return 'lacks 1 of the'


def spoil_name(weights):
  weights['params/conv9/kernel'] = weights['params/conv1/kernel']
  return "1 variables that resnet_v2_mini has not.*'params/conv9/kernel'"


def spoil_shape(weights):
  whole = weights[KERNEL].shape
  weights[KERNEL] = weights[KERNEL][:, :2]
  part = weights[KERNEL].shape
  return re.escape(f'shape {part}, but resnet_v2_mini wants {whole}')


def spoil_value(weights, value=np.nan):
  weights[KERNEL][0, 0, 0, 0] = value
  return 'NaN or Inf'


def spoil_infinite(weights):
  return spoil_value(weights, np.inf)


@pytest.mark.parametrize(
  'spoil',
  [spoil_missing, spoil_name, spoil_shape, spoil_value, spoil_infinite],
)
def test_weights_that_do_not_fit_name_the_variable(store, spoil):
  weights = make_weights()
  message = spoil(weights)
  with pytest.raises(ValueError, match=message) as error:
    checkpoints.restore(store(weights))
  assert re.search(f'{KERNEL}|params/conv9/kernel', str(error.value))
  assert 'net.npz' in str(error.value)


@pytest.mark.parametrize(
  'kind', [np.complex64, np.str_, np.int32], ids=lambda kind: kind.__name__
)
def test_weights_that_are_no_floats_name_the_variable(store, kind):
  weights = make_weights()
  weights[KERNEL] = weights[KERNEL].astype(kind)
  with pytest.raises(ValueError, match=f'{KERNEL}.* float'):
    checkpoints.restore(store(weights))


def test_an_unknown_architecture_gets_the_nearest(store):
  spec = store(make_weights())
  spec = checkpoints.Checkpoint(
    'net', architecture='resnet_v2_mimi', path=spec.path, group='none'
  )
  with pytest.raises(ValueError, match="Did you mean 'resnet_v2_mini'"):
    checkpoints.restore(spec)
