# SPDX-License-Identifier: Apache-2.0
import pytest

from neucrab_jax.ops import blocks
from tests.ops import clusters


@pytest.fixture(scope='module', autouse=True)
def small_buckets():
  """Of a quarter of the dimensions: the programs compile in half the time."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(blocks, 'SMALLEST_BUCKET', 32)
    yield


@pytest.fixture
def features():
  return clusters.make_features()


@pytest.fixture(params=['f32', 'small in f64'])
def arithmetic(request, monkeypatch):
  """EM of few examples as it is, and as that of many."""
  if request.param == 'f32':
    monkeypatch.setattr(blocks, 'F64_ELEMENTS', 0)
    # As with all optimisations of XLA.
    request.getfixturevalue('compiled_fully')


@pytest.fixture
def x64():
  import jax

  with jax.enable_x64(True):
    yield
