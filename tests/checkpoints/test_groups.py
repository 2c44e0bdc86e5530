# SPDX-License-Identifier: Apache-2.0
"""The groups of the paper, and what their checkpoints need."""

import pathlib

import numpy as np
import pytest

from neucrab_jax import checkpoints, models
from tests.checkpoints import test_tf1
from tests.models import parity

PAPER = {'neucrab_1': 16, 'neucrab_2': 12, 'neucrab_3': 13}

# What has no original whose outputs are known, and why.
NO_ORIGINAL = {
  'biggan_discriminator': 'compared with its definition, in test_biggan',
  **{
    name: 'our own, a small one of a family whose originals are tested'
    for name in models.names()
    if '_mini' in name
  },
}


@pytest.mark.parametrize(('group', 'size'), PAPER.items())
def test_has_the_checkpoints_of_the_paper(group, size):
  names = checkpoints.names(group)
  assert len(set(names)) == size
  assert all(checkpoints.get(name).group == group for name in names)


def test_no_two_checkpoints_share_a_name():
  assert len(set(checkpoints.names())) == len(checkpoints.names())


# The last stages of two runs of group II are in group I as well.
@pytest.mark.parametrize('group', checkpoints.groups())
def test_no_two_checkpoints_of_a_group_share_a_file(group):
  paths = [checkpoints.get(name).path for name in checkpoints.names(group)]
  assert len(set(paths)) == len(paths)


@pytest.mark.parametrize('name', checkpoints.names())
def test_names_architectures_that_build(name):
  for architecture in checkpoints.get(name).architecture.split('|'):
    models.build(architecture)


@pytest.mark.parametrize('architecture', models.names())
def test_every_architecture_has_an_original_or_a_reason(architecture):
  has_original = (parity.FOLDER / f'{architecture}.npz').exists()
  assert has_original != (architecture in NO_ORIGINAL)


def test_weights_that_are_not_bundled_need_a_folder(tmp_path):
  with pytest.raises(ValueError, match=r'--config\.checkpoint_dir'):
    checkpoints.select('neucrab_2')
  with pytest.raises(ValueError, match='no folder'):
    checkpoints.select('neucrab_2', str(tmp_path / 'nowhere'))
  first, *_ = checkpoints.select('neucrab_2', str(tmp_path))
  assert pathlib.Path(first.path).is_relative_to(tmp_path)


@pytest.mark.parametrize(
  ('preprocessing', 'sizes'),
  [('vtab', {224}), ('own', {224, 299})],
)
def test_images_are_prepared_as_told(tmp_path, preprocessing, sizes):
  specs = checkpoints.select('neucrab_3', str(tmp_path), preprocessing)
  assert {spec.image_size for spec in specs} == sizes
  assert {spec.resize_method for spec in specs} == (
    {'bilinear'} if preprocessing == 'vtab' else {'slim_inception', 'slim_vgg'}
  )


def test_an_unknown_preprocessing(tmp_path):
  with pytest.raises(ValueError, match=r"'vtap'.*mean 'vtab'"):
    checkpoints.select('neucrab_3', str(tmp_path), 'vtap')


def test_bundled_weights_need_none():
  assert checkpoints.select('mini_1') == checkpoints.select('mini_1', '.')


@pytest.fixture(scope='module')
def rank_ckpt(tmp_path_factory):
  """A checkpoint as the release of the paper would have it."""
  folder = tmp_path_factory.mktemp('rank_ckpt')
  test_tf1.save(
    folder / 'imagenet_res50' / 'model.ckpt-90000',
    parity.weights('resnet_v2_50'),
  )
  return folder


def test_a_restored_checkpoint_is_the_original(rank_ckpt):
  (spec,) = checkpoints.select('imagenet_res50_90k', str(rank_ckpt))
  backbone = checkpoints.restore(spec)
  # Which version it is, the variables tell.
  assert backbone.checkpoint.architecture == 'resnet_v2_50'
  outputs = backbone(parity.images(224))
  expected = parity.reference('resnet_v2_50')
  for given, name in zip(outputs, ('features', 'logits'), strict=True):
    original = expected[f'{name}_224'][:2].reshape(given.shape)
    error = np.linalg.norm(given - original) / np.linalg.norm(original)
    assert error < parity.TOLERANCE


def test_weights_of_another_architecture_are_recognised(rank_ckpt, monkeypatch):
  # Its nearest relatives: to trace all there are takes long.
  families = ('resnet_v1_', 'resnet_v2_50', 's4l_resnet50', 'rss_')
  relatives = [name for name in models.names() if name.startswith(families)]
  monkeypatch.setattr(models, 'names', lambda: relatives)
  path = rank_ckpt / 'imagenet_res50' / 'model.ckpt-90000'
  with pytest.raises(
    ValueError, match=r'of resnet_v1_101.* These weights are resnet_v2_50\.'
  ):
    checkpoints.restore('resnet_v1_101', path)


@pytest.mark.parametrize(
  ('architecture', 'scope', 'extras'),
  [
    ('s4l_resnet50_v2', '', ('rotations/kernel', 'embeddings/bias')),
    ('rss_resnet50_v2', 'module/', ()),
  ],
)
def test_the_names_in_a_module_of_vtab_are_found_out(
  tmp_path, architecture, scope, extras
):
  (spec,) = checkpoints.select('rotation', str(tmp_path))
  stored = {
    f'{scope}{name}': value
    for name, value in parity.weights(architecture).items()
  }
  extras = {name: np.zeros((1, 1, 8, 4), np.float32) for name in extras}
  folder = tmp_path / 'unpacked'
  test_tf1.save(folder / 'variables' / 'variables', {**stored, **extras})
  backbone = checkpoints.restore(spec, folder)
  assert backbone.checkpoint.architecture == architecture
  assert set(backbone.skipped) == set(extras)


def test_a_module_of_no_known_names_says_which_it_has(tmp_path):
  (spec,) = checkpoints.select('vae', str(tmp_path))
  variables = {
    'encoder/stem/weights': np.zeros((3, 3, 3, 8), np.float32),
    'encoder/stem/scale': np.zeros(8, np.float32),
  }
  path = test_tf1.save(tmp_path / 'variables' / 'variables', variables)
  with pytest.raises(
    ValueError, match=r'params/stem/kernel; and beside them: encoder/stem/scale'
  ):
    checkpoints.restore(spec, path)
