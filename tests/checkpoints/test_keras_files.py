# SPDX-License-Identifier: Apache-2.0
"""Models of Keras, saved by it and ranked like others, on JAX."""

import json
import shutil
import sys
import zipfile

import h5py
import jax
import numpy as np
import pytest

from configs import finetune as finetune_config
from configs import measure as measure_config
from neucrab_jax import checkpoints
from neucrab_jax.checkpoints import keras_files
from neucrab_jax.finetuning import run as finetuning
from tests.checkpoints import small_keras
from tests.ranking import ranked

SIZE, CLASSES = small_keras.SIZE, small_keras.CLASSES
PIXELS = np.random.default_rng(0).uniform(0, 255, (4, SIZE, SIZE, 3))
PIXELS = PIXELS.astype(np.float32)
# Keras' arrays, as NumPy 2 has them copied.
pytestmark = [
  pytest.mark.filterwarnings('ignore::DeprecationWarning'),
]
PREPARED = {'value_range': [0, 255], 'resize_method': 'bicubic'}


@pytest.fixture(scope='module')
def keras():
  """Keras without TensorFlow, which it would import to save a model."""
  found = keras_files.import_keras()
  # Late, as Keras is on JAX now.
  from keras.src.utils import module_utils

  with pytest.MonkeyPatch.context() as patch:
    if 'tensorflow' not in sys.modules:
      patch.setattr(module_utils.tensorflow, '_available', False)
    yield found


MODELS = {
  'sequential': small_keras.sequential,
  'functional': small_keras.functional,
  'nested': small_keras.nested,
  'headless': small_keras.headless,
}


@pytest.mark.parametrize('suffix', ['keras', 'h5'])
@pytest.mark.parametrize('kind', MODELS)
def test_a_restored_network_gives_what_keras_gives(
  kind, suffix, keras, tmp_path
):
  path = tmp_path / f'{kind}.{suffix}'
  model = small_keras.save(keras, MODELS[kind], path)
  backbone = checkpoints.restore(str(path))
  found = backbone(PIXELS)
  wanted = np.asarray(model(PIXELS, training=False))
  if kind == 'headless':
    assert found.logits is None
    np.testing.assert_allclose(found.features, wanted, rtol=1e-5, atol=1e-5)
  else:
    scores = found.logits if kind == 'nested' else jax.nn.softmax(found.logits)
    np.testing.assert_allclose(scores, wanted, rtol=1e-5, atol=1e-5)
    assert found.features.shape == (4, 6 if kind == 'functional' else 4)
  counted = sum(int(np.prod(w.shape)) for w in model.weights) - sum(
    int(np.prod(w.shape))
    for w in model.weights
    if any(part in w.path for part in ('moving_', 'seed'))
  )
  assert backbone.num_parameters == counted
  prepared = backbone.checkpoint
  assert prepared.value_range == (0, 255)
  assert (prepared.image_size, prepared.name) == (SIZE, kind)


def test_features_are_what_the_classifier_reads(keras, tmp_path):
  model = small_keras.save(keras, small_keras.sequential, tmp_path / 'x.keras')
  found = checkpoints.restore(str(tmp_path / 'x.keras'))(PIXELS)
  kernel, bias = map(np.asarray, model.layers[-1].get_weights())
  np.testing.assert_allclose(
    found.logits, np.asarray(found.features) @ kernel + bias, rtol=1e-5
  )


@pytest.mark.parametrize('kind', ['functional', 'nested'])
def test_a_new_process_gives_its_own_layers_other_names(kind, keras, tmp_path):
  path = str(tmp_path / 'x.keras')
  keras.utils.clear_session()
  model = small_keras.save(keras, MODELS[kind], path)
  wanted = np.asarray(model(PIXELS, training=False))
  keras.utils.clear_session()
  found = np.asarray(checkpoints.restore(path)(PIXELS).logits)
  scores = found if kind == 'nested' else np.asarray(jax.nn.softmax(found))
  np.testing.assert_allclose(scores, wanted, rtol=1e-5, atol=1e-5)


def test_the_same_file_is_known_again_and_other_weights_are_not(
  keras, tmp_path
):
  model = small_keras.save(keras, small_keras.sequential, tmp_path / 'a.keras')
  shutil.copy(tmp_path / 'a.keras', tmp_path / 'b.keras')
  model.set_weights([w * 2 for w in model.get_weights()])
  model.save(tmp_path / 'c.keras')
  a, b, c = (
    checkpoints.restore(str(tmp_path / f'{name}.keras')) for name in 'abc'
  )
  assert a.fingerprint == b.fingerprint != c.fingerprint
  assert a.module == b.module != c.module


