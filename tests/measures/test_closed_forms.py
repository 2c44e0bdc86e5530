# SPDX-License-Identifier: Apache-2.0
"""Measures with a formula, against that formula in NumPy and SciPy, f64."""

import numpy as np
import problems
import pytest
import scipy.linalg
import scipy.special
from scipy import stats
from scipy.spatial import distance
from sklearn import covariance as covariances
from sklearn import decomposition, preprocessing

from neucrab_jax import measures
from neucrab_jax.ops import float64

EPS = np.finfo(np.float64).eps


def classes(x, labels):
  return [x[labels == c] for c in range(labels.max() + 1)]


def class_separation(x, labels):
  distances = 1 - (x @ x.T) / np.outer(*[np.linalg.norm(x, axis=1)] * 2)
  by_class = [
    [distances[np.ix_(labels == a, labels == b)].mean() for b in range(5)]
    for a in range(5)
  ]
  return 1 - np.trace(by_class) / 5 / np.mean(by_class)


def _pinv(matrix, size):
  return np.linalg.pinv(matrix, rcond=size * EPS, hermitian=True)


def h_score(x, labels):
  between = np.stack([x[labels == y].mean(axis=0) for y in labels])
  inverse = _pinv(np.cov(x.T), max(x.shape))
  return np.trace(inverse @ np.cov(between.T))


def h_score_regularized(x, labels):
  x = x - x.mean(axis=0)
  between = np.stack([x[labels == y].mean(axis=0) for y in labels])
  shrunk = covariances.LedoitWolf().fit(x)
  inverse = np.linalg.inv(shrunk.covariance_)
  return (1 - shrunk.shrinkage_) * np.trace(inverse @ np.cov(between.T))


def logme(x, labels, exact=False):
  n, d = x.shape
  u, s, _ = np.linalg.svd(x, full_matrices=False)
  sigma = s**2
  evidences = []
  for c in range(labels.max() + 1):
    y = (labels == c).astype(float)
    x2 = (u.T @ y) ** 2
    rest = y @ y - x2.sum()
    alpha = beta = 1.0
    for _ in range(11):
      t = alpha / beta
      gamma = (sigma / (sigma + t)).sum()
      m2 = (sigma * x2 / (t + sigma) ** 2).sum()
      error = (x2 / (1 + sigma / t) ** 2).sum() + rest
      alpha, beta = gamma / (m2 + 1e-5), (n - gamma) / (error + 1e-5)
      if abs(alpha / beta - t) / t <= 1e-3:
        break
    evidence = (
      (len(s) if exact else d) / 2 * np.log(alpha)
      + n / 2 * np.log(beta)
      - 0.5 * np.log(alpha + beta * sigma).sum()
      - beta / 2 * error
      - alpha / 2 * m2
      - n / 2 * np.log(2 * np.pi)
    )
    evidences.append(evidence / n)
  return np.mean(evidences)


def transrate(x, labels, epsilon=1e-4):
  def rate(f):
    matrix = np.eye(f.shape[1]) + f.T @ f / (len(f) * epsilon)
    return 0.5 * np.linalg.slogdet(matrix)[1]

  x = x - x.mean(axis=0)
  return rate(x) - np.mean([rate(f) for f in classes(x, labels)])


def gbc(x, labels, covariance='spherical'):
  k = min(64, *x.shape)
  z = decomposition.PCA(k, svd_solver='full').fit_transform(x)
  means = [f.mean(axis=0) for f in classes(z, labels)]
  variances = [np.maximum(f.var(axis=0), 1e-4) for f in classes(z, labels)]
  if covariance == 'spherical':
    variances = [np.array([v.mean()]) for v in variances]
  total = 0.0
  for i, (mean, variance) in enumerate(zip(means, variances, strict=True)):
    for j, (other, other_variance) in enumerate(
      zip(means, variances, strict=True)
    ):
      if i != j:
        average = (variance + other_variance) / 2
        distance = ((mean - other) ** 2 / average).sum() / 8
        distance += 0.5 * np.log(average).sum()
        distance -= 0.25 * np.log(variance * other_variance).sum()
        total -= np.exp(-distance)
  return total


