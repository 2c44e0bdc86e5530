# SPDX-License-Identifier: Apache-2.0
"""Functions of a user's own, written by `jax.export` and ranked like others."""

import json

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import export

from configs import finetune as finetune_config
from configs import measure as measure_config
from neucrab_jax import checkpoints, models
from neucrab_jax.checkpoints import exported_programs
from neucrab_jax.finetuning import run as finetuning
from tests.ranking import ranked

SIZE, WIDTH, CLASSES = 8, 6, 5
RNG = np.random.default_rng(0)
IMAGES = RNG.standard_normal((5, SIZE, SIZE, 3)).astype('f4')
KERNEL = RNG.standard_normal((SIZE * SIZE * 3, WIDTH)).astype('f4') / 10
HEAD = RNG.standard_normal((WIDTH, CLASSES)).astype('f4')
WEIGHTS = KERNEL.size + HEAD.size


def features(images):
  flat = images.reshape(images.shape[0], -1)
  return jnp.tanh(jnp.dot(flat, KERNEL, precision='highest'))


@jax.jit
def both(images):
  found = features(images)
  return found, jnp.dot(found, HEAD, precision='highest')


def save(function, path, **options):
  options = {'image_size': SIZE, 'value_range': (-1, 1)} | options
  checkpoints.save_exported(function, path, **options)
  return path


@pytest.fixture(scope='module')
def path(tmp_path_factory):
  """A file that tests may read, not write."""
  return save(both, tmp_path_factory.mktemp('saved') / 'mine.jaxexport')


def test_what_is_restored_is_the_function_that_was_saved(path):
  backbone = checkpoints.restore(str(path))
  for count in (1, len(IMAGES)):
    images = IMAGES[:count]
    for found, wanted in zip(backbone(images), both(images), strict=True):
      np.testing.assert_allclose(found, wanted, atol=1e-6)
  assert backbone.num_parameters == WEIGHTS
  assert backbone.checkpoint.name == 'mine'


def test_a_file_says_how_its_images_are_prepared(tmp_path):
  prepared = {
    'value_range': ((-2.0, -1.5, 0.0), (2.0, 2.5, 1.0)),
    'resize_method': 'bicubic',
    'upstream_accuracy': 0.5,
  }
  options = {'num_parameters': 7, 'platforms': ('cpu',), **prepared}
  path = save(features, tmp_path / 'x.jaxexport', **options)
  backbone = checkpoints.restore(str(path))
  found = vars(backbone.checkpoint)
  assert {name: found[name] for name in prepared} == prepared
  assert found['image_size'] == SIZE
  assert backbone.num_parameters == 7
  assert backbone(IMAGES).logits is None


def test_the_same_function_is_known_again_and_another_is_not(path, tmp_path):
  again, other = (
    checkpoints.restore(str(save(function, tmp_path / f'{name}.jaxexport')))
    for name, function in (('again', both), ('other', features))
  )
  first = checkpoints.restore(str(path))
  assert first.fingerprint == again.fingerprint != other.fingerprint


def test_no_path_of_the_machine_is_in_a_file(tmp_path):
  def function(images):
    return features(images) + 1

  path = save(function, tmp_path / 'x.jaxexport')
  assert b'.py' not in path.read_bytes()


class _Linen(nn.Module):
  @nn.compact
  def __call__(self, images):
    maps = nn.BatchNorm(use_running_average=True)(nn.Conv(4, (3, 3))(images))
    return nn.relu(maps).mean((1, 2))


def _linen():
  module = _Linen()
  variables = module.init(jax.random.key(0), IMAGES)
  return lambda images: module.apply(variables, images)


def _nnx():
  layer = nnx.Conv(3, 4, (3, 3), rngs=nnx.Rngs(0))
  return lambda images: nnx.relu(layer(images)).mean((1, 2))


FUNCTIONS = {
  'Flax Linen': (_linen, 4 * 27 + 4 + 4 * 4),
  'Flax NNX': (_nnx, 4 * 27 + 4),
  'a list': (lambda: lambda images: list(both(images)), WEIGHTS),
  'outputs of ours': (
    lambda: lambda images: models.Outputs(features(images), None),
    KERNEL.size,
  ),
  'half precision': (
    lambda: lambda images: features(images).astype(jnp.bfloat16),
    KERNEL.size,
  ),
  'one image at a time': (
    lambda: jax.vmap(lambda image: features(image[None])[0]),
    KERNEL.size,
  ),
}


@pytest.mark.parametrize('kind', FUNCTIONS)
def test_any_framework_of_jax_can_be_saved(kind, tmp_path):
  make, count = FUNCTIONS[kind]
  function = make()
  path = save(function, tmp_path / 'x.jaxexport')
  backbone = checkpoints.restore(str(path))
  wanted = jax.tree.leaves(function(IMAGES))[0]
  found = backbone(IMAGES).features
  assert found.dtype == jnp.float32
  np.testing.assert_allclose(found, wanted.astype(jnp.float32), atol=1e-2)
  assert backbone.num_parameters == count


def _callback(images):
  found = features(images)
  return jax.pure_callback(lambda x: x, found, found)


def _library(images):
  return features(images) + jnp.linalg.svd(KERNEL)[1].sum() * images[0, 0, 0, 0]


