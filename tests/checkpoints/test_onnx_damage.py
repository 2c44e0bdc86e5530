# SPDX-License-Identifier: Apache-2.0
"""ONNX files that are damaged, hostile or incomplete: one clear line each."""

import json
import os

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from neucrab_jax import checkpoints
from tests.checkpoints import small_onnx as small
from tests.checkpoints.test_onnx_files import IMAGES, node, restore, wanted


def beside(tmp_path, content):
  (tmp_path / 'net.json').write_text(content)


SAID = json.dumps(small.PREPROCESSING)
RANGE = '{"image_size": 16, "value_range": [-1, 1], "resize_method": "bicubic"}'


def test_preprocessing_beside_the_file(tmp_path):
  beside(tmp_path, RANGE)
  backbone = restore(tmp_path, metadata=None)
  assert backbone.checkpoint.value_range == (-1.0, 1.0)
  assert backbone.checkpoint.resize_method == 'bicubic'


BAD_PREPROCESSING = {
  'none': (None, 'does not say how its images are prepared.*"mean"'),
  'no JSON': ('{', 'net.json'),
  'unknown': (SAID.replace('std', 'sdt'), 'sdt'),
  'no range': ('{"image_size": 16, "resize_method": "bilinear"}', 'either'),
  'both': (SAID.replace('{', '{"value_range": [0, 1], '), 'beside mean'),
  'std of 0': (SAID.replace('0.25', '0'), 'std must be positive'),
  'size': (SAID.replace('16', '20'), 'not of 20'),
  'no size': (SAID.replace('16', '0'), 'image_size is 0'),
  'empty range': (RANGE.replace('-1', '1'), 'no range'),
}


@pytest.mark.parametrize('bad', BAD_PREPROCESSING)
def test_preprocessing_is_never_guessed(bad, tmp_path):
  content, message = BAD_PREPROCESSING[bad]
  if content is not None:
    beside(tmp_path, content)
  with pytest.raises(ValueError, match=message) as error:
    restore(tmp_path, metadata=None)
  assert 'net.' in str(error.value)
  assert '\n' not in str(error.value)


def external(model, location, **more):
  """Says that a tensor's values are in another file."""
  (tensor,) = [t for t in model.graph.initializer if t.name == 'head.w']
  content = tensor.raw_data
  tensor.ClearField('raw_data')
  tensor.data_location = TensorProto.EXTERNAL
  for key, value in {'location': location, **more}.items():
    entry = tensor.external_data.add()
    entry.key, entry.value = key, str(value)
  return content


def test_values_may_be_in_another_file_of_the_folder(tmp_path):
  model = small.make()
  content = external(model, 'weights.bin', offset=8)
  (tmp_path / 'weights.bin').write_bytes(b'8 bytes.' + content)
  onnx.save(model, tmp_path / 'net.onnx')
  backbone = checkpoints.restore(str(tmp_path / 'net.onnx'))
  np.testing.assert_allclose(backbone(IMAGES).logits, wanted()[1], 1e-4, 1e-5)


@pytest.mark.parametrize(
  ('location', 'more', 'message'),
  [
    ('../weights.bin', {}, 'not in the folder'),
    ('/etc/passwd', {}, 'not in the folder'),
    ('link', {}, 'not in the folder'),
    ('', {}, 'not in the folder'),
    ('nowhere', {}, 'nowhere'),
    ('pipe', {}, 'a pipe'),
    ('weights.bin', {'offset': 9}, 'bytes'),
    ('weights.bin', {'offset': -8}, 'too few'),
    ('weights.bin', {'length': 10**15}, 'too few'),
    ('weights.bin', {'length': 4}, 'bytes'),
    ('weights.bin', {'offset': 'x'}, 'cannot be used'),
  ],
)
def test_values_stay_in_the_folder_and_are_as_many_as_said(
  location, more, message, tmp_path
):
  folder = tmp_path / 'in'
  folder.mkdir()
  model = small.make()
  content = external(model, location, **more)
  for file in (tmp_path / 'weights.bin', folder / 'weights.bin'):
    file.write_bytes(content)
  (folder / 'link').symlink_to('/etc/passwd')
  os.mkfifo(folder / 'pipe')
  onnx.save(model, folder / 'net.onnx')
  with pytest.raises((ValueError, OSError), match=message) as error:
    checkpoints.restore(str(folder / 'net.onnx'))
  assert 'net.onnx' in str(error.value)


