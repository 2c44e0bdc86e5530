# SPDX-License-Identifier: Apache-2.0
"""Weights of a user's own in a known architecture: `ARCHITECTURE=PATH`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from configs import measure as measure_config
from neucrab_jax import checkpoints, models, storage
from tests.ranking import ranked

NETS = ('resnet_v2_mini', 'mobilenet_v1_mini')


def write(path, architecture, seed=0):
  """Saves random weights, as a file of ours."""
  shapes = jax.eval_shape(
    models.build(architecture).init,
    jax.random.key(0),
    jnp.zeros((1, 32, 32, 3)),
  )
  rng = np.random.default_rng(seed)
  storage.write_npz(
    path,
    {
      '/'.join(scope): rng.uniform(0.05, 0.15, leaf.shape).astype(np.float32)
      for scope, leaf in traverse_util.flatten_dict(shapes).items()
    },
  )


@pytest.fixture
def folder(tmp_path, monkeypatch):
  """Checkpoints of several forms, none of which can be read, and the test."""
  for name in (
    'run/model.ckpt-100.index',
    'run/model.ckpt-100.data-00000-of-00001',
    'run/model.ckpt-90.index',
    'run/model.ckpt-90.data-00000-of-00001',
    'other/model.ckpt-90.index',
    'other/model.ckpt-90.data-00000-of-00001',
    'half.index',
    'hub/variables/variables.index',
    'hub/variables/variables.data-00000-of-00001',
    'net.npz',
    'packed.tar.gz',
    'x.onnx',
    'inception=v1.onnx',
    'run/mini_vae.npz',
  ):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True, parents=True)
    path.touch()
  monkeypatch.chdir(tmp_path)
  return tmp_path


SELECTIONS = {
  'inception_v1=run/model.ckpt-90': ['model.ckpt-90'],
  'inception_v1 = run/model.ckpt-90': ['model.ckpt-90'],
  'inception_v1=run/model.ckpt-*': ['model.ckpt-100', 'model.ckpt-90'],
  'inception_v1=*/model.ckpt-90': ['other-model.ckpt-90', 'run-model.ckpt-90'],
  'inception_v1=hub': ['hub'],
  'inception_v1=packed.tar.gz': ['packed'],
  'mini_vae,x.onnx,resnet_v2_mini=net.npz': ['mini_vae', 'x', 'net'],
  'inception_v1=net.npz,./inception=v1.onnx': ['net', 'inception=v1'],
  'inception=v1.onnx': ['inception=v1'],
  'inception_v1=./net.npz,inception_v1=net.npz': ['net'],
  'resnet_v2_mini=run/mini_vae.npz': ['run-mini_vae'],
}


@pytest.mark.parametrize('selection', SELECTIONS)
def test_names_are_short_and_unique(selection, folder):
  found = checkpoints.select(selection)
  assert [each.name for each in found] == SELECTIONS[selection]


def test_one_file_in_two_architectures_has_two_names(folder):
  found = checkpoints.select('inception_v1=net.npz,inception_v2=net.npz')
  first, second = (each.name for each in found)
  assert first.startswith('inception_v1-')
  assert second.startswith('inception_v2-')


def test_images_are_prepared_as_for_the_group_of_the_architecture(folder):
  specs = checkpoints.select(
    ','.join(
      f'{name}=net.npz'
      for name in ('resnet_v2_mini', 'inception_v3', 'biggan_discriminator')
    )
  )
  prepared = [(each.image_size, each.value_range) for each in specs]
  assert prepared == [(32, (-1, 1)), (224, (-1, 1)), (224, (0, 1))]
  (own,) = checkpoints.select('inception_v3=net.npz', preprocessing='own')
  assert (own.image_size, own.resize_method) == (299, 'slim_inception')


@pytest.mark.parametrize(
  ('selection', 'message'),
  [
    ('inception_v11=net.npz', "Did you mean 'inception_v1'"),
    ('inception_v1=', 'names no weights'),
    ('inception_v1=nowhere.npz', 'There is no file .*nowhere.npz'),
    ('inception_v1=run/model.ckpt-1', 'There is no checkpoint'),
    ('inception_v1=run/nothing-*', "No checkpoint matches 'run/nothing-"),
    ('inception_v1=run/model.ckpt-90.index', "common: '.*/model.ckpt-90'"),
    ('inception_v1=run', 'is a folder.*model.ckpt-90'),
    ('inception_v1=half', 'has an .index, but'),
    ('inception_v1=s3://bucket/net.npz', 'is on s3://'),
  ],
)
def test_what_is_none_says_so_at_once(selection, message, folder):
  with pytest.raises((ValueError, FileNotFoundError), match=message):
    checkpoints.select(f'mini_vae,{selection}')


def test_what_is_restored_is_what_was_saved(tmp_path):
  path = tmp_path / 'net.npz'
  write(path, NETS[0])
  backbone = checkpoints.restore(f'{NETS[0]}={path}')
  assert backbone.checkpoint.name == 'net'
  images = np.linspace(-1, 1, 2 * 32 * 32 * 3, dtype='f4')
  images = images.reshape(2, 32, 32, 3)
  np.testing.assert_array_equal(
    backbone(images).features,
    checkpoints.restore(NETS[0], path)(images).features,
  )


def test_own_weights_are_ranked_among_the_others(tmp_path):
  write(tmp_path / 'a' / 'net.npz', NETS[0])
  write(tmp_path / 'b' / 'net.npz', NETS[1])
  config = measure_config.get_config('num_parameters')
  config.checkpoints = (
    f'{NETS[0]}={tmp_path}/a/net.npz,{NETS[1]}={tmp_path}/b/net.npz,mini_random'
  )
  config.task.num_examples = 30
  config.batch_size = 10
  config.cache_dir = str(tmp_path / 'cache')
  result = ranked.rank(config, str(tmp_path / 'run'))
  scores = ranked.scores_of(result)
  assert set(scores) == {'a-net', 'b-net', 'mini_random'}
  # Of the same architecture.
  assert scores['a-net'] == scores['mini_random']
