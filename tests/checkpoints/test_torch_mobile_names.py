# SPDX-License-Identifier: Apache-2.0
"""MobileNets and EfficientNet of transformers are those of timm."""

import numpy as np
import pytest

from neucrab_jax import checkpoints
from neucrab_jax.checkpoints import backbone, torch_mobile_names
from tests.checkpoints import torch_files

SIZE, CLASSES, WIDEST = 32, 5, 16
NORM = ('weight', 'bias', 'running_mean', 'running_var')


class Both:
  """Variables in both spellings, with the same values."""

  def __init__(self):
    self.timm, self.hf = {}, {}

  def add(self, timm, hf, shape):
    value = torch_files.draw(timm, shape)
    self.timm[timm], self.hf[hf] = value, value

  def norm(self, timm, hf, width):
    for leaf in NORM:
      self.add(f'{timm}.{leaf}', f'{hf}.{leaf}', (width,))

  def head(self, width):
    self.add('classifier.weight', 'classifier.weight', (CLASSES, width))
    self.add('classifier.bias', 'classifier.bias', (CLASSES,))


def mobilenet():
  both = Both()

  def conv(timm, norm, hf, shape):
    both.add(f'{timm}.weight', f'mobilenet_v2.{hf}.convolution.weight', shape)
    both.norm(norm, f'mobilenet_v2.{hf}.normalization', shape[0])

  conv('conv_stem', 'bn1', 'conv_stem.first_conv', (8, 3, 3, 3))
  block = 'blocks.0.0'
  conv(f'{block}.conv_dw', f'{block}.bn1', 'conv_stem.conv_3x3', (8, 1, 3, 3))
  conv(f'{block}.conv_pw', f'{block}.bn2', 'conv_stem.reduce_1x1', (4, 8, 1, 1))
  given, layer = 4, 0
  for stage, depth in enumerate((2, 3, 4, 3, 3, 1), start=1):
    made = 4 + 2 * (stage % 2)
    for number in range(depth):
      block, hf = f'blocks.{stage}.{number}', f'layer.{layer}'
      wide = 2 * given
      conv(
        f'{block}.conv_pw',
        f'{block}.bn1',
        f'{hf}.expand_1x1',
        (wide, given, 1, 1),
      )
      conv(
        f'{block}.conv_dw', f'{block}.bn2', f'{hf}.conv_3x3', (wide, 1, 3, 3)
      )
      conv(
        f'{block}.conv_pwl',
        f'{block}.bn3',
        f'{hf}.reduce_1x1',
        (made, wide, 1, 1),
      )
      given, layer = made, layer + 1
  conv('conv_head', 'bn2', 'conv_1x1', (WIDEST, given, 1, 1))
  both.head(WIDEST)
  return both


def mobilenet_v1():
  both = Both()

  def conv(timm, norm, hf, shape):
    both.add(f'{timm}.weight', f'mobilenet_v1.{hf}.convolution.weight', shape)
    both.norm(norm, f'mobilenet_v1.{hf}.normalization', shape[0])

  conv('conv_stem', 'bn1', 'conv_stem', (4, 3, 3, 3))
  given, layer = 4, 0
  for stage, depth in enumerate((1, 2, 2, 6, 2)):
    made = 6 + 2 * stage
    for number in range(depth):
      block, depthwise = f'blocks.{stage}.{number}', (given, 1, 3, 3)
      conv(f'{block}.conv_dw', f'{block}.bn1', f'layer.{layer}', depthwise)
      pointwise = (made, given, 1, 1)
      conv(f'{block}.conv_pw', f'{block}.bn2', f'layer.{layer + 1}', pointwise)
      given, layer = made, layer + 2
  both.head(given)
  return both


def efficientnet(num_stages=7):
  both = Both()

  def conv(timm, norm, hf, hf_norm, shape):
    both.add(f'{timm}.weight', f'efficientnet.{hf}.weight', shape)
    both.norm(norm, f'efficientnet.{hf_norm}', shape[0])

  stem = 'embeddings.convolution', 'embeddings.batchnorm'
  conv('conv_stem', 'bn1', *stem, (4, 3, 3, 3))
  given, layer = 4, 0
  for stage in range(num_stages):
    made = 6 - 2 * (stage % 2)
    for number in range(2):
      timm, hf = f'blocks.{stage}.{number}', f'encoder.blocks.{layer}'
      kernel = 5 if stage % 3 == 2 else 3
      wide = 2 * given if stage else given
      if stage:
        conv(
          f'{timm}.conv_pw',
          f'{timm}.bn1',
          f'{hf}.expansion.expand_conv',
          f'{hf}.expansion.expand_bn',
          (wide, given, 1, 1),
        )
      conv(
        f'{timm}.conv_dw',
        f'{timm}.bn{1 + (stage > 0)}',
        f'{hf}.depthwise_conv.depthwise_conv',
        f'{hf}.depthwise_conv.depthwise_norm',
        (wide, 1, kernel, kernel),
      )
      for name, shape in (('reduce', (2, wide)), ('expand', (wide, 2))):
        se = f'efficientnet.{hf}.squeeze_excite.{name}'
        own = f'{timm}.se.conv_{name}'
        both.add(f'{own}.weight', f'{se}.weight', (*shape, 1, 1))
        both.add(f'{own}.bias', f'{se}.bias', shape[:1])
      conv(
        f'{timm}.conv_{"pwl" if stage else "pw"}',
        f'{timm}.bn{2 + (stage > 0)}',
        f'{hf}.projection.project_conv',
        f'{hf}.projection.project_bn',
        (made, wide, 1, 1),
      )
      given, layer = made, layer + 1
  top = 'encoder.top_conv', 'encoder.top_bn'
  conv('conv_head', 'bn2', *top, (WIDEST, given, 1, 1))
  both.head(WIDEST)
  return both