BAD = {
  'unknown operator': (
    {
      'nodes': [
        *small.body(),
        *small.head('l'),
        node('NonMaxima', 'l', 'logits'),
      ]
    },
    "NonMaxima .* node 'logits' is an operator that is not known",
  ),
  'unknown domain': (
    {
      'nodes': [
        *small.body(),
        *small.head('l'),
        helper.make_node('Relu', ['l'], ['logits'], domain='mine'),
      ]
    },
    'mine.Relu',
  ),
  'two inputs': (
    {'nodes': [*small.body(), node('Gemm', 'pooled', 'more', 'logits')]},
    "reads 'more', which nothing makes",
  ),
  'two colours': ({'shape': ('N', 2, 16, 16)}, 'three colours'),
  'colours of grey': ({'shape': ('N', 1, 16, 16)}, 'tells colours apart'),
  'a vector': ({'shape': ('N', 768)}, 'three colours'),
  'vast images': (
    {'shape': (1, 3, 50_000, 50_000), 'metadata': small.ANY_SIZE},
    'too much',
  ),
  'vast batch': ({'shape': (10**7, 3, 16, 16)}, 'a batch of 10000000'),
  'not square': ({'shape': ('N', 3, 16, 20)}, 'not square'),
  'no classifier': (
    {'nodes': small.body(), 'outputs': ('pooled',)},
    'classifier cannot be found.*#NODE.*flatten',
  ),
  'nothing makes it': ({'outputs': ('nothing',)}, 'nothing makes its outputs'),
  'old': ({'opset': 8}, 'opset 8, older than 9'),
  'NaN': (
    {'tensors': {'conv.b': np.full(small.WIDTH, np.nan, 'f4')}},
    'NaN or Inf',
  ),
  'constant': (
    {'tensors': {'dw.w': np.zeros((small.WIDTH, 1, 3, 3), 'f4')}},
    'the same 6 features',
  ),
  'wrong weights': (
    {'tensors': {'conv.w': np.ones((6, 4, 3, 3), 'f4')}},
    "node 'conv' cannot be computed",
  ),
  'endless': (
    {
      'nodes': [
        node('ConstantOfShape', 'shape', 'vast'),
        *small.body(),
        node('Add', 'pooled', 'vast', 'sum'),
        node('Gemm', 'sum', 'head.w', 'head.b', 'logits', transB=1),
      ],
      'tensors': {'shape': np.array([10**9, 10**9])},
    },
    'a value would have the shape',
  ),
  'of the pixels': (
    {
      'nodes': [
        *small.body(),
        node('Cast', 'pooled', 'integers', to=TensorProto.INT64),
        node('Reshape', 'pooled', 'integers', 'odd'),
        node('Gemm', 'odd', 'head.w', 'head.b', 'logits', transB=1),
      ]
    },
    'depends on the pixels',
  ),
}


@pytest.mark.parametrize('bad', BAD)
def test_what_cannot_be_used_is_one_line_that_names_it(bad, tmp_path):
  options, message = BAD[bad]
  with pytest.raises(ValueError, match=message) as error:
    restore(tmp_path, **options)
  assert 'net' in str(error.value)
  assert '\n' not in str(error.value)


@pytest.mark.parametrize('dims', [[10**12], [2**62, 2**62], [-1, 3], [5]])
def test_a_tensor_is_as_large_as_it_says(dims, tmp_path):
  model = small.make()
  model.graph.initializer[0].dims[:] = dims
  onnx.save(model, tmp_path / 'net.onnx')
  with pytest.raises(ValueError, match=r"'conv\.w' is said to be"):
    checkpoints.restore(str(tmp_path / 'net.onnx'))


@pytest.mark.parametrize(
  'content', [b'', b'no model', b'\x08\x07', b'\xff' * 99]
)
def test_a_file_of_something_else(content, tmp_path):
  (tmp_path / 'net.onnx').write_bytes(content)
  with pytest.raises(ValueError, match=r'net\.onnx.* no readable ONNX file'):
    checkpoints.restore(str(tmp_path / 'net.onnx'))


def complaint(path):
  try:
    checkpoints.restore(str(path))
  except (ValueError, OSError) as error:
    return str(error)
  return ''


def test_no_flipped_bit_is_more_than_a_line(tmp_path):
  content = small.make().SerializeToString()
  path = tmp_path / 'net.onnx'
  rng = np.random.default_rng(0)
  for _ in range(30):
    damaged = bytearray(content)
    damaged[rng.integers(len(damaged))] ^= 1 << rng.integers(8)
    path.write_bytes(damaged)
    line = complaint(path)
    assert not line or 'net' in line
    assert '\n' not in line


def test_a_value_that_is_made_of_itself_is_refused(tmp_path):
  again = node('Identity', 'logits', 'logits')
  with pytest.raises(ValueError, match="makes 'logits', which is there before"):
    restore(tmp_path, [*small.body(), *small.head(), again])
