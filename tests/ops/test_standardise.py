# SPDX-License-Identifier: Apache-2.0
import jax
import numpy as np
import pytest

from neucrab_jax.ops import blocks, standardise


def make(*, offset=0.0, unit=1.0):
  rng = np.random.default_rng(0)
  x = (rng.standard_normal((700, 5)) * [1, 2, 3, 4, 5] + offset) * unit
  weights = rng.integers(0, 3, 700).astype(np.float32)
  return x.astype(np.float32), weights


def back(standard, affine, num_examples):
  whole = standard.reshape(-1, standard.shape[-1])[:num_examples]
  return whole * np.float64(affine.scale) + np.float64(affine.centre)


@pytest.mark.parametrize('offset', [0.0, 1e4])
@pytest.mark.parametrize('unit', [1e-30, 1.0, 1e30])
def test_weighted_mean_is_zero_and_mean_variance_one(offset, unit):
  x, weights = make(offset=offset, unit=unit)
  placed = standardise.place(x, weights, 8, None)
  standard = placed.x
  shares = placed.weights.astype(np.float64)[..., None] / weights.sum()
  mean = np.sum(shares * standard, axis=(0, 1))
  variance = np.sum(shares * np.float64(standard) ** 2) / 5
  np.testing.assert_allclose(mean, 0, atol=1e-6)
  assert variance == pytest.approx(1, rel=1e-6)
  there = weights > 0
  np.testing.assert_allclose(
    back(standard, placed.affine, len(x))[there, :5],
    x[there],
    rtol=1e-5,
    atol=1e-5 * unit,
  )
  # Neither who has no weight nor padding is anywhere.
  assert not standard[placed.weights == 0].any()
  assert not standard[..., 5:].any()


def test_in_a_program_it_is_the_same():
  x, weights = make(offset=3.0)
  whole = standardise.place(x, weights, 8, None)
  traced = jax.jit(lambda x, w: standardise.place(x, w, 8, None))(x, weights)
  for found, expected in zip(
    jax.tree.leaves(traced), jax.tree.leaves(whole), strict=True
  ):
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('value', [0.0, 7.0, 1e-38, 3e38])
def test_what_does_not_vary_is_zero(value):
  x = np.full((20, 3), value, np.float32)
  placed = standardise.place(x, None, 8, None)
  assert np.abs(placed.x).max() < 1e-6
  assert placed.affine.scale > 0
  assert np.isfinite(placed.affine.scale)


def test_what_is_given_is_left_alone():
  x = np.random.default_rng(0).normal(size=(256, 128)).astype(np.float32)
  before = x.copy()
  standardise.place(x, None, 8, None)
  np.testing.assert_array_equal(x, before)


def test_what_is_padded_lies_where_a_cpu_takes_it_as_it_is():
  x = blocks.pad(np.ones((100, 3), np.float32), (128, 128))
  assert x.ctypes.data % blocks.ALIGNMENT == 0
  assert x.flags.c_contiguous
