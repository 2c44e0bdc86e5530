# SPDX-License-Identifier: Apache-2.0
"""Sums over a spectrum, against the sums themselves."""

import itertools

import numpy as np
import pytest

from neucrab_jax.ops import condensed

_SUMMED = (
  lambda s, t: s / (s + t),
  lambda s, t: t / (s + t),
  lambda s, t: s * t / (s + t) ** 2,
  lambda s, t: np.log(s + t),
)


@pytest.mark.parametrize('span', [0.0, 0.1, 5.0, 20.0, 40.0])
@pytest.mark.parametrize('size', [1, 64, 1500])
def test_sums_are_those_of_all_values(span, size):
  rng = np.random.default_rng(0)
  values = np.exp(rng.uniform(-span / 2, span / 2, size))
  nodes, shares = condensed.condense(values)
  assert len(nodes) <= size
  weights = rng.standard_normal(size)
  for t, f in itertools.product(np.logspace(-9, 9, 19), _SUMMED):
    limit = 1e-9 * np.abs(weights).sum() * np.abs(f(values, t)).max()
    found = weights @ shares @ f(nodes, t)
    assert abs(found - weights @ f(values, t)) <= limit


def test_many_values_have_few_nodes():
  values = np.logspace(-4, 4, 2000)
  nodes, shares = condensed.condense(values)
  assert shares.shape == (2000, len(nodes))
  assert len(nodes) < 100


def test_no_values_have_none():
  nodes, shares = condensed.condense(np.zeros(0))
  assert nodes.shape == (0,)
  assert shares.shape == (0, 0)
