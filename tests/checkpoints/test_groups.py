# SPDX-License-Identifier: Apache-2.0
"""The groups of the paper, and what their checkpoints need."""

import pathlib

import numpy as np
import pytest

from neucrab_jax import checkpoints, models
from tests.checkpoints import test_tf1
from tests.models import parity

PAPER = {'neucrab_2': 12}

# What has no original whose outputs are known, and why.
NO_ORIGINAL = {'resnet_v2_mini': 'our own; the form is that of resnet_v2_50'}


@pytest.mark.parametrize(('group', 'size'), PAPER.items())
def test_has_the_checkpoints_of_the_paper(group, size):
  names = checkpoints.names(group)
  assert len(set(names)) == size
  assert all(checkpoints.get(name).group == group for name in names)


def test_no_two_checkpoints_share_a_name_or_a_file():
  specs = [checkpoints.get(name) for name in checkpoints.names()]
  assert len({spec.name for spec in specs}) == len(specs)
  assert len({spec.path for spec in specs}) == len(specs)


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
    original = expected[f'{name}_224'].reshape(given.shape)
    error = np.linalg.norm(given - original) / np.linalg.norm(original)
    assert error < parity.TOLERANCE


def test_weights_of_another_architecture_are_recognised(rank_ckpt):
  path = rank_ckpt / 'imagenet_res50' / 'model.ckpt-90000'
  with pytest.raises(
    ValueError, match=r'of resnet_v1_101.* These weights are resnet_v2_50\.'
  ):
    checkpoints.restore('resnet_v1_101', path)
