# SPDX-License-Identifier: Apache-2.0
import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from neucrab_jax.ops import em, gmm, leep, posteriors

KEY = jax.random.key(0)

in_both_precisions = pytest.mark.usefixtures('arithmetic')

# The same in all tests that don't care, so that they share programs.
SEEDED = 20


@in_both_precisions
def test_responsibilities_are_those_of_scikit_learn(features):
  x, _ = features
  mixture = gmm.fit(KEY, x, initial_means=x[:8])
  oracle = oracles.fit(x, x[:8])
  r = gmm.responsibilities(mixture, x)
  np.testing.assert_allclose(r, oracle.predict_proba(x), atol=1e-4)
  np.testing.assert_allclose(np.sum(r, axis=1), 1, atol=1e-5)


@in_both_precisions
def test_log_likelihood_is_that_of_scikit_learn(features):
  x, _ = features
  mixture = gmm.fit(KEY, x, initial_means=x[:8])
  oracle = oracles.fit(x, x[:8])
  assert int(mixture.num_iterations) == oracle.n_iter_
  assert gmm.log_likelihood(mixture, x) == pytest.approx(
    oracle.score(np.float64(x)), abs=1e-3
  )


def _density(mixture, x):
  """Of the fitted mixture itself, in f64: mean over examples, in nats."""
  means, variances = np.float64(mixture.means), np.float64(mixture.variances)
  squares = (np.float64(x)[:, None] - means) ** 2 / variances
  joint = np.float64(mixture.log_weights) - 0.5 * (
    squares + np.log(2 * np.pi * variances)
  ).sum(-1)
  return np.logaddexp.reduce(joint, axis=1).mean()


@in_both_precisions
def test_log_likelihood_is_exact_where_components_collapse(features):
  x, _ = features
  mixture = gmm.fit(KEY, x, initial_means=x[:150])
  assert mixture.variances.min() < 1e-5 * x.var()
  assert gmm.log_likelihood(mixture, x) == pytest.approx(
    _density(mixture, x), abs=1e-3
  )


@in_both_precisions
def test_history_is_exact_where_components_collapse(features):
  x, _ = features
  before, after = (
    gmm.fit(
      KEY, x, initial_means=x[:150], max_iterations=iterations, tolerance=0
    )
    for iterations in (3, 4)
  )
  assert before.variances.min() < 1e-5 * x.var()
  assert after.log_likelihoods[-1] == pytest.approx(
    _density(before, x), abs=1e-3
  )


def _with_collapse(x):
  return np.concatenate([x[:100], np.repeat(x[:20], 25, axis=0)])


def _with_constant(x):
  x = x.copy()
  x[:, 3] = 5
  return x


CASES = {
  'plain': lambda x: x,
  'small': lambda x: x * np.float32(1e-3),
  'large': lambda x: x * np.float32(1e3),
  'constant': _with_constant,
  'duplicated': _with_collapse,
  'wide': lambda x: x[:20],
}


@in_both_precisions
@pytest.mark.parametrize('num_components', [8, 590])
@pytest.mark.parametrize('case', CASES)
def test_nleep_is_that_of_scikit_learn(features, case, num_components):
  x, y = features
  x = CASES[case](x)
  y = y[: len(x)]
  means = x[: min(num_components, len(x) - 2)]
  means = means + np.float32(1e-3) * x.std()
  mixture = gmm.fit(KEY, x, initial_means=means)
  oracle = oracles.fit(x, means)
  assert leep.leep(mixture, x, y, num_classes=6) == pytest.approx(
    oracles.leep(oracle.predict_proba(np.float64(x)), y), abs=1e-4
  )


def test_is_scikit_learn_in_double_precision(x64, features):
  x = np.float64(features[0])
  mixture = gmm.fit(KEY, x, initial_means=x[:80])
  oracle = oracles.fit(x, x[:80])
  np.testing.assert_allclose(mixture.means, oracle.means_, atol=1e-8)
  np.testing.assert_allclose(mixture.variances, oracle.covariances_, rtol=1e-6)
  np.testing.assert_allclose(
    gmm.log_likelihood(mixture, x), oracle.score(x), rtol=1e-10
  )


@in_both_precisions
def test_log_likelihood_never_falls(features):
  x, _ = features
  history = np.asarray(
    gmm.fit(KEY, x, num_components=SEEDED, tolerance=0).log_likelihoods
  )
  assert (np.diff(history) > -gmm.LIKELIHOOD_NOISE).all()


def test_an_example_without_weight_is_absent(features):
  x, y = features
  weights = np.ones(len(x), 'f4')
  weights[::7] = 0
  spoiled = x.copy()
  spoiled[::7] = 1e10
  with_all = gmm.fit(KEY, spoiled, initial_means=x[:8], example_weights=weights)
  without = gmm.fit(KEY, x[weights > 0], initial_means=x[:8])
  np.testing.assert_allclose(with_all.means, without.means, atol=1e-4)
  np.testing.assert_allclose(
    leep.leep(with_all, x, y, num_classes=6, example_weights=weights),
    leep.leep(without, x[weights > 0], y[weights > 0], num_classes=6),
    atol=1e-5,
  )


