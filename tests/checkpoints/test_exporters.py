# SPDX-License-Identifier: Apache-2.0
"""What makes ONNX files of other frameworks, without these frameworks."""

import contextlib
import json
import types

import numpy as np
import onnx
import pytest
from onnx import reference

from neucrab_jax import checkpoints, export
from neucrab_jax.checkpoints import exporters, tensorflow_graphs
from tests import in_process
from tests.checkpoints import small_onnx

PREPARED = exporters.to_preprocessing(small_onnx.PREPROCESSING)


@pytest.fixture
def made(tmp_path):
  """What a library might have written: it says nothing of the images."""
  file = tmp_path / 'made.onnx'
  nodes = [*small_onnx.body(), *small_onnx.head()]
  model = small_onnx.make(nodes, ('pooled', 'logits'), metadata=None)
  onnx.save(model, str(file))
  tensorflow_graphs.name_outputs(str(file))
  return file


def original(file, factor=1.0):
  session = reference.ReferenceEvaluator(str(file))
  return lambda images: [
    factor * output for output in session.run(None, {'images': images})
  ]


def test_a_file_says_how_its_images_are_prepared(made, tmp_path):
  path = tmp_path / 'models' / 'net.onnx'
  found = exporters._finish(made, path, PREPARED, original(made))
  assert found[:3] == (str(path), small_onnx.WIDTH, small_onnx.CLASSES)
  assert 0 < found.error < 1e-5
  outputs = [output.name for output in onnx.load(str(path)).graph.output]
  assert outputs == ['features', 'logits']
  backbone = checkpoints.restore(str(path))
  assert backbone.checkpoint.image_size == small_onnx.SIZE
  np.testing.assert_allclose(
    backbone.checkpoint.value_range, PREPARED.levels(), rtol=1e-6
  )


@pytest.mark.parametrize('names', [('logits', 'features'), ('a', 'b')])
def test_outputs_are_named_by_their_place(names, tmp_path):
  file = str(tmp_path / 'x.onnx')
  nodes = [
    onnx.helper.make_node('Relu', ['images'], [names[0]]),
    onnx.helper.make_node('Neg', [names[0]], [names[1]]),
  ]
  onnx.save(small_onnx.make(nodes, names), file)
  tensorflow_graphs.name_outputs(file)
  session = reference.ReferenceEvaluator(file)
  images = np.full((1, 3, small_onnx.SIZE, small_onnx.SIZE), 2, np.float32)
  features, logits = session.run(['features', 'logits'], {'images': images})
  np.testing.assert_array_equal(features, images)
  np.testing.assert_array_equal(logits, -images)


def test_what_is_not_the_original_is_not_written(made, tmp_path):
  path = tmp_path / 'models' / 'net.onnx'
  with pytest.raises(ValueError, match='from the original'):
    exporters._finish(made, path, PREPARED, original(made, 1.01))
  assert not path.exists()


@pytest.mark.parametrize(
  ('told', 'message'),
  [
    ({}, 'resize_method'),
    ({**small_onnx.ANY_SIZE}, 'image_size is missing'),
    ({**small_onnx.PREPROCESSING, 'std': [1, 0, 1]}, 'std must be positive'),
  ],
)
def test_preprocessing_must_be_whole(told, message):
  with pytest.raises(ValueError, match=f'{message}.*It should be like'):
    exporters.to_preprocessing(told)


def test_a_function_of_a_file_gives_module_and_preprocessing(tmp_path):
  (tmp_path / 'nets.py').write_text('def make():\n  return 3\n')
  with pytest.raises(ValueError, match='must give a module and a dict'):
    exporters.from_torch(f'{tmp_path}/nets.py:make', tmp_path / 'x.onnx')
  with pytest.raises(ValueError, match="no function 'mine'"):
    exporters.from_torch(f'{tmp_path}/nets.py:mine', tmp_path / 'x.onnx')


TIMM = {
  'input_size': [3, small_onnx.SIZE, small_onnx.SIZE],
  'mean': [0.5, 0.4, 0.3],
  'std': [0.2, 0.25, 0.3],
  'interpolation': 'bilinear',
}