def _unscaled(keras):
  return small_keras.of(keras, small_keras.sequential(keras).layers[2:])


def _from_one(keras):
  layers = small_keras.sequential(keras).layers
  return small_keras.of(keras, [keras.layers.Rescaling(2, -1), *layers[2:]])


def _map(keras):
  return small_keras.of(keras, small_keras.sequential(keras).layers[:-3])


def _lambda(keras):
  layers = small_keras.sequential(keras).layers
  code = keras.layers.Lambda(lambda x: x * 2, name='twice')
  return small_keras.of(keras, [*layers[:-1], code, layers[-1]])


def _own(keras):
  @keras.saving.register_keras_serializable('mine')
  class Twice(keras.layers.Layer):
    def call(self, x):
      return x * 2

  layers = small_keras.sequential(keras).layers
  return small_keras.of(keras, [*layers[:-1], Twice(name='own'), layers[-1]])


def _two_colours(keras):
  images = keras.layers.Input((SIZE, SIZE, 2))
  pooled = keras.layers.GlobalAveragePooling2D()(images)
  return keras.Model(images, keras.layers.Dense(CLASSES)(pooled))


def _two(keras):
  model = small_keras.sequential(keras)
  return keras.Model(
    model.inputs, [model.layers[-1].output, model.layers[-3].output]
  )


REFUSED = {
  'scaled elsewhere': (_unscaled, r'Write it to .*x\.json.*image_size'),
  'from 0 to 1': (_from_one, r'Write it to .*x\.json'),
  'a map': (_map, 'GlobalAveragePooling2D'),
  'a lambda': (_lambda, "Lambda 'twice' is refused"),
  'a layer of their own': (_own, "Twice 'own' is no part of Keras"),
  'two colours': (_two_colours, r'not of images \[B, H, W, 3\]'),
  'two outputs': (_two, 'has 2 outputs'),
}


@pytest.mark.parametrize('case', REFUSED)
def test_what_cannot_be_used_says_why(case, keras, tmp_path):
  make, message = REFUSED[case]
  path = tmp_path / 'x.keras'
  make(keras).save(path)
  with pytest.raises(ValueError, match=message) as error:
    checkpoints.restore(str(path))
  assert str(path) in str(error.value)
  assert '\n' not in str(error.value)


def _rewrite(path, **changed):
  """The archive with other contents of some members."""
  with zipfile.ZipFile(path) as archive:
    members = {name: archive.read(name) for name in archive.namelist()}
  with zipfile.ZipFile(path, 'w') as archive:
    for name, content in members.items():
      change = changed.get(name.replace('.', '_'))
      content = change(content) if change else content
      if content is not None:
        archive.writestr(name, content)


def _flip(path):
  content = bytearray(path.read_bytes())
  middle = content.find(b'config.json') + 200
  content[middle] ^= 255
  path.write_bytes(content)


def _claim(config):
  found = json.loads(config)
  for layer in found['config']['layers']:
    if layer['class_name'] == 'Dense':
      layer['config']['units'] = 10**10
  return json.dumps(found).encode()


def _without(path):
  _rewrite(path, model_weights_h5=lambda _: None)


def _cut(path):
  _rewrite(path, model_weights_h5=lambda whole: whole[:999])


DAMAGE = {
  'empty': lambda path: path.write_bytes(b''),
  'cut': lambda path: path.write_bytes(path.read_bytes()[:5000]),
  'a byte': _flip,
  'no weights': _without,
  'weights cut': _cut,
  'no json': lambda path: _rewrite(path, config_json=lambda b: b[:99]),
  'a list': lambda path: _rewrite(path, config_json=lambda _: b'[]'),
  'a claim': lambda path: _rewrite(path, config_json=_claim),
}


@pytest.fixture(scope='module')
def path(keras, tmp_path_factory):
  """A file that tests may copy, not write."""
  path = tmp_path_factory.mktemp('saved') / 'x.keras'
  small_keras.save(keras, small_keras.sequential, path)
  return path