def test_a_weight_of_three_is_three_copies(features):
  x, y = features
  times = np.arange(len(x)) % 4
  copies = np.repeat(np.arange(len(x)), times)
  weighted = gmm.fit(
    KEY, x, initial_means=x[:8], example_weights=times.astype('f4')
  )
  copied = gmm.fit(KEY, x[copies], initial_means=x[:8])
  np.testing.assert_allclose(weighted.variances, copied.variances, rtol=1e-3)
  np.testing.assert_allclose(
    leep.leep(weighted, x, y, num_classes=6, example_weights=times),
    leep.leep(copied, x[copies], y[copies], num_classes=6),
    atol=1e-5,
  )


def test_blocks_do_not_change_the_score(features):
  x, y = features
  mixture = gmm.fit(KEY, x, num_components=SEEDED)
  r = np.float64(gmm.responsibilities(mixture, x))
  assert leep.leep(mixture, x, y, num_classes=6) == pytest.approx(
    oracles.leep(r, y), abs=1e-5
  )


def test_many_seeds_are_each_seed(features):
  x, y = features
  keys = jax.random.split(KEY, 3)
  many = gmm.fit_many(keys, x, num_components=SEEDED)
  assert many.means.shape == (3, SEEDED, x.shape[1])
  scores = leep.leep(many, x, y, num_classes=6)
  alone = [
    leep.leep(gmm.fit(key, x, num_components=SEEDED), x, y, num_classes=6)
    for key in keys
  ]
  np.testing.assert_allclose(scores, alone, atol=1e-4)


def test_each_seed_may_have_weights_of_its_own(features):
  x, y = features
  y = np.roll(y, 1)  # that no component tells apart
  keys = jax.random.split(KEY, 3)
  weights = np.random.default_rng(0).exponential(size=(3, len(x)))
  many = gmm.fit_many(keys, x, initial_means=x[:8], example_weights=weights)
  scores = leep.leep(many, x, y, num_classes=6, example_weights=weights)
  for i, row in enumerate(weights):
    one = gmm.fit(KEY, x, initial_means=x[:8], example_weights=row)
    np.testing.assert_allclose(many.means[i], one.means, atol=1e-4)
    score = leep.leep(one, x, y, num_classes=6, example_weights=row)
    assert float(scores[i]) == pytest.approx(float(score), abs=1e-4)
    assert score < -1


@in_both_precisions
def test_examples_that_are_placed_are_those_that_are_given(features):
  x, y = features
  x, y = 30 * x + 7, np.roll(y, 1)  # in units and from an origin of their own
  keys = jax.random.split(KEY, 2)
  placed = em.place(x, 8)
  fitted, expected = (
    gmm.fit_many(keys, z, initial_means=x[:8]) for z in (placed, x)
  )
  np.testing.assert_array_equal(fitted.means, expected.means)
  for weights in (None, np.arange(600) % 3, np.arange(1200).reshape(2, 600)):
    scores, expected_scores = (
      leep.leep(fitted, z, y, num_classes=6, example_weights=weights)
      for z in (placed, x)
    )
    np.testing.assert_allclose(scores, expected_scores, atol=1e-5)


def test_weights_for_another_number_of_seeds_are_refused(features):
  x, _ = features
  with pytest.raises(ValueError, match=r'\[2, N\].*\(3, 600\)'):
    gmm.fit_many(
      jax.random.split(KEY),
      x,
      num_components=5,
      example_weights=np.ones((3, 600)),
    )


@pytest.mark.slow
def test_one_compilation_serves_many_checkpoints(features):
  x, y = features
  x = np.tile(x, (1, 6))
  x = x + np.random.default_rng(0).normal(size=x.shape).astype('f4')
  before = gmm._fit._cache_size(), posteriors.predictions._cache_size()
  for d in (20, 31, 33, 60, 65, 90):
    mixture = gmm.fit(KEY, x[:, :d], initial_means=x[:5, :d], max_iterations=3)
    leep.leep(mixture, x[:, :d], y, num_classes=6)
  assert gmm._fit._cache_size() - before[0] <= 3
  assert posteriors.predictions._cache_size() - before[1] <= 3


# With 32 features and 600 examples nothing is padded, and thus nothing copied.
@pytest.mark.parametrize('num_features', [24, 32])
@pytest.mark.parametrize('module', [np, jnp])
def test_does_not_touch_the_array_it_is_given(features, module, num_features):
  x = module.asarray(np.resize(features[0], (600, num_features)))
  before = np.array(x)
  gmm.fit(KEY, x, num_components=SEEDED)
  np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize('style', [jax.random.key, jax.random.PRNGKey])
def test_same_key_gives_the_same_bytes(features, style):
  first, second = (
    gmm.fit(style(1), features[0], num_components=SEEDED) for _ in range(2)
  )
  assert np.asarray(first.means).tobytes() == (
    np.asarray(second.means).tobytes()
  )


def test_refuses_more_components_than_examples(features):
  with pytest.raises(ValueError, match='between 1 and 600'):
    gmm.fit(KEY, features[0], num_components=601)