def write(file, outputs=('features', 'logits'), *, channels_last=False):
  """Writes a file as an exporter does, which is told names of outputs."""
  nodes, shape = [*small_onnx.body(), *small_onnx.head()], {}
  if channels_last:
    turn = onnx.helper.make_node(
      'Transpose', ['images'], ['turned'], perm=[0, 3, 1, 2]
    )
    nodes = [turn, *small_onnx.body('turned'), *small_onnx.head()]
    shape = {'shape': ('N', small_onnx.SIZE, small_onnx.SIZE, 3)}
  nodes += [
    onnx.helper.make_node('Identity', [old], [new])
    for old, new in zip(('pooled', 'logits'), outputs, strict=False)
    if old != new
  ]
  onnx.save(small_onnx.make(nodes, outputs, metadata=None, **shape), str(file))


class Tensor(np.ndarray):
  """An array that says of itself what PyTorch's do."""

  def numpy(self):
    return np.asarray(self)


def tensor(array):
  return np.asarray(array).view(Tensor)


class Module:
  """What the exporters ask of a module of PyTorch."""

  def eval(self):
    return self

  def __call__(self, images):
    return self.forward(images)


class Network(Module):
  """One of timm, which is small_onnx's."""

  def __init__(self, file, num_classes):
    self.num_classes, self.loaded = num_classes, None
    self._run = original(file)

  def forward_features(self, images):
    return images

  def forward_head(self, maps, pre_logits=False):
    return tensor(self._run(maps.numpy())[0 if pre_logits else 1])

  def load_state_dict(self, state):
    self.loaded = state


@pytest.fixture
def libraries(made, monkeypatch):
  """PyTorch, timm and what they need, as far as an exporter calls them."""

  def export(module, given, path, *, output_names, **options):
    found = module(given[0])
    assert len(output_names) == (len(found) if isinstance(found, tuple) else 1)
    write(path, output_names)

  torch = types.SimpleNamespace(
    nn=types.SimpleNamespace(Module=Module),
    zeros=lambda *shape: tensor(np.zeros(shape, np.float32)),
    from_numpy=tensor,
    no_grad=contextlib.nullcontext,
    export=types.SimpleNamespace(Dim=str),
    onnx=types.SimpleNamespace(export=export),
  )
  networks = {
    'small': Network(made, small_onnx.CLASSES),
    'small_headless': Network(made, 0),
  }
  timm = types.SimpleNamespace(
    create_model=lambda name, pretrained: networks[name],
    list_models=lambda pretrained: list(networks),
    data=types.SimpleNamespace(resolve_model_data_config=lambda network: TIMM),
  )
  weights = types.SimpleNamespace(load_file=lambda file: {'from': file})
  found = {
    'torch': torch,
    'timm': timm,
    'onnxscript': None,
    'safetensors.torch': weights,
  }
  monkeypatch.setattr(exporters, '_library', found.__getitem__)
  return networks


@pytest.mark.parametrize(
  ('name', 'classes'), [('small', small_onnx.CLASSES), ('small_headless', 0)]
)
def test_networks_of_timm(name, classes, libraries, made, tmp_path):
  path = tmp_path / f'{name}.onnx'
  found = exporters.from_timm(name, path, weights='mine.safetensors')
  assert found[:3] == (str(path), small_onnx.WIDTH, classes)
  assert found.error < 1e-5
  assert libraries[name].loaded == {'from': 'mine.safetensors'}
  backbone = checkpoints.restore(str(path))
  size = small_onnx.SIZE
  assert backbone.checkpoint.resize_method == f'bilinear/shorter={size}'
  images = np.random.default_rng(0).random((2, size, size, 3), np.float32)
  wanted = original(made)(np.moveaxis(images, -1, 1))
  np.testing.assert_allclose(backbone(images).features, wanted[0], rtol=1e-4)


def test_names_of_timm(libraries):
  assert exporters.timm_names('small*, small') == ['small', 'small_headless']
  with pytest.raises(ValueError, match="no network that matches 'vit"):
    exporters.timm_names('small,vit*')


