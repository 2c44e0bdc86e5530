# SPDX-License-Identifier: Apache-2.0
import jax
import numpy as np
import pytest
from sklearn import cluster

from neucrab_jax.ops import kmeans


@pytest.mark.parametrize('num_clusters', [1, 20, 60])
def test_inertia_is_as_good_as_scikit_learn(features, num_clusters):
  x, _ = features
  ours = [
    float(kmeans.fit(jax.random.key(i), x, num_clusters=num_clusters).inertia)
    for i in range(5)
  ]
  theirs = [
    cluster.KMeans(num_clusters, n_init=1, random_state=i).fit(x).inertia_
    for i in range(5)
  ]
  assert np.mean(ours) <= np.mean(theirs) * 1.02


def test_assigns_to_the_nearest_centroid(features):
  x, _ = features
  found = kmeans.fit(jax.random.key(0), x, num_clusters=20)
  squares = ((np.float64(x)[:, None] - found.centroids) ** 2).sum(-1)
  np.testing.assert_array_equal(found.assignments, squares.argmin(1))
  np.testing.assert_allclose(found.inertia, squares.min(1).sum(), rtol=1e-5)


def test_every_example_can_be_a_cluster():
  x = np.random.default_rng(0).normal(size=(40, 3)).astype('f4')
  found = kmeans.fit(jax.random.key(0), x, num_clusters=40)
  assert sorted(np.asarray(found.assignments)) == list(range(40))


def test_more_clusters_than_distinct_examples_stay_finite():
  x = np.repeat(np.eye(3, dtype='f4'), 10, axis=0)
  found = kmeans.fit(jax.random.key(0), x, num_clusters=12)
  assert np.isfinite(found.centroids).all()
  # The squared distances of these examples to their mean sum up to 20.
  np.testing.assert_allclose(found.inertia, 0, atol=1e-5)


def test_an_example_without_weight_is_absent(features):
  x, _ = features
  outlier = np.full((1, x.shape[1]), 1e20, 'f4')
  weights = np.append(np.ones(len(x), 'f4'), 0)
  found = kmeans.fit(
    jax.random.key(0),
    np.concatenate([x, outlier]),
    num_clusters=5,
    example_weights=weights,
  )
  assert np.abs(np.asarray(found.centroids)).max() < 100


def test_same_key_gives_the_same_bytes(features):
  x, _ = features
  first, second = (
    kmeans.fit(jax.random.key(3), x, num_clusters=9) for _ in range(2)
  )
  assert np.asarray(first.centroids).tobytes() == (
    np.asarray(second.centroids).tobytes()
  )


@pytest.mark.parametrize('num_clusters', [0, 601])
def test_refuses_more_clusters_than_examples(features, num_clusters):
  with pytest.raises(ValueError, match='between 1 and 600'):
    kmeans.fit(jax.random.key(0), features[0], num_clusters=num_clusters)
