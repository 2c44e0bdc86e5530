# SPDX-License-Identifier: Apache-2.0
import dataclasses
import functools
import hashlib
import json
import pathlib

import jax
import numpy as np
import pytest
from flax import traverse_util

from configs import pretrain as pretrain_config
from experiments import objectives, pretrain, recipes, sources
from neucrab_jax import checkpoints, storage

# The first losses of a run, on another machine.
_TOLERANCE = 2e-3


# Of the source that is drawn fastest.
_NAME = 'mini_sup_textures'


@pytest.fixture(scope='module')
def run():
  """The first steps of a bundled checkpoint: their weights and their record."""
  config = pretrain_config.get_config()
  config.num_held_out = 64  # The losses are of what it is trained on.
  return pretrain.pretrain(_NAME, config, steps=pretrain.NUM_LOSSES)


def _record(name):
  path = pathlib.Path(checkpoints.get(name).path)
  return path, json.loads(path.with_suffix('.json').read_text())


@pytest.mark.parametrize('group', recipes.GROUPS)
def test_every_recipe_is_a_checkpoint_and_the_other_way_round(group):
  assert set(recipes.GROUPS[group]) == set(checkpoints.names(group))


@pytest.mark.parametrize('name', recipes.RECIPES)
def test_the_bundled_checkpoint_is_of_the_recipe(name):
  path, record = _record(name)
  recipe, spec = recipes.RECIPES[name], checkpoints.get(name)
  found = record['recipe']
  assert found['source'] == recipe.source
  assert tuple(found['objectives']) == recipe.objectives
  assert found['labelled'] == recipe.labelled
  assert found['seed'] == recipe.seed
  steps = pretrain_config.get_config().steps
  assert found['steps'] == round(recipe.share * steps)
  assert spec.architecture == recipe.architecture
  assert spec.value_range == objectives.VALUE_RANGE
  assert spec.image_size == sources.IMAGE_SIZE
  assert hashlib.sha256(path.read_bytes()).hexdigest() == record['sha256']


def test_the_groups_are_as_large_as_the_papers_and_small_on_disk():
  sizes = {group: len(checkpoints.names(group)) for group in recipes.GROUPS}
  assert sizes == {'mini_1': 16, 'mini_2': 12, 'mini_3': 13, 'control': 1}
  files = [_record(name)[0] for name in recipes.RECIPES]
  assert sum(file.stat().st_size for file in files) < 10e6


@pytest.mark.slow
def test_the_first_steps_of_a_bundled_checkpoint_come_out_again(run):
  _, again = run
  _, record = _record(_NAME)
  np.testing.assert_allclose(
    again.first_losses, record['first_losses'], rtol=_TOLERANCE
  )


def test_weights_are_stored_to_be_restored(tmp_path, run):
  weights, record = run
  assert {array.dtype for array in weights.values()} == {np.dtype(np.float16)}
  storage.write_npz(tmp_path / 'net.npz', weights)
  backbone = checkpoints.restore(_NAME, tmp_path / 'net.npz')
  size = sources.IMAGE_SIZE
  outputs = backbone(np.zeros((1, size, size, 3), np.float32))
  assert outputs.logits.shape == (1, sources.num_classes('textures'))
  assert record.final_loss > 0
  assert 0 <= record.final_accuracy <= 1
  json.dumps(storage.to_builtins(record), allow_nan=False)


def test_another_seed_gives_other_weights(monkeypatch):
  monkeypatch.setitem(
    recipes.RECIPES,
    'mini_random',
    recipes.Recipe('textures', objectives=(), share=0.0, seed=1),
  )
  config = pretrain_config.get_config()
  config.num_train = config.num_held_out = 64
  other, record = pretrain.pretrain('mini_random', config)
  bundled = storage.read_npz(_record('mini_random')[0])
  name = 'params/conv1/kernel'
  assert bundled[name].shape == other[name].shape
  assert (bundled[name] != other[name]).mean() > 0.9
  assert record.final_loss is None
  assert record.final_accuracy is None


# One of each objective, but for those that the others are sums of.
@pytest.mark.parametrize(
  'name',
  [
    'mini_cond_gan',
    'mini_exemplar',
    'mini_jigsaw',
    'mini_relative_patch',
    'mini_rotation',
    'mini_vae',
    'mini_wae_gan',
    'mini_wae_mmd',
    'mini_wae_ukl',
  ],
)
def test_an_objective_moves_the_whole_backbone(name):
  recipe = dataclasses.replace(
    recipes.RECIPES[name], architecture='resnet_v2_mini_narrow'
  )
  learner = pretrain.Learner(recipe)
  random = np.random.default_rng(0)
  images = random.integers(0, 256, (2, 8, 32, 32, 3), np.uint8)
  batch = objectives.Batch(images[0], np.arange(8), images[1])
  key = jax.random.key(0)
  sizes = jax.eval_shape(
    functools.partial(learner.init, train=False), key, batch, key
  )
  variables = jax.tree.map(
    lambda x: np.abs(0.1 * random.normal(size=x.shape)).astype('f4'), sizes
  )

  def loss_fn(params):
    (loss, _), _ = learner.apply(
      {**variables, 'params': params},
      batch,
      key,
      train=True,
      mutable=['batch_stats'],
    )
    return loss

  loss, gradients = jax.jit(jax.value_and_grad(loss_fn))(variables['params'])
  assert np.isfinite(loss)
  found = traverse_util.flatten_dict(gradients['backbone'], sep='/')
  assert all(np.abs(found[path]).max() > 0 for path in found)


def test_only_the_labelled_share_gives_labels():
  recipe = recipes.RECIPES['mini_semi_rotation_10']
  found = np.stack(
    [
      pretrain.batches(
        recipe, jax.random.key(0), step, num_train=10_000, batch_size=128
      )
      for step in range(50)
    ]
  )
  assert found[:, 0].max() < 0.1 * 10_000
  assert found[:, 1].max() > 0.9 * 10_000


def test_an_unknown_checkpoint_is_refused():
  with pytest.raises(ValueError, match=r"'mini_vea'.*mean 'mini_vae'"):
    pretrain._select('mini_1,mini_vea')