def test_a_module_of_the_users_own(libraries, made, tmp_path):
  code = """
from tests.checkpoints import test_exporters

def make():
  made = test_exporters.Network({!r}, 0)
  made.forward = lambda images: made.forward_head(images, pre_logits=True)
  return made, {!r}
"""
  code = code.format(str(made), small_onnx.PREPROCESSING)
  (tmp_path / 'nets.py').write_text(code)
  found = exporters.from_torch(f'{tmp_path}/nets.py:make', tmp_path / 'x.onnx')
  assert found.num_classes == 0
  assert found.error < 1e-5


def test_models_of_keras(made, monkeypatch, tmp_path):
  monkeypatch.setenv('KERAS_BACKEND', 'jax')
  asked = []

  class Both:
    def __init__(self, inputs, outputs):
      assert (inputs, outputs) == (['in'], ['before', 'out'])

    def __call__(self, images):
      return original(made)(np.moveaxis(images, -1, 1))

    def export(self, folder, **options):
      asked.append(folder)

  def load_model(source, **options):
    assert options['safe_mode'] is True
    last = types.SimpleNamespace(input='before')
    return types.SimpleNamespace(inputs=['in'], outputs=['out'], layers=[last])

  keras = types.SimpleNamespace(
    Model=Both, saving=types.SimpleNamespace(load_model=load_model)
  )
  monkeypatch.setattr(
    exporters, '_library', {'tf2onnx': None, 'keras': keras}.__getitem__
  )

  def run(command, **options):
    assert asked[0] in command
    target = command[command.index('--output') + 1]
    write(target, ('one', 'two'), channels_last=True)
    return types.SimpleNamespace(returncode=0)

  monkeypatch.setattr(tensorflow_graphs.subprocess, 'run', run)
  found = exporters.from_keras('x.keras', tmp_path / 'x.onnx', PREPARED)
  assert found[1:3] == (small_onnx.WIDTH, small_onnx.CLASSES)
  assert found.error < 1e-5


@pytest.mark.parametrize('kind', ['saved_model', 'tflite'])
def test_files_of_tensorflow(kind, monkeypatch, tmp_path):
  monkeypatch.setattr(exporters, '_library', lambda name: None)
  status = 0

  def run(command, **options):
    assert f'--{kind.replace("_", "-")}' in command
    write(command[command.index('--output') + 1], channels_last=True)
    told = 'Traceback\nValueError: an operator is unknown\n'
    return types.SimpleNamespace(returncode=status, stderr=told)

  monkeypatch.setattr(tensorflow_graphs.subprocess, 'run', run)
  source, path = tmp_path / 'mine', tmp_path / 'x.onnx'
  with pytest.raises(ValueError, match="There is no '"):
    exporters.from_tensorflow(kind, str(source), path, PREPARED)
  source.touch()
  found = exporters.from_tensorflow(kind, str(source), path, PREPARED)
  assert found == (str(path), small_onnx.WIDTH, small_onnx.CLASSES, None)
  chosen = exporters.from_tensorflow(kind, f'{source}#relu', path, PREPARED)
  assert chosen == (str(path), small_onnx.WIDTH, 0, None)
  with pytest.raises(ValueError, match=r"Unknown node 'rel'.*mean 'relu'"):
    exporters.from_tensorflow(kind, f'{source}#rel', path, PREPARED)
  status = 1
  with pytest.raises(ValueError, match=r'could not convert .*is unknown'):
    exporters.from_tensorflow(kind, str(source), path, PREPARED)


def test_what_is_not_there_is_imported_when_it_is():
  assert exporters._library('json') is json
  with pytest.raises(ValueError, match=r"pip install '.\[export\]'"):
    exporters._library('no_such_library')


def test_the_command_says_what_it_wrote(libraries, monkeypatch, tmp_path):
  libraries['small_headless'].forward_head = None
  given, out, errors = in_process.run(
    'export', export.start, '--timm=small*', f'--dir={tmp_path}/models'
  )
  assert given == 1
  assert out.startswith(f'{tmp_path}/models/small.onnx: 6 features, 5 classes')
  assert errors.startswith('export: small_headless: TypeError: ')
  assert (tmp_path / 'models' / 'small.onnx').exists()
