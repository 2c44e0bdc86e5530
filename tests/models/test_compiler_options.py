# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from neucrab_jax.models import compiler_options

_WIDE = 'xla_cpu_prefer_vector_width'
_BY_EIGEN = 'xla_cpu_experimental_ynn_fusion_type'


@pytest.fixture
def known(monkeypatch):
  """Every option is known, whatever jaxlib there is."""
  monkeypatch.setattr(compiler_options, '_is_known', lambda name, value: True)


@pytest.mark.parametrize(
  ('shape', 'depthwise'),
  [
    ((3, 3, 1, 16), True),
    ((5, 5, 16, 1), True),
    ((16, 1, 3, 3), True),  # ONNX's.
    ((3, 3, 16, 16), False),
    ((1, 1, 16, 16), False),
    ((7, 1, 192, 192), False),
    ((7, 7, 1, 96), False),
    ((16, 16), False),
  ],
)
@pytest.mark.usefixtures('known')
def test_small_products_are_those_beside_depthwise_kernels(shape, depthwise):
  variables = {'params': {'kernel': np.zeros(shape), 'bias': np.zeros(16)}}
  found = compiler_options.find(variables)
  assert set(found) == ({_WIDE, _BY_EIGEN} if depthwise else {_WIDE})


@pytest.mark.usefixtures('known')
def test_elsewhere_there_are_none(monkeypatch):
  monkeypatch.setattr('jax.default_backend', lambda: 'gpu')
  assert not compiler_options.find({})


def test_what_jaxlib_does_not_know_is_left_out(monkeypatch):
  monkeypatch.setattr(compiler_options, '_WIDE_VECTORS', ('xla_cpu_no', 1))
  assert not compiler_options.find({})


def test_what_the_user_has_set_stays(monkeypatch):
  option = 'xla_cpu_of_the_user', 1
  monkeypatch.setattr(compiler_options, '_WIDE_VECTORS', option)
  monkeypatch.setenv('XLA_FLAGS', '--xla_cpu_of_the_user=2')
  monkeypatch.setattr(
    'jax.jit', lambda *unused: pytest.fail('it asked the compiler')
  )
  assert not compiler_options.find({})
