# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from scipy import special, stats

from neucrab_jax.benchmark import combined, history

TASKS, CHECKPOINTS = 7, 60


def make(*, missing=0.0, noise=0.5, seed=0):
  """Accuracies of a one-factor world: all tasks want much the same."""
  rng = np.random.default_rng(seed)
  talent = rng.standard_normal(CHECKPOINTS)
  x = talent + noise * rng.standard_normal((TASKS, CHECKPOINTS))
  accuracies = special.expit(x)
  hidden = rng.random(accuracies.shape) < missing
  hidden[0] = False
  return np.where(hidden, np.nan, accuracies), talent


def test_mean_ranks_are_those_of_pandas_style_ranking():
  accuracies, _ = make(missing=0.3)
  accuracies[1:, 5] = np.nan
  expected = np.full((TASKS - 1, CHECKPOINTS), np.nan)
  for row, found in zip(accuracies[1:], expected, strict=True):
    known = ~np.isnan(row)
    found[known] = (stats.rankdata(row[known]) - 0.5) / known.sum()
  known = np.arange(CHECKPOINTS) != 5
  found = history.mean_ranks(accuracies[1:])
  np.testing.assert_allclose(
    found[known], np.nanmean(expected[:, known], axis=0)
  )
  assert np.isnan(found[5])


def gaussian_forecast(x, loadings, noise):
  """Conditional normal distribution of a new task, by the joint covariance."""
  typical = loadings.mean()
  means, variances = [], []
  for column in x.T:
    known = ~np.isnan(column)
    w = loadings[known]
    joint = np.outer(w, w) + np.diag(noise[known])
    solved = np.linalg.solve(joint, w)
    z, var = solved @ column[known], 1 - solved @ w
    means.append(typical * z)
    variances.append(
      typical**2 * var + loadings.var() * (var + z**2) + noise.mean()
    )
  return np.array(means), np.sqrt(variances)


def test_the_model_is_at_a_maximum_and_forecasts_by_the_joint_distribution():
  """An oracle of its own: the marginal likelihood, maximised by SciPy."""
  from scipy import optimize

  accuracies, _ = make(missing=0.2, seed=3)
  others = accuracies[1:4]
  x = np.stack([history.normal_scores(row) for row in others])
  size = len(x)

  def loss(parameters):
    w, noise = parameters[:size], np.exp(parameters[size:])
    total = 0.5 * ((w - np.sqrt(0.5)) ** 2).sum()
    total += 0.5 * (np.log(noise) + 1 / noise).sum()
    for column in x.T:
      known = ~np.isnan(column)
      if known.any():
        joint = np.outer(w[known], w[known]) + np.diag(noise[known])
        values = column[known]
        total += 0.5 * np.linalg.slogdet(joint)[1]
        total += 0.5 * values @ np.linalg.solve(joint, values)
    return total

  start = np.concatenate([np.ones(size), np.log(np.full(size, 0.5))])
  best = optimize.minimize(loss, start).x
  seen = (~np.isnan(x)).any(axis=0)
  means, stds = gaussian_forecast(x[:, seen], best[:size], np.exp(best[size:]))
  found = history.forecast(others)
  np.testing.assert_allclose(found.mean[seen], means, atol=1e-3)
  np.testing.assert_allclose(found.std[seen], stds, atol=1e-3)


@pytest.mark.parametrize('missing', [0.0, 0.4])
def test_forecasts_are_as_far_off_as_they_say(missing):
  errors = []
  for seed in range(5):
    accuracies, _ = make(missing=missing, seed=seed)
    for t in range(TASKS):
      rest = np.delete(accuracies, t, axis=0)
      found = history.forecast(rest)
      errors.append(
        (history.normal_scores(accuracies[t]) - found.mean) / found.std
      )
  inside = np.abs(np.concatenate(errors)) < stats.norm.ppf(0.95)
  known = ~np.isnan(np.concatenate(errors))
  assert inside[known].mean() == pytest.approx(0.9, abs=0.03)


@pytest.mark.parametrize(('others', 'few'), [(1, 60), (1, 4), (2, 60)])
def test_few_tasks_and_what_did_nothing_else(others, few):
  accuracies, _ = make(seed=1)
  rest = accuracies[:others, :few].copy()
  rest[:, 0] = np.nan
  found = history.forecast(rest)
  assert np.isnan(found.mean[0])
  assert np.isnan(found.std[0])
  assert np.isfinite(found.mean[1:]).all()
  assert (found.std[1:] > 0).all()
  if others == 1:
    tau = stats.kendalltau(found.mean[1:], rest[0, 1:]).statistic
    assert tau == pytest.approx(1)


def measured(accuracies, *, noise, seed=0):
  """Scores of two measures: one near the accuracies, one of nothing."""
  rng = np.random.default_rng(seed)
  x = special.logit(accuracies)
  return np.stack(
    [
      x + noise * rng.standard_normal(x.shape),
      rng.standard_normal(x.shape),
    ]
  )


def test_combined_cannot_see_the_task_nor_one_of_the_same_data():
  accuracies, _ = make(seed=2)
  scores = measured(accuracies, noise=1.0)
  same = np.eye(TASKS, dtype=bool)
  same[0, 1] = same[1, 0] = True
  rng = np.random.default_rng(0)
  changed = accuracies.copy()
  changed[:2] = rng.random((2, CHECKPOINTS))
  unknown = accuracies.copy()
  unknown[:2] = np.nan
  expected = combined.predict(scores, accuracies, 0, same=same)
  for other in (changed, unknown):
    found = combined.predict(scores, other, 0, same=same)
    np.testing.assert_array_equal(found, expected)
  # It does see the others.
  changed[2] = rng.random(CHECKPOINTS)
  assert (combined.predict(scores, changed, 0, same=same) != expected).any()


def test_combined_is_better_than_its_parts_where_they_say_different_things():
  """Half of what a task wants is its own, and a measure has seen it."""
  taus = []
  same = np.eye(TASKS, dtype=bool)
  for seed in range(2):
    accuracies, _ = make(noise=1.0, seed=seed)
    scores = measured(accuracies, noise=2.0, seed=seed)
    for t in range(TASKS):
      rest = np.delete(accuracies, t, axis=0)
      both = combined.predict(scores, accuracies, t, same=same)
      predictors = both, scores[0, t], history.forecast(rest).mean
      taus.append([stats.kendalltau(p, accuracies[t])[0] for p in predictors])
  both, *parts = np.mean(taus, axis=0)
  assert both > max(parts) + 0.02


def test_combined_needs_scores_and_three_tasks():
  accuracies, _ = make()
  scores = measured(accuracies, noise=1.0)
  scores[:, 0, 4] = np.nan
  same = np.eye(TASKS, dtype=bool)
  found = combined.predict(scores, accuracies, 0, same=same)
  assert list(np.flatnonzero(np.isnan(found))) == [4]
  two = combined.predict(scores[:, :2], accuracies[:2], 0, same=same[:2, :2])
  assert two is None
