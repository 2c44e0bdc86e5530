# SPDX-License-Identifier: Apache-2.0
"""TensorFlow 1's checkpoints, written here by TensorFlow itself."""

import io
import pathlib
import tarfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from neucrab_jax import checkpoints, models, storage
from neucrab_jax.checkpoints import tf_names

ARCHITECTURE = 'resnet_v2_mini'

# The rule of `tf_names`, the other way round.
LEAVES = {
  'params/kernel': 'weights',
  'params/scale': 'gamma',
  'batch_stats/mean': 'moving_mean',
  'batch_stats/var': 'moving_variance',
}

EXTRAS = {
  'global_step': np.int64(300_000),
  'net/conv1/weights/Momentum': np.zeros((3, 3, 3, 16), np.float32),
  'net/conv1/weights/ExponentialMovingAverage': np.zeros(3, np.float32),
  'net/AuxLogits/Conv2d_1b_1x1/weights': np.zeros((1, 1, 4, 4), np.float32),
  'beta1_power': np.float32(0.9),
}


def tensorflow_name(name):
  collection, *scope, leaf = name.split('/')
  new = LEAVES.get(f'{collection}/{leaf}')
  if new is None:  # A bias: of BatchNorm, or of a convolution.
    normalised = scope[-1] in ('BatchNorm', 'preact', 'postnorm')
    new = 'beta' if normalised else 'biases'
  return '/'.join(['net', *scope, new])


def make_weights(num_classes=5, seed=0):
  module = models.build(ARCHITECTURE, num_classes=num_classes)
  shapes = jax.eval_shape(
    module.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3))
  )
  rng = np.random.default_rng(seed)
  return {
    '/'.join(path): rng.uniform(0.05, 0.15, leaf.shape).astype(np.float32)
    for path, leaf in traverse_util.flatten_dict(shapes).items()
  }


def save(prefix, tensors):
  import tensorflow as tf

  pathlib.Path(prefix).parent.mkdir(parents=True, exist_ok=True)
  names = sorted(tensors)
  tf.raw_ops.SaveV2(
    prefix=str(prefix),
    tensor_names=names,
    shape_and_slices=[''] * len(names),
    tensors=[tf.constant(tensors[name]) for name in names],
  )
  return str(prefix)


def to_tensorflow(weights):
  return {tensorflow_name(name): value for name, value in weights.items()}


@pytest.fixture(scope='module')
def saved(tmp_path_factory):
  """A checkpoint as training leaves it."""
  prefix = tmp_path_factory.mktemp('tf1') / 'model.ckpt-300000'
  return save(prefix, {**to_tensorflow(make_weights()), **EXTRAS})


@pytest.fixture
def copied(saved, tmp_path):
  """The same, for a test to spoil."""
  for file in pathlib.Path(saved).parent.glob('model.ckpt-300000.*'):
    (tmp_path / file.name).write_bytes(file.read_bytes())
  return tmp_path / 'model.ckpt-300000'


def check_variables(backbone):
  flat = traverse_util.flatten_dict(dict(backbone.variables))
  weights = make_weights()
  assert {'/'.join(path) for path in flat} == set(weights)
  for path, value in flat.items():
    np.testing.assert_array_equal(value, weights['/'.join(path)])


def test_every_variable_is_where_the_network_wants_it(saved):
  backbone = checkpoints.restore(ARCHITECTURE, saved)
  check_variables(backbone)
  outputs = backbone(np.zeros((2, 32, 32, 3), np.float32))
  assert outputs.logits.shape == (2, 5)


def test_says_what_it_skipped(saved):
  backbone = checkpoints.restore(ARCHITECTURE, saved)
  assert set(backbone.skipped) == set(EXTRAS)


AVERAGE = 'ExponentialMovingAverage'


@pytest.fixture(scope='module')
def averaged(tmp_path_factory):
  """A checkpoint with averages of all variables but one, which are doubled."""
  tensors = to_tensorflow(make_weights())
  averages = {
    f'{name}/{AVERAGE}': 2 * value for name, value in sorted(tensors.items())
  }
  averages.popitem()
  prefix = tmp_path_factory.mktemp('averaged') / 'model.ckpt-1'
  return save(prefix, {**tensors, **averages, 'global_step': np.int64(1)})


@pytest.mark.parametrize(
  ('averages', 'twice', 'said'),
  [
    (False, 0, 'also holds exponential moving averages of {n} variables'),
    (True, 1, 'exponential moving averages of {n} variables are used'),
  ],
)
def test_raw_weights_or_averages_are_read_and_that_is_said(
  averaged, averages, twice, said
):
  spec = checkpoints.Checkpoint(
    'own', ARCHITECTURE, averaged, averages=averages
  )
  backbone = checkpoints.restore(spec)
  weights = make_weights()
  ratios = {
    float(np.mean(value / weights['/'.join(path)]))
    for path, value in traverse_util.flatten_dict(
      dict(backbone.variables)
    ).items()
  }
  n = len(weights) - 1
  assert {round(ratio, 4) for ratio in ratios} == {1, 1 + twice}
  (note,) = checkpoints.notes(backbone)
  assert said.format(n=n) in note
  assert ('--config.weights=averages' in note) == (not averages)


def test_where_there_are_no_averages_the_raw_weights_are_read(tmp_path):
  path = save(tmp_path / 'model', to_tensorflow(make_weights()))
  for averages, said in ((False, 0), (True, 1)):
    backbone = checkpoints.restore(
      checkpoints.Checkpoint('own', ARCHITECTURE, path, averages=averages)
    )
    check_variables(backbone)
    assert len(checkpoints.notes(backbone)) == said


