# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from neucrab_jax.ops import blocks


def make_features(seed=0, *, n=600, d=24, classes=6, spread=1.5):
  """Examples of overlapping clusters with a decaying spectrum."""
  rng = np.random.default_rng(seed)
  labels = rng.integers(classes, size=n)
  scales = np.exp(-np.arange(d) / d)
  centres = spread * rng.normal(size=(classes, d))
  x = (centres[labels] + rng.normal(size=(n, d))) * scales
  return x.astype(np.float32), labels.astype(np.int32)


@pytest.fixture
def features():
  return make_features()


@pytest.fixture(params=['f32', 'small in f64'])
def arithmetic(request, monkeypatch):
  """EM of few examples as it is, and as that of many."""
  if request.param == 'f32':
    monkeypatch.setattr(blocks, 'F64_ELEMENTS', 0)


@pytest.fixture
def x64():
  import jax

  with jax.enable_x64(True):
    yield