def _restore(folder, stored, config):
  size = {'height': SIZE, 'width': SIZE}
  torch_files.write(
    folder,
    config=config,
    stored=stored,
    preprocessor={**torch_files.PREPROCESSOR, 'size': size},
  )
  return checkpoints.restore(str(folder))


@pytest.fixture
def unchecked(monkeypatch):
  """Runs no images: that takes seconds, and `test_pytorch_parity` does."""
  monkeypatch.setattr(backbone, 'check', lambda *unused, **options: None)


PRETRAINED = {
  'input_size': [3, SIZE, SIZE],
  'mean': [0.5] * 3,
  'std': [0.5] * 3,
  'interpolation': 'bicubic',
}


@pytest.mark.parametrize(
  ('made', 'timm', 'config'),
  [
    (
      mobilenet,
      'mobilenetv2_100',
      {
        'model_type': 'mobilenet_v2',
        'tf_padding': False,
        'layer_norm_eps': 1e-5,
      },
    ),
    (
      mobilenet_v1,
      'mobilenetv1_100',
      {
        'model_type': 'mobilenet_v1',
        'tf_padding': False,
        'layer_norm_eps': 1e-5,
      },
    ),
    (
      efficientnet,
      'tf_efficientnet_b0',
      {'model_type': 'efficientnet', 'hidden_act': 'silu'},
    ),
  ],
)
def test_transformers_networks_are_timms(
  made, timm, config, tmp_path, unchecked
):
  both = made()
  wanted = _restore(
    tmp_path / 'timm',
    both.timm,
    {'architecture': timm, 'pretrained_cfg': PRETRAINED},
  )
  found = _restore(tmp_path / 'hf', both.hf, config)
  assert found.module == wanted.module
  # It is of the variables, too.
  assert found.fingerprint == wanted.fingerprint
  assert found.num_parameters > 300


def test_tensorflows_padding_and_epsilon_are_the_default(tmp_path, unchecked):
  stored = mobilenet().hf
  kind = {'model_type': 'mobilenet_v2'}
  found = _restore(tmp_path / 'default', stored, kind)
  told = {**kind, 'tf_padding': True, 'layer_norm_eps': 1e-3}
  assert found.module == _restore(tmp_path / 'told', stored, told).module
  assert found.module.style.same
  assert found.module.style.epsilon == 1e-3


def test_what_is_not_known_keeps_its_name():
  names = ['conv_stem.expand_1x1.convolution.weight', 'layer.16.x.y.z', 'a.b']
  found = torch_mobile_names.rename(dict.fromkeys(names, (1,)), 'mobilenet_v2')
  assert found == {name: name for name in names}
  shapes = {n: v.shape for n, v in efficientnet().hf.items()}
  names = ['conv_stem.x.weight', 'layer.26.convolution.weight', 'x.weight']
  found = torch_mobile_names.rename(dict.fromkeys(names, (1,)), 'mobilenet_v1')
  assert found == {name: name for name in names}
  odd = ['encoder.blocks.99.x.weight', 'encoder.blocks.0.x.weight', 'x.weight']
  shapes |= dict.fromkeys(odd, (1,))
  found = torch_mobile_names.rename(shapes, 'efficientnet')
  assert [found[name] for name in odd] == odd


@pytest.mark.parametrize(
  ('stored', 'config', 'message'),
  [
    (
      lambda: mobilenet().hf,
      {'model_type': 'mobilenet_v2', 'output_stride': 16},
      "'mobilenet_v2' with output_stride 16 is not supported",
    ),
    (
      lambda: mobilenet().hf,
      {'model_type': 'mobilevit'},
      "'mobilevit' is not supported.*Export any other network as ONNX",
    ),
    (
      lambda: efficientnet(6).hf,
      {'model_type': 'efficientnet'},
      'its 12 blocks are of 6 stages, and an EfficientNet has 7',
    ),
    (dict, {'model_type': 'efficientnet'}, 'its 0 blocks are of 0 stages'),
  ],
)
def test_what_is_refused_says_why(stored, config, message, tmp_path):
  with pytest.raises(ValueError, match=message):
    _restore(tmp_path / 'x', stored() or {'a': np.ones(3, 'f4')}, config)
