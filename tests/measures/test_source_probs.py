# SPDX-License-Identifier: Apache-2.0
"""NCE and PACTran-Dirichlet, against loops in f64."""

import numpy as np
import problems
import pytest
import scipy.special
from sklearn import metrics

from neucrab_jax import measures


def problem(kind):
  """Labels, and probabilities of 8 source classes that know of them."""
  classes = {'few': 2, 'more': 5, 'as many': 8, 'many': 20}[kind]
  _, labels = problems.make('plain', num_examples=200, num_classes=classes)
  return labels, problems.make_source_probs(labels)


PROBLEMS = ('few', 'more', 'as many', 'many')


@pytest.mark.parametrize('kind', PROBLEMS)
def test_nce_is_minus_the_conditional_entropy(kind):
  labels, probs = problem(kind)
  source = probs.argmax(axis=1)
  entropy = scipy.special.entr(np.bincount(labels) / len(labels)).sum()
  expected = metrics.mutual_info_score(labels, source) - entropy
  found = measures.score('nce', source_probs=probs, labels=labels)
  assert found == pytest.approx(expected, rel=1e-4)


def pactran_dirichlet(probs, labels, strength, iterations):
  """One example and one source class at a time."""
  probs = probs.astype(np.float64)
  n, z = probs.shape
  classes = labels.max() + 1
  prior = strength * np.bincount(labels) / n + 1e-10
  log_s = np.log(probs + 1e-10)
  q = probs
  for _ in range(iterations):
    a = np.tile(prior[:, None], (1, z))
    for i, y in enumerate(labels):
      a[y] += q[i]
    log_q = np.empty_like(q)
    for i, y in enumerate(labels):
      log_q[i] = log_s[i] + scipy.special.psi(a[y])
      log_q[i] -= scipy.special.psi(a.sum(axis=0))
      log_q[i] -= scipy.special.logsumexp(log_q[i])
    q = np.exp(log_q)

  def log_beta(a):
    return scipy.special.gammaln(a).sum() - scipy.special.gammaln(a.sum())

  evidence = sum(log_beta(a[:, j]) - log_beta(prior) for j in range(z))
  return (evidence - (q * (log_q - log_s)).sum()) / (n * classes)


@pytest.mark.parametrize('kind', PROBLEMS)
def test_pactran_dirichlet_is_its_bound(kind):
  labels, probs = problem(kind)
  options = {'strength': 2.0, 'num_iterations': 6}
  expected = pactran_dirichlet(probs, labels, *options.values())
  found = measures.score(
    'pactran_dirichlet', source_probs=probs, labels=labels, **options
  )
  assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize('name', ['leep', 'nce', 'pactran_dirichlet'])
def test_order_of_source_classes_does_not_matter(name):
  labels, probs = problem('more')
  order = np.random.default_rng(0).permutation(probs.shape[1])
  assert measures.score(
    name, source_probs=probs[:, order], labels=labels
  ) == pytest.approx(
    measures.score(name, source_probs=probs, labels=labels), rel=1e-5
  )


@pytest.mark.parametrize('name', ['leep', 'nce', 'pactran_dirichlet'])
def test_a_head_that_knows_more_scores_higher(name):
  labels, probs = problem('more')
  shuffled = np.random.default_rng(1).permutation(probs)
  perfect = np.eye(8)[labels]
  scores = [
    measures.score(name, source_probs=p, labels=labels)
    for p in (shuffled, probs, perfect)
  ]
  assert scores == sorted(scores)
  assert scores[0] < scores[2]