def test_the_weights_are_a_choice_for_all_that_are_selected():
  raw = checkpoints.select('mini_vae')
  assert not raw[0].averages
  assert checkpoints.select('mini_vae', weights='averages')[0].averages
  with pytest.raises(ValueError, match="Did you mean 'averages'"):
    checkpoints.select('mini_vae', weights='average')
  assert checkpoints.notes(checkpoints.restore('mini_vae')) == ()


def test_is_the_same_as_our_own_file(saved, tmp_path):
  storage.write_npz(tmp_path / 'net.npz', make_weights())
  one = checkpoints.restore(ARCHITECTURE, saved)
  other = checkpoints.restore(ARCHITECTURE, tmp_path / 'net.npz')
  assert one.fingerprint == other.fingerprint


@pytest.fixture
def hub(tmp_path):
  """The folder of a TF1-Hub module."""
  save(tmp_path / 'hub/variables/variables', to_tensorflow(make_weights()))
  (tmp_path / 'hub/saved_model.pb').write_bytes(b'graph')
  return tmp_path / 'hub'


def test_reads_a_hub_module(hub):
  check_variables(checkpoints.restore(ARCHITECTURE, hub))


@pytest.mark.parametrize('top', ['', './'])
def test_reads_a_packed_hub_module(hub, tmp_path, top):
  path = tmp_path / '1.tar.gz'
  with tarfile.open(path, 'w:gz') as packed:
    for file in sorted(hub.rglob('*')):
      packed.add(file, f'{top}{file.relative_to(hub)}', recursive=False)
  check_variables(checkpoints.restore(ARCHITECTURE, path))


def test_an_archive_cannot_leave_its_folder(tmp_path):
  path = tmp_path / '1.tar.gz'
  with tarfile.open(path, 'w:gz') as packed:
    member = tarfile.TarInfo('variables/variables/../../../escaped')
    member.size = 1
    packed.addfile(member, io.BytesIO(b'x'))
  with pytest.raises(ValueError, match='no TF-Hub module'):
    checkpoints.restore(ARCHITECTURE, path)
  assert not (tmp_path / 'escaped').exists()


def test_a_truncated_archive(hub, tmp_path):
  path = tmp_path / '1.tar.gz'
  with tarfile.open(path, 'w:gz') as packed:
    packed.add(hub, '.')
  path.write_bytes(path.read_bytes()[:-2000])
  with pytest.raises(storage.DamagedFileError, match='Download it again'):
    checkpoints.restore(ARCHITECTURE, path)


@pytest.mark.parametrize('suffix', ['.index', '.data-00000-of-00001'])
def test_one_file_of_a_checkpoint(saved, suffix):
  with pytest.raises(ValueError, match=r"in common: '.*model\.ckpt-300000'"):
    checkpoints.restore(ARCHITECTURE, saved + suffix)


def test_a_folder_names_the_checkpoints_in_it(saved):
  with pytest.raises(ValueError, match=r'is a folder.*model\.ckpt-300000'):
    checkpoints.restore(ARCHITECTURE, pathlib.Path(saved).parent)


def test_an_empty_folder(tmp_path):
  with pytest.raises(ValueError, match=r'is a folder.*There is none in it'):
    checkpoints.restore(ARCHITECTURE, tmp_path)


def test_no_such_checkpoint(tmp_path):
  with pytest.raises(FileNotFoundError, match=r'model\.ckpt-1\.index'):
    checkpoints.restore(ARCHITECTURE, tmp_path / 'model.ckpt-1')


def test_an_index_without_data(copied):
  pathlib.Path(f'{copied}.data-00000-of-00001').unlink()
  with pytest.raises(FileNotFoundError, match='Copy both'):
    checkpoints.restore(ARCHITECTURE, copied)


@pytest.mark.parametrize('part', ['.data-00000-of-00001', '.index'])
@pytest.mark.parametrize('share', [0.0, 0.5, 0.99])
def test_a_truncated_file(copied, part, share):
  file = pathlib.Path(f'{copied}{part}')
  content = file.read_bytes()
  file.write_bytes(content[: int(share * len(content))])
  with pytest.raises(storage.DamagedFileError, match='truncated or damaged'):
    checkpoints.restore(ARCHITECTURE, copied)


def test_a_missing_variable_is_named(tmp_path):
  tensors = to_tensorflow(make_weights())
  del tensors['net/block2/unit_1/bottleneck_v2/conv2/weights']
  path = save(tmp_path / 'model', tensors)
  with pytest.raises(
    ValueError, match=r"lacks 1 .*'params/block2/.*/conv2/kernel' of shape"
  ):
    checkpoints.restore(ARCHITECTURE, path)


def test_a_checkpoint_of_something_else_says_what_it_holds(tmp_path):
  path = save(tmp_path / 'model', {'a/b/weights': np.ones((2, 2), np.float32)})
  with pytest.raises(ValueError, match=r'It holds .*kernel'):
    checkpoints.restore(ARCHITECTURE, path)


@pytest.mark.parametrize(
  ('names', 'expected'),
  [
    (
      ['net/conv1/weights', 'net/conv1/BatchNorm/gamma', 'global_step'],
      ['params/conv1/kernel', 'params/conv1/BatchNorm/scale'],
    ),
    # Nothing is around the whole network.
    (
      ['root/conv2d/kernel', 'block1/bn/moving_variance'],
      ['params/root/conv2d/kernel', 'batch_stats/block1/bn/var'],
    ),
    (['conv2d/kernel', 'conv2d_1/bias'],
     ['params/conv2d/kernel', 'params/conv2d_1/bias']),
  ],
)  # fmt: skip
def test_the_names_in_flax(names, expected):
  assert list(tf_names.to_flax(names).values()) == expected
