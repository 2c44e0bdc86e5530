# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from sklearn import decomposition

from neucrab_jax.ops import pca


def _features(n, d, seed=0):
  rng = np.random.default_rng(seed)
  return (rng.normal(size=(n, d)) * np.exp(-np.arange(d) / 20)).astype('f4')


def _signed(components):
  """The largest entry of each column positive."""
  rows = np.abs(components).argmax(0)
  return components * np.sign(components[rows, np.arange(len(rows))])


@pytest.mark.parametrize('energy', [0.3, 0.8, 0.95])
@pytest.mark.parametrize('shape', [(300, 40), (50, 200), (64, 64)])
def test_keeps_what_scikit_learn_keeps(shape, energy):
  x = _features(*shape)
  projection = pca.fit(x, energy=energy)
  oracle = decomposition.PCA(energy, svd_solver='full').fit(np.float64(x))
  np.testing.assert_allclose(
    projection.components, oracle.components_.T, atol=1e-4
  )
  np.testing.assert_allclose(
    projection.explained_energy, oracle.explained_variance_ratio_, rtol=1e-4
  )


@pytest.mark.parametrize('shape', [(300, 40), (50, 200)])
def test_transforms_as_scikit_learn(shape):
  x = _features(*shape)
  oracle = decomposition.PCA(0.8, svd_solver='full').fit(np.float64(x))
  np.testing.assert_allclose(
    pca.transform(pca.fit(x), x), oracle.transform(x), atol=2e-4
  )


@pytest.mark.parametrize('scale', [1e-30, 1e-3, 1e3, 1e30])
def test_components_do_not_depend_on_scale(scale):
  x = _features(100, 30)
  np.testing.assert_allclose(
    pca.fit(x * np.float32(scale)).components,
    pca.fit(x).components,
    atol=1e-4,
  )


def test_energies_do_not_depend_on_an_offset():
  x = _features(100, 30)
  shifted = (x + np.float32(1000)).astype('f4')
  oracle = decomposition.PCA(0.8).fit(np.float64(shifted))
  np.testing.assert_allclose(
    pca.fit(shifted).explained_energy,
    oracle.explained_variance_ratio_,
    rtol=1e-4,
  )


def test_keeps_one_zero_component_of_constant_features():
  projection = pca.fit(np.full((20, 5), 1e6 + 0.1, 'f4'))
  np.testing.assert_array_equal(projection.components, np.zeros((5, 1)))
  np.testing.assert_array_equal(projection.explained_energy, [0])


def test_ignores_a_constant_feature():
  x = _features(100, 30)
  x[:, 3] = 7
  projection = pca.fit(x)
  np.testing.assert_allclose(projection.components[3], 0, atol=1e-6)


def test_keeps_everything_that_varies_at_full_energy():
  assert pca.fit(_features(50, 8), energy=1.0).components.shape == (8, 8)


def test_largest_entry_of_each_component_is_positive():
  components = np.asarray(pca.fit(_features(100, 30)).components)
  rows = np.abs(components).argmax(0)
  assert (components[rows, np.arange(components.shape[1])] > 0).all()


@pytest.mark.parametrize('shape', [(1, 5), (5, 1), (2, 2), (1, 1)])
def test_takes_the_smallest_shapes(shape):
  x = _features(*shape)
  projection = pca.fit(x)
  varies = np.ptp(x, axis=0).any()
  np.testing.assert_allclose(
    np.linalg.norm(projection.components, axis=0), float(varies), rtol=1e-6
  )


@pytest.mark.parametrize('shape', [(300, 80), (80, 300)])
@pytest.mark.parametrize('rank', [1, 7])
def test_features_of_low_rank_that_are_duplicated(shape, rank):
  n, d = shape
  rng = np.random.default_rng(rank)
  few = rng.normal(size=(10, rank)) @ rng.normal(size=(rank, d))
  x = few[np.arange(n) % 10].astype('f4')
  projection = pca.fit(x, energy=0.999)
  oracle = decomposition.PCA(0.999, svd_solver='full').fit(np.float64(x))
  np.testing.assert_allclose(
    projection.components, _signed(oracle.components_.T), atol=1e-4
  )


def test_features_that_are_blocks_of_their_own():
  # The tridiagonal form falls apart, and equal eigenvalues are in its parts.
  x = np.kron(np.eye(6), np.array([[1, -1, 0], [0, 1, 2]])).astype('f4')
  projection = pca.fit(x, energy=0.99)
  oracle = decomposition.PCA(0.99, svd_solver='full').fit(np.float64(x))
  components = np.asarray(projection.components)
  np.testing.assert_allclose(
    components @ components.T,
    oracle.components_.T @ oracle.components_,
    atol=1e-5,
  )


def test_works_in_double_precision(x64):
  x = np.float64(_features(300, 40))
  oracle = decomposition.PCA(0.8, svd_solver='full').fit(x)
  z = pca.transform(pca.fit(x), x)
  np.testing.assert_allclose(z, oracle.transform(x), atol=1e-10)


@pytest.mark.parametrize('energy', [0, 1.1, -1])
def test_refuses_an_energy_that_is_no_share(energy):
  with pytest.raises(ValueError, match=r'\(0, 1\]'):
    pca.fit(_features(10, 3), energy=energy)


def test_refuses_other_features_than_it_was_fitted_to():
  projection = pca.fit(_features(10, 3))
  with pytest.raises(ValueError, match=r'\[N, 3\]'):
    pca.transform(projection, _features(10, 4))
