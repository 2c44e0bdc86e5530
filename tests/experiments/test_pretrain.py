# SPDX-License-Identifier: Apache-2.0
import json

import jax
import numpy as np
import pytest

from experiments import objectives, pretrain, sources
from neucrab_jax import checkpoints, records


@pytest.fixture(scope='module')
def little_data():
  """Few examples and small batches: what is tested doesn't depend on them."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(pretrain, 'NUM_TRAIN', 256)
    patch.setattr(pretrain, 'NUM_HELD_OUT', 64)
    patch.setattr(pretrain, 'BATCH_SIZE', 16)
    yield


@pytest.fixture(scope='module')
def run(little_data):
  """A run of two steps: its weights and its record."""
  return pretrain.pretrain('mini_rotation', steps=2)


def test_every_recipe_has_a_bundled_checkpoint_and_the_other_way_round():
  assert set(pretrain.RECIPES) == set(checkpoints.names('mini_1'))


def test_recipes_and_checkpoints_agree_on_the_preprocessing():
  for name in pretrain.RECIPES:
    spec = checkpoints.get(name)
    assert spec.architecture == objectives.ARCHITECTURE
    assert spec.value_range == objectives.VALUE_RANGE
    assert spec.image_size == sources.IMAGE_SIZE


@pytest.mark.parametrize('name', pretrain.RECIPES)
def test_the_bundled_checkpoint_is_of_the_recipe(name):
  path = checkpoints.restore(name).checkpoint.path
  with open(path.removesuffix('.npz') + '.json', encoding='utf-8') as file:
    record = json.load(file)
  recipe = pretrain.RECIPES[name]
  assert record['recipe'] == {
    'source': recipe.source,
    'objectives': list(recipe.objectives),
    'labelled': recipe.labelled,
    'steps': recipe.steps,
  }


def test_the_same_seed_gives_the_same_weights_and_record(run):
  weights, record = pretrain.pretrain('mini_rotation', steps=2)
  assert weights.keys() == run[0].keys()
  for path, array in weights.items():
    np.testing.assert_array_equal(array, run[0][path])
  assert record == run[1]


def test_another_seed_gives_other_weights(little_data):
  (one, record), (other, _) = (
    pretrain.pretrain('mini_random', seed=seed) for seed in (0, 1)
  )
  name = 'params/conv1/kernel'
  assert (one[name] != other[name]).mean() > 0.9
  assert record['final_loss'] is None
  assert record['final_accuracy'] is None


def test_weights_are_stored_to_be_restored(tmp_path, run):
  weights, record = run
  assert {array.dtype for array in weights.values()} == {np.dtype(np.float16)}
  records.write_npz(tmp_path / 'net.npz', weights)
  backbone = checkpoints.restore('mini_rotation', tmp_path / 'net.npz')
  size = sources.IMAGE_SIZE
  outputs = backbone(np.zeros((1, size, size, 3), np.float32))
  assert outputs.logits.shape == (1, 4)
  assert record['final_loss'] > 0
  assert 0 <= record['final_accuracy'] <= 1
  json.dumps(record, allow_nan=False)


def test_a_stage_of_a_run_is_that_run_with_fewer_steps(little_data):
  ticks = []
  stage, record = pretrain.pretrain(
    'mini_sup_glyphs_stage1', steps=2, tick=lambda: ticks.append(1)
  )
  assert len(ticks) == record['recipe']['steps'] == 2
  whole, _ = pretrain.pretrain('mini_sup_glyphs', steps=2)
  for path, array in whole.items():
    np.testing.assert_array_equal(array, stage[path])
  recipes = pretrain.RECIPES
  assert 0 < recipes['mini_sup_glyphs_stage1'].steps < pretrain.STEPS


def test_only_the_labelled_share_gives_labels(little_data):
  recipe = pretrain.RECIPES['mini_semi_rotation_10']
  batches = np.stack(
    [pretrain._batches(recipe, jax.random.key(0), step) for step in range(50)]
  )
  assert batches[:, 0].max() < 0.1 * pretrain.NUM_TRAIN
  assert batches[:, 1].max() > 0.9 * pretrain.NUM_TRAIN
