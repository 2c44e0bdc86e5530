# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from neucrab_jax.ops import float64


@pytest.mark.parametrize('shape', [(60, 9), (9, 60)])
def test_spectrum_is_of_the_singular_values(shape):
  x = np.random.default_rng(0).standard_normal(shape)
  found = float64.spectrum(x)
  centred = x - x.mean(axis=0)
  expected = np.linalg.svd(centred, compute_uv=False) ** 2
  np.testing.assert_allclose(found.values, expected[: len(found.values)])
  np.testing.assert_allclose(expected[len(found.values) :], 0, atol=1e-12)
  coordinates = found.coordinates()
  np.testing.assert_allclose(
    coordinates @ coordinates.T, centred @ centred.T, atol=1e-10
  )


def test_measures_share_spectra_but_those_that_are_large(monkeypatch):
  x = np.random.default_rng(1).standard_normal((60, 9))
  first = float64.spectrum(x)
  assert float64.spectrum(x.copy()) is first
  assert float64.spectrum(x, float64.standardise) is not first
  monkeypatch.setattr(float64, '_KEPT_BYTES', first.left.nbytes - 1)
  large = np.random.default_rng(2).standard_normal((60, 9))
  first = float64.spectrum(large)
  again = float64.spectrum(large)
  assert again is not first
  np.testing.assert_array_equal(again.left, first.left)