def sfda(x, labels):
  priors = np.bincount(labels) / len(labels)

  def analyse(x, shrinkage=None):
    means = np.stack([f.mean(axis=0) for f in classes(x, labels)])
    within = sum(
      p * np.cov(f.T, bias=True)
      for p, f in zip(priors, classes(x, labels), strict=True)
    )
    if shrinkage is None:
      v = within.sum(axis=1)
      for _ in range(3):
        w = within @ v / np.linalg.norm(within @ v)
        v = within @ w / np.linalg.norm(within @ w)
      shrinkage = max(np.exp(-5 * v @ within @ w), 1e-10)
    d = len(within)
    shrunk = (1 - shrinkage) * within
    shrunk += shrinkage * np.trace(within) / d * np.eye(d)
    coefficients = scipy.linalg.solve(shrunk, means.T, assume_a='pos')
    logits = x @ coefficients - 0.5 * np.diag(means @ coefficients)
    return scipy.special.softmax(logits + np.log(priors), axis=1), shrinkage

  first, shrinkage = analyse(x)
  rows = np.arange(len(x))
  confidence = scipy.special.softmax(first, axis=1)[rows, labels][:, None]
  means = np.stack([f.mean(axis=0) for f in classes(x, labels)])
  others = (means.sum(axis=0) - means) / (len(means) - 1)
  second, _ = analyse(
    confidence * x + (1 - confidence) * others[labels], shrinkage
  )
  return second[rows, labels].mean()


def parc(x, labels):
  x = preprocessing.StandardScaler().fit_transform(x)
  below = np.tril_indices(len(x), -1)
  # Rounded: pairs of classes tie, whatever the last bits of a sum are.
  targets = 1 - np.corrcoef(np.eye(labels.max() + 1)[labels]).round(12)
  return stats.spearmanr(1 - np.corrcoef(x)[below], targets[below]).statistic


def lfc(x, labels):
  h = np.eye(len(x)) - 1 / len(x)
  kernel = h @ x @ x.T @ h
  target = h @ np.where(labels[:, None] == labels, 1.0, -1.0) @ h
  norms = np.linalg.norm(kernel) * np.linalg.norm(target)
  return (kernel * target).sum() / norms


def interclass_distance(x, labels):
  distances = distance.cdist(x, x)
  return np.mean(
    [
      distances[np.ix_(labels == a, labels == b)].mean()
      for b in range(labels.max() + 1)
      for a in range(b)
    ]
  )


def concept_variance(x, labels):
  x = (x - x.min(axis=0)) / np.ptp(x, axis=0)
  farthest = np.sqrt(x.shape[1])
  distances = distance.cdist(x, x)
  rest = np.maximum(farthest - distances, 1e-9)
  near = np.exp2(-2 * distances / rest) * (1 - np.eye(len(x)))
  differ = labels[:, None] != labels
  return -np.mean((near * differ).sum(axis=0) / near.sum(axis=0))


def ridge_loo(x, labels, log_loss=False):
  """By its definition: one regression for each example left out."""
  x = preprocessing.StandardScaler().fit_transform(x)
  one_hot = np.eye(labels.max() + 1)[labels]
  strengths = np.logspace(-6, 0, 13) * (x**2).sum()
  # [strengths, N, C]
  predicted = np.zeros((len(strengths), *one_hot.shape))
  for i in range(len(x)):
    rest, targets = np.delete(x, i, 0), np.delete(one_hot, i, 0)
    offset, intercept = rest.mean(axis=0), targets.mean(axis=0)
    # One decomposition for all strengths.
    u, s, vt = np.linalg.svd(rest - offset, full_matrices=False)
    shrunk = s / (s**2 + strengths[:, None])
    z = vt @ (x[i] - offset)
    predicted[:, i] = (z * shrunk) @ (u.T @ (targets - intercept)) + intercept
  best = -np.inf
  for left_out in predicted:
    if log_loss:
      variance = ((left_out - one_hot) ** 2).mean()
      logs = scipy.special.log_softmax(left_out / variance, axis=1)
      best = max(best, logs[np.arange(len(x)), labels].mean())
    else:
      best = max(best, (left_out.argmax(axis=1) == labels).mean())
  return best


ORACLES = {
  'class_separation': class_separation,
  'h_score': h_score,
  'h_score_regularized': h_score_regularized,
  'logme': logme,
  'transrate': transrate,
  'gbc': gbc,
  'sfda': sfda,
  'parc': parc,
  'lfc': lfc,
  'interclass_distance': interclass_distance,
  'concept_variance': concept_variance,
}
# Rotations and offsets of the features that leave a measure as it is.
ROTATES = {*ORACLES} - {'sfda', 'parc', 'concept_variance'} | {'knn'}
MOVES = {*ORACLES} - {'class_separation', 'logme', 'parc'} | {'knn'}


def score(name, x, labels, **options):
  return measures.score(name, features=x, labels=labels, **options)


