# SPDX-License-Identifier: Apache-2.0
import threading
import weakref

import jax
import numpy as np
import problems
import pytest
from scipy import stats
from sklearn import cluster, decomposition, mixture

from neucrab_jax import measures
from neucrab_jax.measures import nleep
from neucrab_jax.ops import gmm, pca


def own_class_oracle(probs, labels):
  """Each example's probability of its own class, in f64."""
  probs = np.asarray(probs, np.float64)
  joint = np.stack(
    [probs[labels == y].sum(axis=0) for y in range(labels.max() + 1)]
  )
  mass = probs.sum(axis=0)
  conditional = np.divide(joint, mass, out=np.zeros_like(joint), where=mass > 0)
  return (probs * conditional[labels]).sum(axis=1)


def leep_oracle(probs, labels):
  """LEEP by its formula, in f64."""
  return np.log(own_class_oracle(probs, labels)).mean()


def nleep_oracle(x, labels, *, seed):
  """The paper's NLEEP by scikit-learn, in f64."""
  x = np.asarray(x, np.float64)
  z = decomposition.PCA(0.8, svd_solver='full').fit_transform(x)
  fitted = mixture.GaussianMixture(
    5 * (labels.max() + 1),
    covariance_type='diag',
    random_state=seed,
    # Ours is a share of the data's variance.
    reg_covar=1e-6 * z.var(axis=0).mean(),
  ).fit(z)
  return leep_oracle(fitted.predict_proba(z), labels)


@pytest.mark.parametrize('kind', problems.KINDS)
def test_agrees_with_scikit_learn_within_the_spread_over_seeds(kind):
  x, labels = problems.make(kind)
  ours = measures.evaluate('nleep', features=x, labels=labels, num_resamples=0)
  theirs = [nleep_oracle(x, labels, seed=seed) for seed in range(8)]
  spread = max(ours.std, np.std(theirs, ddof=1))
  rounding = 1e-6  # Of f32, where the score is saturated and has no spread.
  assert abs(ours.score - np.mean(theirs)) <= spread + rounding


@pytest.mark.parametrize('kind', problems.KINDS)
def test_agrees_with_scikit_learn_from_the_same_means(kind):
  x, labels = problems.make(kind)
  projected = decomposition.PCA(0.8, svd_solver='full').fit_transform(
    np.asarray(x, np.float64)
  )
  k = 25
  clusters = cluster.KMeans(k, random_state=0, n_init=1).fit(projected)
  theirs = mixture.GaussianMixture(
    k,
    covariance_type='diag',
    means_init=clusters.cluster_centers_,
    random_state=0,
    reg_covar=1e-6 * projected.var(axis=0).mean(),
  ).fit(projected)
  expected = leep_oracle(theirs.predict_proba(projected), labels)

  projection = pca.fit(x, energy=0.8)
  z = np.asarray(pca.transform(projection, x))
  assert z.shape == projected.shape
  # The sign of a principal component is anyone's choice.
  signs = np.sign((z * projected).sum(axis=0))
  fitted = gmm.fit(
    jax.random.key(0), z, initial_means=signs * clusters.cluster_centers_
  )
  found = measures.score(
    'leep',
    source_probs=np.asarray(gmm.responsibilities(fitted, z)),
    labels=labels,
  )
  assert found == pytest.approx(expected, abs=1e-4)


def test_same_seed_gives_the_same_score_and_another_seed_another():
  x, labels = problems.make('plain')

  def score(seed):
    return measures.score('nleep', features=x, labels=labels, seed=seed)

  assert score(0) == score(0)
  assert score(0) != score(1)


def test_very_many_posteriors_get_two_mixtures(monkeypatch):
  x, labels = problems.make('plain')

  def score(**options):
    return measures.score('nleep', features=x, labels=labels, **options)

  assert score() == score(num_seeds=3) != score(num_seeds=2)
  monkeypatch.setattr(nleep, '_MANY_POSTERIORS', len(labels) * 25 - 1)
  assert score() == score(num_seeds=2)


def test_projected_features_are_in_memory_once(monkeypatch):
  x, labels = problems.make('plain')
  transform, fit_many = pca.transform, gmm.fit_many
  projected, were_there = [], []

  def watch(*arguments):
    z = transform(*arguments)
    projected.append(weakref.ref(z))
    return z

  def look(*arguments, **options):
    were_there.append(projected[0]() is not None)
    return fit_many(*arguments, **options)

  monkeypatch.setattr(pca, 'transform', watch)
  monkeypatch.setattr(gmm, 'fit_many', look)
  measures.score('nleep', features=x, labels=labels)
  assert were_there == [False]


@pytest.mark.parametrize('scale', [1e-3, 1e3])
def test_scale_does_not_matter(scale):
  x, labels = problems.make('plain')
  expected = measures.score('nleep', features=x, labels=labels)
  found = measures.score('nleep', features=scale * x, labels=labels)
  assert found == pytest.approx(expected, abs=1e-3)


