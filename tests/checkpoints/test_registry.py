# SPDX-License-Identifier: Apache-2.0
"""Checkpoints by name and group, and the weights that are bundled."""

import hashlib
import json
import pathlib

import numpy as np
import pytest

from neucrab_jax import checkpoints, models, storage

MAX_BYTES = 600_000
PACKAGE = pathlib.Path(checkpoints.__file__).parent
BUNDLED = [
  name
  for name in checkpoints.names()
  if pathlib.Path(checkpoints.get(name).path).is_relative_to(PACKAGE)
]


def read_record(name):
  path = pathlib.Path(checkpoints.get(name).path).with_suffix('.json')
  return json.loads(path.read_text('utf-8'))


# One of each architecture: what is restored of all is what was made of them.
@pytest.mark.parametrize(
  'name',
  {checkpoints.get(name).architecture: name for name in BUNDLED}.values(),
)
def test_every_bundled_checkpoint_restores_and_runs(name):
  backbone = checkpoints.restore(name)
  size = backbone.checkpoint.image_size
  images = np.random.default_rng(0).uniform(-1, 1, (2, size, size, 3))
  outputs = backbone(images.astype(np.float32))
  assert outputs.features.shape[0] == 2
  assert outputs.features.ndim == 2
  assert outputs.features.dtype == np.float32
  assert np.isfinite(outputs.features).all()
  assert np.ptp(outputs.features, axis=0).any()
  if outputs.logits is not None:
    assert outputs.logits.shape[0] == 2
    assert np.isfinite(outputs.logits).all()


@pytest.mark.parametrize('name', BUNDLED)
def test_every_bundled_checkpoint_is_small(name):
  assert pathlib.Path(checkpoints.get(name).path).stat().st_size <= MAX_BYTES


@pytest.mark.parametrize('name', BUNDLED)
def test_every_bundled_checkpoint_is_stored_in_half_precision(name):
  arrays = storage.read_npz(checkpoints.get(name).path)
  assert {array.dtype for array in arrays.values()} == {np.dtype(np.float16)}


@pytest.mark.parametrize('name', BUNDLED)
def test_every_bundled_checkpoint_has_its_training_record(name):
  record = read_record(name)
  weights = pathlib.Path(checkpoints.get(name).path).read_bytes()
  assert record['sha256'] == hashlib.sha256(weights).hexdigest()
  assert record['command'].startswith('python -m experiments.pretrain')
  assert name in record['command']
  objectives = record['recipe']['objectives']
  # Untrained, it has no loss; what names nothing, no accuracy.
  assert (record['final_loss'] is None) == (not objectives)
  if record['final_accuracy'] is not None:
    assert 0 <= record['final_accuracy'] <= 1
  upstream = checkpoints.get(name).upstream_accuracy
  assert (upstream is None) == ('classify' not in objectives)


@pytest.mark.parametrize('name', BUNDLED)
def test_every_bundled_checkpoint_counts_its_parameters(name):
  arrays = storage.read_npz(checkpoints.get(name).path)
  count = sum(v.size for k, v in arrays.items() if k.startswith('params/'))
  assert read_record(name)['num_parameters'] == count


def test_no_two_bundled_checkpoints_have_the_same_weights():
  fingerprints = {checkpoints.restore(n).fingerprint for n in BUNDLED}
  assert len(fingerprints) == len(BUNDLED)


def test_no_bundled_file_is_without_its_checkpoint():
  files = {file.stem for file in PACKAGE.rglob('*.npz')}
  assert files == set(BUNDLED)


def test_names_are_unique():
  assert len(set(checkpoints.names())) == len(checkpoints.names())


@pytest.mark.parametrize('group', checkpoints.groups())
def test_a_group_is_the_checkpoints_that_say_so(group):
  names = checkpoints.names(group)
  assert names
  for name in checkpoints.names():
    assert (checkpoints.get(name).group == group) == (name in names)


@pytest.mark.parametrize('name', checkpoints.names())
def test_a_name_gives_its_spec(name):
  spec = checkpoints.get(name)
  assert spec.name == name
  assert set(spec.architecture.split('|')) <= set(models.names())


def test_an_unknown_name_gets_the_nearest():
  with pytest.raises(
    ValueError,
    match=r"Unknown checkpoint 'mini_sup_glyph'\..* 'mini_sup_glyphs'\?",
  ):
    checkpoints.get('mini_sup_glyph')


def test_an_unknown_group_gets_the_nearest():
  with pytest.raises(
    ValueError, match=r"Unknown group 'mini_11'\. Did you mean 'mini_1'\?"
  ):
    checkpoints.names('mini_11')


def test_a_selection_of_names_keeps_their_order():
  chosen = checkpoints.select(' mini_vae, mini_exemplar,')
  assert [spec.name for spec in chosen] == ['mini_vae', 'mini_exemplar']


def test_a_selection_names_each_checkpoint_once():
  chosen = [spec.name for spec in checkpoints.select('mini_vae,mini_1')]
  others = [n for n in checkpoints.names('mini_1') if n != 'mini_vae']
  assert chosen == ['mini_vae', *others]


@pytest.mark.parametrize('selection', ['', ' , ,'])
def test_a_selection_must_not_be_empty(selection):
  with pytest.raises(ValueError, match='No checkpoint is chosen'):
    checkpoints.select(selection)


@pytest.mark.parametrize('unknown', ['mini_1l', 'mini_vea'])
def test_a_selection_names_what_is_unknown_in_it(unknown):
  with pytest.raises(ValueError, match=f'{unknown!r}.* Did you mean'):
    checkpoints.select(f'mini_vae,{unknown}')


def test_restoring_an_unknown_name_gets_the_nearest():
  with pytest.raises(ValueError, match=r"Did you mean 'mini_vae'\?"):
    checkpoints.restore('mini_vea')
