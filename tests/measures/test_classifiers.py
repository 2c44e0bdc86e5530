# SPDX-License-Identifier: Apache-2.0
"""Measures that fit a classifier: PACTran-Gaussian and mutual information."""

import inspect

import numpy as np
import problems
import pytest
import scipy.optimize
import scipy.special

from neucrab_jax import measures
from neucrab_jax.finetuning import early_stopping
from neucrab_jax.measures import mutual_information


def pactran_gaussian(x, labels, prior, posterior):
  """The bound at SciPy's optimum, in f64."""
  n, d = x.shape
  one_hot = np.eye(labels.max() + 1)[labels]
  c = one_hot.shape[1]
  scale = prior * n

  def loss_of(theta):
    theta = theta.reshape(d + 1, c)
    logits = x @ theta[:d] + theta[d]
    logs = scipy.special.log_softmax(logits, axis=1)
    loss = -(one_hot * logs).sum() / n + (theta[:d] ** 2).sum() / (2 * scale)
    error = (np.exp(logs) - one_hot) / n
    gradient = np.concatenate(
      [x.T @ error + theta[:d] / scale, error.sum(axis=0, keepdims=True)]
    )
    return loss, gradient.ravel()

  found = scipy.optimize.minimize(
    loss_of,
    np.zeros((d + 1) * c),
    jac=True,
    method='L-BFGS-B',
    options={'maxiter': 5000, 'maxfun': 10**5, 'ftol': 1e-15, 'gtol': 1e-9},
  )
  theta = found.x.reshape(d + 1, c)
  p = scipy.special.softmax(x @ theta[:d] + theta[d], axis=1)
  hessian = np.concatenate(
    [
      (x**2).T @ (p - p**2) + 1 / scale,
      (p - p**2).sum(axis=0, keepdims=True),
    ]
  )
  flatness = c * posterior / (2 * scale)
  return -(found.fun + flatness * np.log(hessian.sum() * scale / (c * d)))


@pytest.mark.parametrize('kind', ['plain', 'correlated', 'separable', 'tiny'])
def test_pactran_gaussian_is_its_bound(kind):
  x, labels = problems.make(kind)
  options = {'prior_variance': 0.1, 'posterior_variance': 10.0}
  found = measures.score(
    'pactran_gaussian', features=x, labels=labels, **options
  )
  expected = pactran_gaussian(x.astype(np.float64), labels, *options.values())
  assert found == pytest.approx(expected, rel=1e-3)


@pytest.mark.filterwarnings('ignore:L-BFGS stopped')
def test_pactran_gaussian_is_its_bound_with_more_dimensions_than_examples():
  x, labels = problems.make('wide')
  found = measures.score('pactran_gaussian', features=x, labels=labels)
  expected = pactran_gaussian(x.astype(np.float64), labels, 1.0, 1.0)
  assert found == pytest.approx(expected, rel=1e-3)


def test_a_classifier_that_does_not_converge_is_told():
  x, labels = problems.make('plain')
  with pytest.warns(measures.MeasureWarning, match='at 2 iterations'):
    measures.score(
      'pactran_gaussian', features=x, labels=labels, max_iterations=2
    )


def posterior_of_gaussians(x, labels, centres):
  logits = -0.5 * ((x[:, None] - centres) ** 2).sum(axis=2)
  logs = scipy.special.log_softmax(logits, axis=1)
  return logs[np.arange(len(x)), labels]


@pytest.mark.parametrize('separation', [0.0, 0.7, 1.2, 4.0])
def test_mutual_information_is_near_that_of_known_gaussians(separation):
  rng = np.random.default_rng(0)
  labels = rng.permutation(np.arange(1000) % 4)
  centres = separation * rng.standard_normal((4, 8))
  x = (centres[labels] + rng.standard_normal((1000, 8))).astype(np.float32)
  truth = np.log(4) + posterior_of_gaussians(x, labels, centres).mean()
  found = measures.evaluate(
    'mutual_information', features=x, labels=labels, energy=1.0
  )
  # A lower bound, but for the examples that happen to be held out.
  assert found.score <= truth + 3 * max(found.std, found.stderr)
  assert found.score >= truth - 0.15
  assert found.score <= np.log(4)


def test_mutual_information_does_not_hang_on_how_wide_it_is_padded(
  monkeypatch,
):
  rng = np.random.default_rng(0)
  labels = np.arange(60) % 3
  x = rng.normal(size=(60, 5)) + labels[:, None]
  scores = []
  for few in ((16,), (32,), ()):
    monkeypatch.setattr(mutual_information, '_FEW_DIMENSIONS', few)
    scores.append(
      measures.score(
        'mutual_information', features=x, labels=labels, energy=1.0
      )
    )
  np.testing.assert_allclose(scores, scores[0], rtol=1e-3)


def test_mutual_information_after_pca_is_still_a_bound():
  x, labels = problems.make('plain')
  scores = [
    measures.score(
      'mutual_information', features=x, labels=labels, energy=energy
    )
    for energy in (0.3, 0.8)
  ]
  assert 0 < scores[0] < scores[1] < np.log(5)


@pytest.mark.parametrize('name', ['random', 'num_parameters'])
def test_controls_know_nothing_of_the_labels(name):
  x, labels = problems.make('plain')
  found = [
    measures.score(name, features=x, labels=y, num_parameters=7)
    for y in (labels, labels[::-1])
  ]
  assert found[0] == found[1]


def test_random_differs_by_checkpoint_and_seed():
  x, labels = problems.make('plain')
  scores = {
    measures.score('random', features=f, labels=labels, seed=seed)
    for f in (x, 2 * x)
    for seed in (0, 1)
  }
  assert len(scores) == 4
  assert all(0 <= score <= 1 for score in scores)


def test_upstream_accuracy_is_the_score():
  found = measures.evaluate(
    'upstream_accuracy', labels=np.arange(4) % 2, upstream_accuracy=0.75
  )
  assert (found.score, found.std, found.stderr) == (0.75, 0, None)


def test_the_measure_is_the_mean_and_the_spread_over_seeds():
  asked = []

  def fine_tune(**options):
    asked.append(options)
    return np.array([0.5, 0.75, 1.0])

  found = measures.evaluate(
    'early_stopping', labels=np.arange(4) % 2, fine_tune=fine_tune, share=0.1
  )
  assert (found.score, found.std) == (0.75, 0.25)
  assert found.stderr == pytest.approx(0.25 / np.sqrt(3))
  (options,) = asked
  assert options['share'] == 0.1
  parameters = inspect.signature(early_stopping.accuracies).parameters
  assert set(parameters) - {'backbone', 'examples', 'indices'} == set(options)


def test_files_of_features_cannot_be_fine_tuned():
  with pytest.raises(ValueError, match=r'needs fine_tune.*Only a checkpoint'):
    measures.score(
      'early_stopping', features=np.eye(4), labels=np.arange(4) % 2
    )