@pytest.mark.parametrize('case', DAMAGE)
def test_a_damaged_file_is_one_line_with_its_name(case, path, tmp_path):
  damaged = tmp_path / 'damaged.keras'
  shutil.copy(path, damaged)
  DAMAGE[case](damaged)
  with pytest.raises(ValueError, match=r'damaged\.keras') as error:
    checkpoints.restore(str(damaged))
  assert '\n' not in str(error.value)


def test_weights_alone_are_no_network(path, tmp_path):
  with zipfile.ZipFile(path) as archive:
    content = archive.read('model.weights.h5')
  (tmp_path / 'x.weights.h5').write_bytes(content)
  with pytest.raises(ValueError, match='weights alone'):
    checkpoints.restore(str(tmp_path / 'x.weights.h5'))


def test_files_of_keras_2_are_read(tmp_path):
  kernel, bias = PIXELS[0, 0, :CLASSES].T, PIXELS[0, 1, :CLASSES, 0]
  small_keras.save_keras_2(tmp_path / 'x.h5', kernel, bias)
  found = checkpoints.restore(str(tmp_path / 'x.h5'))(PIXELS)
  features = PIXELS.mean((1, 2)) / 128 - 1
  np.testing.assert_allclose(found.features, features, atol=1e-5)
  np.testing.assert_allclose(
    found.logits, features @ kernel + bias, rtol=1e-5, atol=1e-3
  )


@pytest.mark.parametrize('how', ['link', 'elsewhere', 'size'])
def test_numbers_that_are_not_in_the_file_are_refused(how, tmp_path):
  path = tmp_path / 'x.h5'
  with h5py.File(path, 'w') as file:
    if how == 'link':
      file['a'] = h5py.ExternalLink('/other.h5', '/a')
    elif how == 'elsewhere':
      file.create_dataset('a', (4,), 'f4', external=[('o', 0, 16)])
    else:
      file.create_dataset('a', (10**9,), 'f4', chunks=(1000,))
  message = {'link': 'a link', 'elsewhere': 'another file', 'size': 'bytes'}
  with pytest.raises(ValueError, match=message[how]):
    checkpoints.restore(str(path))


def test_another_backend_is_one_line(keras, monkeypatch):
  monkeypatch.setattr(keras.backend, 'backend', lambda: 'tensorflow')
  with pytest.raises(RuntimeError, match='set KERAS_BACKEND=jax'):
    keras_files.import_keras()


def test_an_old_keras_is_refused(keras, monkeypatch):
  monkeypatch.setattr(keras, '__version__', '3.13.1')
  with pytest.raises(RuntimeError, match=r"older than 3\.13\.2.*\[keras\]'"):
    keras_files.import_keras()


def test_without_keras_it_says_what_to_install(path, monkeypatch):
  monkeypatch.setitem(sys.modules, 'keras', None)
  with pytest.raises(RuntimeError, match=r"pip install 'neucrab_jax\[keras\]'"):
    checkpoints.restore(str(path))


def test_what_is_beside_a_file_comes_before_its_own(keras, tmp_path):
  small_keras.save(keras, small_keras.sequential, tmp_path / 'x.keras')
  (tmp_path / 'x.json').write_text(json.dumps(PREPARED))
  backbone = checkpoints.restore(str(tmp_path / 'x.keras'))
  assert backbone.checkpoint.resize_method == 'bicubic'


def test_it_is_ranked_beside_another(path, tmp_path):
  config = measure_config.get_config('num_parameters')
  config.checkpoints = f'{path},mini_random'
  config.task.num_examples = 30
  config.batch_size = 10
  config.cache_dir = str(tmp_path / 'cache')
  first = ranked.rank(config, str(tmp_path / 'run'))
  assert set(ranked.scores_of(first)) == {'x', 'mini_random'}
  again = ranked.rank(config, str(tmp_path / 'again'))
  assert {entry['cached'] for entry in again['ranking']} == {True}


@pytest.mark.parametrize('mode', ['head', 'full'])
def test_it_is_fine_tuned(mode, path, tmp_path):
  config = finetune_config.get_config()
  config.checkpoints = str(path)
  config.task.num_examples = 40
  config.cache_dir = str(tmp_path / 'cache')
  config.protocol.mode = mode
  config.protocol.learning_rates = (0.01,)
  config.protocol.steps = (4,)
  config.protocol.batch_size = 8
  result = finetuning.finetune(config, str(tmp_path / 'run'))
  assert not result.failed
  assert [each.checkpoint for each in result.accuracies] == ['x']
