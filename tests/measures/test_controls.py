# SPDX-License-Identifier: Apache-2.0
import jax
import numpy as np
import problems
import pytest
from scipy import stats
from sklearn import linear_model, neighbors, preprocessing

from neucrab_jax import measures
from neucrab_jax.ops import stratified


@pytest.mark.parametrize('kind', problems.KINDS)
@pytest.mark.parametrize('k', [1, 5])
def test_knn_agrees_with_scikit_learn(kind, k):
  x, labels = problems.make(kind)
  searched = neighbors.NearestNeighbors(algorithm='brute').fit(
    x.astype(np.float64)
  )
  # Without an argument, an example is not its own neighbour.
  nearest = searched.kneighbors(n_neighbors=k, return_distance=False)
  right = stats.mode(labels[nearest], axis=1).mode == labels
  found = measures.evaluate('knn', features=x, labels=labels, k=k)
  assert found.score == pytest.approx(right.mean())
  # More than of as many independent ones: neighbours share their mistakes.
  assert found.stderr >= 0.9 * stats.sem(right)


def test_knn_refuses_more_neighbours_than_examples():
  with pytest.raises(ValueError, match='neighbours of 20 examples'):
    measures.score('knn', features=np.eye(20), labels=np.arange(20) % 2, k=20)


@pytest.mark.parametrize('kind', problems.KINDS)
def test_linear_agrees_with_scikit_learn_on_the_same_splits(kind):
  x, labels = problems.make(kind)
  l2 = 1e-2
  held_out = stratified.held_out(jax.random.key(0), labels, num_splits=5)
  scaled = preprocessing.StandardScaler().fit_transform(x.astype(np.float64))
  accuracies = [
    linear_model.LogisticRegression(C=1 / (l2 * (~test).sum()), max_iter=5_000)
    .fit(scaled[~test], labels[~test])
    .score(scaled[test], labels[test])
    for test in held_out
  ]
  found = measures.evaluate('linear', features=x, labels=labels, l2=l2)
  # A tolerance of one example on one split.
  one = 1 / held_out[0].sum() / len(held_out) + 1e-6
  assert found.score == pytest.approx(np.mean(accuracies), abs=one)


@pytest.mark.filterwarnings('ignore:3 of 3 classes')
def test_linear_refuses_classes_of_single_examples():
  with pytest.raises(ValueError, match='No class has two examples'):
    measures.score('linear', features=np.eye(3), labels=np.arange(3))
