# SPDX-License-Identifier: Apache-2.0
import tracemalloc

import numpy as np
import pytest

from neucrab_jax.ops import float64, kept


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
  monkeypatch.setattr(kept, 'MOST_BYTES', first.left.nbytes - 1)
  large = np.random.default_rng(2).standard_normal((60, 9))
  first = float64.spectrum(large)
  again = float64.spectrum(large)
  assert again is not first
  np.testing.assert_array_equal(again.left, first.left)


@pytest.fixture
def all_is_large(monkeypatch):
  monkeypatch.setattr(kept, 'MOST_BYTES', 0)
  monkeypatch.setattr(float64, '_BLOCK_ELEMENTS', 512)


@pytest.mark.usefixtures('all_is_large')
@pytest.mark.parametrize('offset', [0.0, 1e4])
@pytest.mark.parametrize('unit', [1e-200, 1.0, 1e200])
def test_columns_are_standardised_by_blocks(offset, unit):
  x = np.random.default_rng(0).standard_normal((500, 6)) * [1, 2, 3, 4, 5, 0]
  found = float64.standardise((x + offset) * unit)
  expected = np.where(x.std(axis=0) > 0, x - x.mean(axis=0), 0)
  expected /= np.where(x.std(axis=0) > 0, x.std(axis=0), 1)
  np.testing.assert_allclose(found, expected, atol=1e-9)


@pytest.mark.parametrize('prepare', [float64.centre, float64.standardise])
def test_coordinates_of_large_features_are_those_of_a_spectrum(
  prepare, request
):
  rng = np.random.default_rng(0)
  x = rng.integers(100, 200, (300, 9)).astype(np.float32)
  x[:, 7], x[:, 8] = 3, x[:, 0] - 2 * x[:, 1]  # of rank 7
  small, small_values = float64.coordinates(x, prepare)
  request.getfixturevalue('all_is_large')
  large, large_values = float64.coordinates(x, prepare)
  assert small.shape == large.shape == (300, 7)
  assert small.dtype == np.float64
  assert large.dtype == np.float32
  np.testing.assert_allclose(large_values, small_values)
  # The sign of an axis is anyone's choice.
  signs = np.sign(np.sum(small * large, axis=0))
  np.testing.assert_allclose(signs * large, small, atol=1e-6 * small.max())


@pytest.mark.usefixtures('all_is_large')
def test_features_that_do_not_vary_have_one_coordinate_of_zero():
  x, values = float64.coordinates(np.ones((20, 3), np.float32))
  assert x.shape == (20, 1)
  assert not x.any()
  assert not len(values)


@pytest.mark.usefixtures('all_is_large')
def test_coordinates_take_little_more_memory_than_they_have():
  x = np.random.default_rng(0).standard_normal((20_000, 16), np.float32)
  tracemalloc.start()
  try:
    found, _ = float64.coordinates(x)
    _, most = tracemalloc.get_traced_memory()
  finally:
    tracemalloc.stop()
  assert most < 1.5 * found.nbytes