@pytest.mark.filterwarnings('ignore:The steps of LogME')
@pytest.mark.parametrize('kind', problems.KINDS)
@pytest.mark.parametrize('name', ORACLES)
def test_is_its_formula(name, kind):
  x, labels = problems.make(kind)
  if (name, kind) == ('h_score', 'wide'):
    # With variances down to 1e-50, which of them are zero is anyone's choice.
    x = x + np.random.default_rng(0).standard_normal(x.shape).astype(x.dtype)
  expected = ORACLES[name](x.astype(np.float64), labels)
  assert score(name, x, labels) == pytest.approx(expected, rel=1e-4)


@pytest.mark.filterwarnings('ignore:The steps of LogME')
@pytest.mark.parametrize('kind', problems.KINDS)
@pytest.mark.parametrize(
  ('name', 'options', 'oracle'),
  [
    ('gbc', {'covariance': 'diag'}, lambda x, y: gbc(x, y, 'diag')),
    ('logme', {'variant': 'exact'}, lambda x, y: logme(x, y, exact=True)),
    ('transrate', {'epsilon': 0.1}, lambda x, y: transrate(x, y, 0.1)),
  ],
)
def test_options_are_their_formula(name, options, oracle, kind):
  x, labels = problems.make(kind)
  expected = oracle(x.astype(np.float64), labels)
  assert score(name, x, labels, **options) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
  ('name', 'rounding'),
  # The classifiers of `linear` are fitted in f32.
  [('interclass_distance', 0), ('concept_variance', 0), ('linear', 0.02)],
)
def test_scores_in_blocks_are_those_of_all(name, rounding, monkeypatch):
  x, labels = problems.make('plain', num_examples=50)
  whole = measures.evaluate(name, features=x, labels=labels)
  # Seven rows at a time, and one in the end.
  monkeypatch.setattr(float64, '_BLOCK_ELEMENTS', 7 * 50)
  found = measures.evaluate(name, features=x, labels=labels)
  assert found.score == pytest.approx(whole.score, rel=1e-12, abs=rounding)
  np.testing.assert_allclose(
    found.influence, whole.influence, atol=1e-10 + rounding
  )


def test_who_has_no_neighbour_has_all_as_neighbours():
  # Three who are the same, and one who is as far from them as can be.
  x = np.array([[0.0, 0.0], [0.0, 0.0], [0.0, 0.0], [1.0, 1.0]])
  labels = np.array([0, 0, 1, 1])
  found = measures.evaluate('concept_variance', features=x, labels=labels)
  assert found.score == pytest.approx(-np.mean([1 / 2, 1 / 2, 1, 2 / 3]))


@pytest.mark.parametrize('kind', ['plain', 'wide', 'correlated', 'large'])
@pytest.mark.parametrize('log_loss', [False, True])
def test_ridge_loo_is_one_regression_for_each_example(kind, log_loss):
  x, labels = problems.make(kind, num_examples=60)
  expected = ridge_loo(x.astype(np.float64), labels, log_loss)
  variant = 'log_loss' if log_loss else 'accuracy'
  found = score('ridge_loo', x, labels, variant=variant)
  assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize('name', sorted(ROTATES))
def test_rotations_do_not_matter(name):
  x, labels = problems.make('plain')
  rotation = stats.ortho_group.rvs(24, random_state=0)
  assert score(name, x @ rotation, labels) == pytest.approx(
    score(name, x, labels), rel=1e-4
  )


@pytest.mark.parametrize('name', sorted(MOVES))
def test_an_offset_does_not_matter(name):
  x, labels = problems.make('plain')
  x = np.round(x, 2)  # so that the sums below are exact
  moved = x.astype(np.float64) + 16
  assert score(name, moved, labels) == pytest.approx(
    score(name, x.astype(np.float64), labels), rel=1e-4
  )


@pytest.mark.parametrize('name', [*ORACLES, 'ridge_loo', 'linear', 'knn'])
def test_better_features_score_higher(name):
  good, labels = problems.make('separable')
  plain, _ = problems.make('plain')
  noise = np.random.default_rng(1).permutation(plain)
  scores = [score(name, x, labels) for x in (noise, plain, good)]
  assert scores == sorted(scores)
  assert scores[0] < scores[2]


@pytest.mark.filterwarnings('ignore::UserWarning')
@pytest.mark.parametrize(
  ('name', 'perfect'),
  [
    ('class_separation', 1),
    ('h_score', 4),
    ('gbc', 0),
    ('sfda', 1),
    ('lfc', 1),
    ('ridge_loo', 1),
  ],
)
def test_features_that_are_the_labels_score_best(name, perfect):
  # Of the shapes of `problems`, whose programs are compiled.
  labels = np.arange(300) % 5
  x = 10 * np.eye(5, 24, dtype=np.float32)[labels]
  assert score(name, x, labels) == pytest.approx(perfect, abs=1e-5)
