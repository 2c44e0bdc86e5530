# SPDX-License-Identifier: Apache-2.0
"""What holds for any finite input. Shapes come from a few, to compile less."""

import hypothesis
import hypothesis.strategies as st
import jax
import numpy as np
import oracles
import pytest
from hypothesis.extra import numpy as hnp

from neucrab_jax.ops import gmm, kmeans, knn, leep, linear, pca

KEY = jax.random.key(0)

# The last two are padded to the same block, and halved to the same K.
SHAPES = [(2, 1), (6, 3), (7, 20)]

# Every finite f32 there is: the largest, denormals, zeros and repetitions.
ANY_FLOAT = st.floats(width=32, allow_nan=False, allow_infinity=False)
FEW_FLOATS = st.sampled_from([0.0, 1.0, -1.0, 1e-3, 1e3, 1e30, 3e38, 1e-38])


def any_features():
  return st.sampled_from(SHAPES).flatmap(
    lambda shape: (
      hnp.arrays(np.float32, shape, elements=ANY_FLOAT)
      | hnp.arrays(np.float32, shape, elements=FEW_FLOATS)
    )
  )


def _is_finite(tree):
  return all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(tree))


def examples(count):
  return hypothesis.settings(
    max_examples=count, deadline=None, derandomize=True
  )


def _projected(x):
  return pca.transform(pca.fit(x), x)


def _clustered(x):
  return kmeans.fit(KEY, x, num_clusters=max(1, len(x) // 2)).assignments


def _mixed(x):
  mixture = gmm.fit(KEY, x, num_components=max(1, len(x) // 2))
  y = np.arange(len(x)) % 2
  return (
    gmm.responsibilities(mixture, x),
    leep.leep(mixture, x, y, num_classes=2),
  )


def _from_examples(x):
  return gmm.responsibilities(gmm.fit(KEY, x, initial_means=x[:2]), x)


def _voted(x):
  return knn.leave_one_out(x, np.arange(len(x)) % 2)


def _separated(x):
  y = np.arange(len(x)) % 2
  return linear.fit(x, y, num_classes=2, max_iterations=5).kernel


@pytest.mark.parametrize(
  'kernel',
  [_projected, _clustered, _mixed, _from_examples, _voted, _separated],
)
@pytest.mark.usefixtures('arithmetic')
def test_no_nan_for_any_finite_input(kernel):
  @examples(20)
  @hypothesis.given(any_features())
  def check(x):
    assert _is_finite(kernel(x))

  check()


@examples(60)
@hypothesis.given(
  seed=st.integers(0, 150),
  scale=st.sampled_from([1e-3, 1.0, 1e3]),
  num_components=st.sampled_from([3, 30, 58]),
  copies=st.sampled_from([1, 3]),
  constant=st.booleans(),
)
def test_nleep_is_that_of_scikit_learn(
  seed, scale, num_components, copies, constant
):
  rng = np.random.default_rng(seed)
  distinct = rng.normal(size=(60 // copies, 8)) * rng.gamma(1, size=8)
  if constant:
    distinct[:, 0] = 3
  x = np.tile(distinct * scale, (copies, 1)).astype('f4')
  y = rng.integers(4, size=len(x))
  y[:4] = range(4)
  # Centred, as PCA leaves them: scikit-learn sends components to the origin.
  x -= x.mean(axis=0)
  # Means that no two examples are equally far from.
  means = (x[:num_components] + scale * 1e-2 * rng.normal(size=8)).astype('f4')
  mixture = gmm.fit(KEY, x, initial_means=means)
  posteriors = oracles.fit(x, means).predict_proba(np.float64(x))
  assert leep.leep(mixture, x, y, num_classes=4) == pytest.approx(
    oracles.leep(posteriors, y), abs=1e-4
  )


@examples(10)
@hypothesis.given(seed=st.integers(0, 1000))
def test_log_likelihood_never_falls(seed):
  rng = np.random.default_rng(seed)
  x = rng.normal(size=(100, 8)).astype('f4')
  history = gmm.fit(
    jax.random.key(seed), x, num_components=25, tolerance=0
  ).log_likelihoods
  assert (np.diff(history) > -gmm.LIKELIHOOD_NOISE).all()


@examples(10)
@hypothesis.given(seed=st.integers(0, 1000), k=st.sampled_from([2, 9]))
def test_score_is_never_positive(seed, k):
  rng = np.random.default_rng(seed)
  x = rng.normal(size=(50, 4)).astype('f4')
  y = rng.integers(2, size=50)
  mixture = gmm.fit(jax.random.key(seed), x, num_components=k)
  assert leep.leep(mixture, x, y, num_classes=2) <= 0