def test_names_of_classes_do_not_matter():
  x, labels = problems.make('plain')
  renamed = np.array([3, 0, 4, 1, 2])[labels]
  expected = measures.score('nleep', features=x, labels=labels)
  found = measures.score('nleep', features=x, labels=renamed)
  assert found == pytest.approx(expected, abs=1e-6)


@pytest.mark.filterwarnings('ignore:NLEEP is saturated')
def test_better_features_score_higher():
  noise, labels = problems.make('plain')
  noise = np.random.default_rng(1).permutation(noise)
  plain, _ = problems.make('plain')
  separable, _ = problems.make('separable')
  random, good, perfect = (
    measures.score('nleep', features=x, labels=labels)
    for x in (noise, plain, separable)
  )
  assert random < good < perfect <= 0


def test_too_few_examples_reduce_the_components_with_a_warning():
  x, labels = problems.make('plain', num_examples=20)
  found = measures.evaluate('nleep', features=x, labels=labels, num_resamples=0)
  assert any('25 components for 20 examples' in w for w in found.warnings)
  assert found.score <= 0


def test_saturation_is_told():
  x, labels = problems.make('separable')
  found = measures.evaluate('nleep', features=x, labels=labels, num_resamples=0)
  assert any('saturated' in warning for warning in found.warnings)


def test_em_that_does_not_converge_is_told():
  x, labels = problems.make('plain')
  found = measures.evaluate(
    'nleep', features=x, labels=labels, num_resamples=0, max_iterations=1
  )
  assert any('without converging' in warning for warning in found.warnings)


@pytest.mark.filterwarnings('ignore:24 of 24', 'ignore:299 of 300')
def test_constant_features_give_the_entropy_of_the_labels():
  # Of the shapes of `problems`, whose programs are compiled.
  counts = np.array([10, 20, 30, 60, 180])
  found = measures.score(
    'nleep',
    features=np.ones((300, 24), np.float32),
    labels=np.repeat(np.arange(5), counts),
  )
  assert found == pytest.approx(-stats.entropy(counts))


# What is known of each public implementation: its covariance, how many
# components it takes for N examples and C classes, and what it makes of an
# example's probability p of its own class.
PUBLIC = {
  'paper': ('diag', lambda n, c: 5 * c, lambda p, c: np.log(p).mean()),
  'stable_transfer': (
    'full',
    lambda n, c: 5 * c,
    lambda p, c: np.log(np.where(p == 0, 1 / c, p)).mean(),
  ),
  'pactran': (
    'full',
    lambda n, c: int(max(min(c, 0.2 * n), 0.1 * n)),
    lambda p, c: np.log(p + 1e-10).mean(),
  ),
  'sfda': ('full', lambda n, c: 5 * c, lambda p, c: p.mean()),
}


@pytest.mark.parametrize('variant', PUBLIC)
def test_variants_are_the_public_code_from_the_same_start(variant, monkeypatch):
  covariance, components, summarise = PUBLIC[variant]
  # So many that all variants have as many components, and one program.
  x, labels = problems.make('plain', num_examples=200, num_classes=4)
  k = components(200, 4)
  z = decomposition.PCA(0.8, svd_solver='full').fit_transform(
    np.asarray(x, np.float64)
  )
  centres = cluster.KMeans(k, random_state=0, n_init=1).fit(z).cluster_centers_
  theirs = mixture.GaussianMixture(
    k,
    covariance_type=covariance,
    means_init=centres,
    random_state=0,
    reg_covar=1e-6 * z.var(axis=0).mean(),
  ).fit(z)
  expected = summarise(
    own_class_oracle(theirs.predict_proba(z), labels), labels.max() + 1
  )

  fit_many = gmm.fit_many

  def from_the_same_start(keys, ours, *, num_components, **options):
    assert num_components == k
    # The sign of a principal component is anyone's choice.
    whole = np.reshape(ours.x, (-1, ours.x.shape[-1]))
    signs = np.sign((whole[: len(z), : z.shape[1]] * z).sum(axis=0))
    return fit_many(keys, ours, initial_means=signs * centres, **options)

  monkeypatch.setattr(gmm, 'fit_many', from_the_same_start)
  found = measures.score('nleep', features=x, labels=labels, variant=variant)
  assert found == pytest.approx(expected, abs=1e-4)


def test_full_matrices_are_factorised_in_two_threads_at_once():
  """Where jaxlib's threads wait for one another, this would never end."""
  x, labels = problems.make('plain', num_examples=60, num_classes=3)
  found = []

  def score():
    for _ in range(3):
      found.append(
        measures.score('nleep', features=x, labels=labels, variant='sfda')
      )

  threads = [threading.Thread(target=score, daemon=True) for _ in range(2)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join(timeout=300)
  assert len(found) == 6
  assert len(set(found)) == 1
