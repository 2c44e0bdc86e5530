# SPDX-License-Identifier: Apache-2.0
"""What makes ONNX files of other frameworks, without these frameworks."""

import importlib.util
import json
import re

import numpy as np
import onnx
import pytest
from onnx import reference

from neucrab_jax import checkpoints, export
from neucrab_jax.checkpoints import exporters
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
  exporters._name_outputs(str(file))
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


GOOD = json.dumps(small_onnx.PREPROCESSING)


@pytest.mark.parametrize(
  ('arguments', 'status', 'message'),
  [
    ([], 2, 'Nothing is to be exported'),
    (['--timm=resnet18'], 2, "timm is needed .*pip install '.\\[export\\]'"),
    (['--weights=x.safetensors', '--keras=x.keras'], 2, 'and not of 0'),
    (['--keras=x.keras'], 2, 'It should be like'),
    (['--keras=x.keras', '--preprocessing={'], 2, 'no JSON'),
    (['--tflite=x.tflite', f'--preprocessing={GOOD}'], 1, 'tf2onnx is needed'),
    (['--torch=nets.py'], 1, 'is no FILE:FUNCTION'),
  ],
)
def test_bad_input_is_one_line(
  arguments, status, message, tmp_path, monkeypatch
):
  find = importlib.util.find_spec
  absent = ('timm', 'torch', 'tf2onnx')
  monkeypatch.setattr(
    importlib.util, 'find_spec', lambda n: None if n in absent else find(n)
  )
  monkeypatch.chdir(tmp_path)
  given, _, errors = in_process.run('export', export.start, *arguments)
  assert given == status, errors
  (line,) = errors.splitlines()
  assert line.startswith('export: ')
  assert re.search(message, line), line


def test_a_function_of_a_file_gives_module_and_preprocessing(tmp_path):
  (tmp_path / 'nets.py').write_text('def make():\n  return 3\n')
  with pytest.raises(ValueError, match='must give a module and a dict'):
    exporters.from_torch(f'{tmp_path}/nets.py:make', tmp_path / 'x.onnx')
  with pytest.raises(ValueError, match="no function 'mine'"):
    exporters.from_torch(f'{tmp_path}/nets.py:mine', tmp_path / 'x.onnx')
