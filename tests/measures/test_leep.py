# SPDX-License-Identifier: Apache-2.0
import numpy as np
import problems
import pytest

from neucrab_jax import measures


def per_example_oracle(probs, labels):
  """log Σ_z P(y_i | z) θ_iz, one example at a time, in f64."""
  probs = np.asarray(probs, np.float64)
  logs = []
  for row, label in zip(probs, labels, strict=True):
    p = 0.0
    for z, theta in enumerate(row):
      if probs[:, z].sum() > 0:
        p += theta * probs[labels == label, z].sum() / probs[:, z].sum()
    logs.append(np.log(p))
  return np.array(logs)


@pytest.mark.parametrize('empty_source_class', [False, True])
def test_is_its_formula(empty_source_class):
  _, labels = problems.make('plain', num_examples=60)
  probs = problems.make_source_probs(labels)
  if empty_source_class:
    probs[:, 3] = 0
    probs /= probs.sum(axis=1, keepdims=True)
  logs = per_example_oracle(probs, labels)
  found = measures.evaluate('leep', source_probs=probs, labels=labels)
  assert found.score == pytest.approx(logs.mean(), rel=1e-5)
  assert found.std == found.stderr > 0


def test_a_head_that_knows_the_labels_scores_zero():
  labels = np.arange(40) % 4
  found = measures.score('leep', source_probs=np.eye(4)[labels], labels=labels)
  assert found == pytest.approx(0, abs=1e-6)


def test_a_head_that_knows_nothing_scores_the_entropy_of_the_labels():
  labels = np.arange(40) % 4
  probs = np.full((40, 7), 1 / 7)
  found = measures.score('leep', source_probs=probs, labels=labels)
  assert found == pytest.approx(-np.log(4), abs=1e-6)


def test_rows_are_normalised_with_a_warning():
  _, labels = problems.make('plain')
  probs = problems.make_source_probs(labels)
  plain = measures.evaluate('leep', source_probs=probs, labels=labels)
  halved = measures.evaluate('leep', source_probs=probs / 2, labels=labels)
  assert halved.score == pytest.approx(plain.score)
  assert not plain.warnings
  assert any('normalised' in warning for warning in halved.warnings)
