# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from sklearn import neighbors

from neucrab_jax.ops import knn


def _oracle(x, y, k):
  index = neighbors.KNeighborsClassifier(k).fit(np.float64(x), y)
  votes = y[index.kneighbors(return_distance=False)]
  return [np.bincount(v).argmax() == own for v, own in zip(votes, y, strict=1)]


@pytest.mark.parametrize('k', [1, 2, 5])
def test_is_scikit_learn_without_the_example_itself(features, k):
  x, y = features
  np.testing.assert_array_equal(knn.leave_one_out(x, y, k=k), _oracle(x, y, k))


def test_an_offset_changes_nothing(features):
  x, y = features
  shifted = x + np.float32(1000)
  np.testing.assert_array_equal(
    knn.leave_one_out(shifted, y), _oracle(shifted, y, 1)
  )


def test_first_of_equally_far_examples_is_nearer():
  x = np.array([[0.0], [1.0], [-1.0], [50.0]], 'f4')
  right = knn.leave_one_out(x, np.array([0, 0, 1, 1]))
  assert right[0] == 1


@pytest.mark.parametrize('k', [1, 3])
def test_first_of_equally_far_examples_is_nearer_across_blocks(k):
  rng = np.random.default_rng(0)
  # Of mean zero and variance one, so that every distance is exact.
  half = rng.choice([-1, 1], size=(1024, 12))
  x = np.concatenate([half, -half]).astype('f4')
  y = rng.integers(4, size=len(x))
  distances = 12 - x @ x.T
  np.fill_diagonal(distances, np.inf)
  nearest = distances.argsort(axis=1, kind='stable')[:, :k]
  votes = np.eye(4)[y[nearest]].sum(axis=1)
  np.testing.assert_array_equal(
    knn.leave_one_out(x, y, k=k), votes.argmax(axis=1) == y
  )


@pytest.mark.parametrize('k', [0, 600])
def test_refuses_more_neighbours_than_there_are(features, k):
  with pytest.raises(ValueError, match='between 1 and 599'):
    knn.leave_one_out(*features, k=k)
