# SPDX-License-Identifier: Apache-2.0
"""Measures as they are usually written in NumPy: rivals for `measures`.

One class after another, decompositions of D×D matrices, f64.
"""

import numpy as np
import scipy.linalg
import scipy.special
from scipy import stats
from sklearn import (
  covariance,
  decomposition,
  linear_model,
  mixture,
  model_selection,
  neighbors,
)

# Of the public code of LogME: iterations, tolerance, stabiliser.
_LOGME = 11, 1e-3, 1e-5
_EPSILON = 1e-4  # of TransRate


def logme(x, labels):
  x = x.astype(np.float64)
  n, d = x.shape
  _, values, rows = np.linalg.svd(x.T @ x)
  s = np.sqrt(values)
  u = x @ rows.T / s
  sigma = s**2
  evidences = []
  for c in range(labels.max() + 1):
    y = (labels == c).astype(np.float64)
    x2 = (u.T @ y) ** 2
    rest = y @ y - x2.sum()
    alpha = beta = 1.0
    for _ in range(_LOGME[0]):
      t = alpha / beta
      gamma = (sigma / (sigma + t)).sum()
      m2 = (sigma * x2 / (t + sigma) ** 2).sum()
      error = (x2 / (1 + sigma / t) ** 2).sum() + rest
      alpha = gamma / (m2 + _LOGME[2])
      beta = (n - gamma) / (error + _LOGME[2])
      if abs(alpha / beta - t) / t <= _LOGME[1]:
        break
    evidence = d * np.log(alpha) + n * np.log(beta)
    evidence -= np.log(alpha + beta * sigma).sum() + n * np.log(2 * np.pi)
    evidences.append((evidence - beta * error - alpha * m2) / (2 * n))
  return np.mean(evidences)


def parc(x, labels):
  x = x.astype(np.float64)
  x = (x - x.mean(axis=0)) / x.std(axis=0)
  below = np.tril_indices(len(x), -1)
  one_hot = np.eye(labels.max() + 1)[labels]
  return stats.spearmanr(
    1 - np.corrcoef(x)[below], 1 - np.corrcoef(one_hot)[below]
  ).statistic


def _discriminate(x, labels, shrinkage=None):
  d = x.shape[1]
  counts = np.bincount(labels)
  groups = [x[labels == c] for c in range(len(counts))]
  means = np.stack([group.mean(axis=0) for group in groups])
  within = np.zeros((d, d))
  for count, group in zip(counts, groups, strict=True):
    within += count / len(x) * np.cov(group.T, bias=True)
  if shrinkage is None:
    v = within.sum(axis=1)
    for _ in range(3):
      w = within @ v / np.linalg.norm(within @ v)
      v = within @ w / np.linalg.norm(within @ w)
    shrinkage = max(np.exp(-5 * v @ within @ w), 1e-10)
  identity = np.eye(d)
  total = np.cov(x.T, bias=True)
  total = (1 - shrinkage) * total + shrinkage * np.trace(total) / d * identity
  within = (1 - shrinkage) * within + shrinkage * np.trace(
    within
  ) / d * identity
  _, vectors = scipy.linalg.eigh(total - within, within)
  kernel = means @ vectors @ vectors.T
  bias = -0.5 * np.diag(means @ kernel.T) + np.log(counts / len(x))
  return scipy.special.softmax(x @ kernel.T + bias, axis=1), means, shrinkage


def sfda(x, labels):
  x = x.astype(np.float64)
  rows = np.arange(len(x))
  first, means, shrinkage = _discriminate(x, labels)
  confidence = scipy.special.softmax(first, axis=1)[rows, labels][:, None]
  others = (means.sum(axis=0) - means) / (len(means) - 1)
  x = confidence * x + (1 - confidence) * others[labels]
  return _discriminate(x, labels, shrinkage)[0][rows, labels].mean()


def _coding_rate(x):
  gram = np.eye(x.shape[1]) + x.T @ x / (len(x) * _EPSILON)
  return 0.5 * np.linalg.slogdet(gram)[1]


def transrate(x, labels):
  x = x.astype(np.float64)
  x = x - x.mean(axis=0)
  rates = [_coding_rate(x[labels == c]) for c in range(labels.max() + 1)]
  return _coding_rate(x) - np.mean(rates)


def knn(x, labels):
  found = neighbors.NearestNeighbors(n_neighbors=1, algorithm='brute').fit(x)
  nearest = found.kneighbors(return_distance=False)[:, 0]
  return (labels[nearest] == labels).mean()


def h_score(x, labels):
  x = x.astype(np.float64)
  between = np.zeros_like(x)
  for c in range(labels.max() + 1):
    between[labels == c] = x[labels == c].mean(axis=0)
  return np.trace(np.linalg.pinv(np.cov(x.T)) @ np.cov(between.T))


def lfc(x, labels):
  x = x.astype(np.float64)
  kernel = x @ x.T
  target = np.where(labels[:, None] == labels, 1.0, -1.0)
  for matrix in (kernel, target):
    matrix -= matrix.mean(axis=0)
    matrix -= matrix.mean(axis=1, keepdims=True)
  norms = np.linalg.norm(kernel) * np.linalg.norm(target)
  return (kernel * target).sum() / norms


def h_score_regularized(x, labels):
  x = x.astype(np.float64)
  x = x - x.mean(axis=0)
  shrunk = covariance.LedoitWolf(assume_centered=False).fit(x)
  between = np.zeros_like(x)
  for c in range(labels.max() + 1):
    between[labels == c] = x[labels == c].mean(axis=0)
  inverse = np.linalg.pinv(shrunk.covariance_)
  return np.trace(inverse @ np.cov(between.T)) * (1 - shrunk.shrinkage_)


def ridge_loo(x, labels):
  x = x.astype(np.float64)
  std = x.std(axis=0)
  x = (x - x.mean(axis=0)) / np.where(std > 0, std, 1)
  one_hot = np.eye(labels.max() + 1)[labels]
  u, s, _ = np.linalg.svd(x, full_matrices=False)
  best = 0.0
  for strength in np.logspace(-6, 0, 13) * (s**2).sum():
    shrunk = u * (s**2 / (s**2 + strength))
    hat = 1 / len(x) + np.einsum('nk,nk->n', shrunk, u)
    errors = one_hot - one_hot.mean(axis=0) - shrunk @ (u.T @ one_hot)
    left_out = one_hot - errors / np.maximum(1 - hat, 1e-9)[:, None]
    best = max(best, (left_out.argmax(axis=1) == labels).mean())
  return best


def linear(x, labels):
  std = x.std(axis=0)
  x = (x - x.mean(axis=0)) / np.where(std > 0, std, 1)
  splits = model_selection.StratifiedShuffleSplit(5, test_size=0.25)
  accuracies = []
  for train, test in splits.split(x, labels):
    found = linear_model.LogisticRegression(C=1.0, max_iter=200)
    found.fit(x[train], labels[train])
    accuracies.append(found.score(x[test], labels[test]))
  return np.mean(accuracies)


def nleep(x, labels):
  z = decomposition.PCA(0.8).fit_transform(x)
  k = min(5 * (labels.max() + 1), len(x))
  found = mixture.GaussianMixture(k, covariance_type='diag').fit(z)
  posterior = found.predict_proba(z)
  one_hot = np.eye(labels.max() + 1)[labels]
  joint = one_hot.T @ posterior
  conditional = joint / np.maximum(joint.sum(axis=0), np.finfo(float).tiny)
  own = np.einsum('nk,nk->n', conditional[labels], posterior)
  return np.log(np.maximum(own, np.finfo(float).tiny)).mean()