REFUSED = {
  'maps': (lambda x: x, {}, r'it gives \(b, 8, 8, 3\)'),
  'three outputs': (lambda x: (features(x),) * 3, {}, 'or .features, logits.'),
  'nothing finite': (lambda x: features(x) * jnp.nan, {}, 'NaN or Inf'),
  'no difference': (lambda x: features(x) * 0, {}, 'the same 6 features'),
  'images mixed': (
    lambda x: features(x) - features(x).mean(0),
    {},
    'other features together',
  ),
  'a fixed batch': (lambda x: features(x)[:2], {}, 'which is neither features'),
  'another size': (
    lambda x: x.reshape(-1, 100) @ KERNEL[:100],
    {},
    r'cannot take images \[b, 8, 8, 3\].*jax.vmap',
  ),
  'a callback': (_callback, {'platforms': ('cpu',)}, 'callback'),
  'a library': (_library, {'platforms': ('cpu',)}, 'it calls lapack'),
  'no platform': (features, {'platforms': ('abacus',)}, 'exported for abacus'),
  'no range': (features, {'value_range': (1, 1)}, 'no range of values'),
  'no size': (features, {'image_size': 0}, 'image_size is 0'),
}


@pytest.mark.parametrize('kind', REFUSED)
def test_what_is_no_network_is_not_saved(kind, tmp_path):
  function, options, message = REFUSED[kind]
  path = tmp_path / 'x.jaxexport'
  with pytest.raises(ValueError, match=message):
    save(function, path, **options)
  assert not list(tmp_path.iterdir())


def test_a_file_ends_as_it_should(tmp_path):
  with pytest.raises(ValueError, match=r'must end in \.jaxexport'):
    save(features, tmp_path / 'x.bin')


def _with_header(whole, **changes):
  line, program = whole.split(b'\n', 1)
  return json.dumps(json.loads(line) | changes).encode() + b'\n' + program


DAMAGED = {
  'empty': (lambda whole: b'', 'is no file of checkpoints.save_exported'),
  'foreign': (lambda whole: b'PK\x03\x04', 'is no file of'),
  'no header': (lambda whole: whole.split(b'\n', 1)[1], 'is no file of'),
  'cut': (lambda whole: whole[:-9], 'is damaged'),
  'longer': (lambda whole: whole + b'0', 'is damaged'),
  'a byte': (lambda whole: whole[:-99] + b'?' + whole[-98:], 'is damaged'),
  'another header': (lambda w: _with_header(w, num_parameters=1), 'is damaged'),
  'the future': (lambda w: _with_header(w, version=2), 'version 2; .* version'),
}


@pytest.mark.parametrize('kind', DAMAGED)
def test_damage_is_told_in_one_line(kind, path, tmp_path):
  damage, message = DAMAGED[kind]
  damaged = tmp_path / 'x.jaxexport'
  damaged.write_bytes(damage(path.read_bytes()))
  with pytest.raises(ValueError, match=message) as caught:
    checkpoints.restore(str(damaged))
  assert '\n' not in str(caught.value)


def _export(function, *, platform='cpu'):
  (batch,) = export.symbolic_shape('b')
  images = jax.ShapeDtypeStruct((batch, SIZE, SIZE, 3), jnp.float32)
  made = export.export(
    jax.jit(lambda x: (function(x),)), platforms=(platform,)
  )(images)
  return bytes(made.serialize())


PROGRAMS = {
  'no program': (lambda: b'0' * 99, 'cannot read it'),
  'another platform': (lambda: _export(features, platform='tpu'), 'for tpu'),
  'reaches outside': (lambda: _export(_library), 'it calls lapack'),
  'other outputs': (lambda: _export(lambda x: x), 'which is neither features'),
}


@pytest.mark.parametrize('kind', PROGRAMS)
def test_programs_of_others_are_checked_when_they_are_read(kind):
  make, message = PROGRAMS[kind]
  with pytest.raises(ValueError, match=message):
    exported_programs.read(make(), 'key')


def test_files_are_ranked_among_the_others(path, tmp_path):
  (path.parent / 'other.jaxexport').write_bytes(b'')
  config = measure_config.get_config('num_parameters')
  config.checkpoints = f'mini_random,{path.parent}/*.jaxexport'
  config.task.num_examples = 30
  config.batch_size = 10
  config.cache_dir = str(tmp_path / 'cache')
  result = ranked.rank(config, str(tmp_path / 'run'))
  scores = ranked.scores_of(result)
  assert set(scores) == {'mine', 'mini_random'}
  assert scores['mine'] == WEIGHTS
  (failed,) = result['failed']
  assert 'is no file of' in failed['error']
  again = ranked.rank(config, str(tmp_path / 'again'))
  assert {entry['cached'] for entry in again['ranking']} == {True}


@pytest.mark.parametrize('mode', ['head', 'full'])
def test_a_head_is_trained_and_the_rest_cannot_be(mode, path, tmp_path):
  config = finetune_config.get_config()
  config.checkpoints = str(path)
  config.task.num_examples = 40
  config.cache_dir = str(tmp_path / 'cache')
  config.protocol.mode = mode
  config.protocol.learning_rates = (0.01,)
  config.protocol.steps = (20,)
  config.protocol.batch_size = 8
  result = finetuning.finetune(config, str(tmp_path / 'run'))
  if mode == 'head':
    assert [each.checkpoint for each in result.accuracies] == ['mine']
  else:
    (failed,) = result.failed
    assert '--config.protocol.mode=head' in failed.error
