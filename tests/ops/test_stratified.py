# SPDX-License-Identifier: Apache-2.0
import hypothesis
import jax
import numpy as np
import pytest
from hypothesis import strategies

from neucrab_jax.ops import stratified


@hypothesis.settings(max_examples=60, deadline=None)
@hypothesis.given(
  sizes=strategies.lists(strategies.integers(1, 60), min_size=2, max_size=9),
  share=strategies.floats(0, 1),
  seed=strategies.integers(0, 2**32 - 1),
)
def test_a_sample_is_proportional_and_leaves_no_class_out(sizes, share, seed):
  labels = np.repeat(np.arange(len(sizes)), sizes)
  np.random.RandomState(0).shuffle(labels)
  n = len(sizes) + round(share * (len(labels) - len(sizes)))
  chosen = stratified.sample(labels, n, seed)
  counts = np.bincount(labels[chosen], minlength=len(sizes))
  quotas = n * np.array(sizes) / len(labels)
  assert chosen.dtype == np.int64
  assert len(chosen) == n
  assert np.all(np.diff(chosen) > 0)
  assert np.all(counts >= 1)
  assert np.all(counts < np.maximum(quotas + 1, 2))
  # What a class lacks of its share went to keep a smaller one alive.
  raised = np.maximum(1 - quotas, 0).sum()
  assert np.all(counts > quotas - 1 - raised)


def test_the_largest_remainders_get_what_is_left():
  labels = np.repeat([0, 1, 2], [50, 31, 19])
  counts = np.bincount(labels[stratified.sample(labels, 10)])
  np.testing.assert_array_equal(counts, [5, 3, 2])


def test_the_largest_class_pays_for_the_smallest():
  labels = np.repeat([0, 1, 2], [97, 2, 1])
  counts = np.bincount(labels[stratified.sample(labels, 4)])
  np.testing.assert_array_equal(counts, [2, 1, 1])


def test_everything_can_be_chosen():
  labels = np.array([0, 1, 1, 2])
  np.testing.assert_array_equal(stratified.sample(labels, 4), np.arange(4))


def test_the_seed_decides():
  labels = np.arange(1000) % 10
  first, again, other = (
    stratified.sample(labels, 50, seed) for seed in (1, 1, 2)
  )
  np.testing.assert_array_equal(first, again)
  assert not np.array_equal(first, other)


def test_the_choice_is_frozen():
  # RandomState(0) permutes ten as 2, 8, … and then as 3, 5, …; the even
  # examples are of class 0 and the odd ones of class 1.
  labels = np.arange(20) % 2
  np.testing.assert_array_equal(
    stratified.sample(labels, 4, seed=0), [4, 7, 11, 16]
  )


@pytest.mark.parametrize(
  ('n', 'message'), [(2, '2 examples.*3 classes'), (7, '7 examples from 6')]
)
def test_impossible_numbers(n, message):
  with pytest.raises(ValueError, match=message):
    stratified.sample(np.array([0, 1, 2, 0, 1, 2]), n)


def test_splits_hold_out_a_quarter_of_every_class():
  labels = np.repeat([0, 1, 2, 3], [40, 20, 4, 1])
  held_out = stratified.held_out(jax.random.key(0), labels, num_splits=6)
  for test in held_out:
    assert np.bincount(labels[test], minlength=4).tolist() == [10, 5, 1, 0]
  assert len(np.unique(held_out, axis=0)) == 6


@pytest.mark.parametrize('share', [0.05, 0.2, 0.5])
def test_what_is_held_out_has_every_class(share):
  labels = np.repeat(np.arange(5), [2, 3, 10, 20, 40])
  kept, held_out = stratified.hold_out(labels, share=share, seed=1)
  both = np.concatenate([kept, held_out])
  np.testing.assert_array_equal(np.sort(both), np.arange(len(labels)))
  assert set(labels[held_out]) == set(labels[kept]) == set(range(5))
  assert len(held_out) == max(round(share * len(labels)), 5)


def test_a_single_example_cannot_be_held_out():
  with pytest.raises(ValueError, match='Class 1 has a single'):
    stratified.hold_out(np.array([0, 0, 1]), share=0.2, seed=0)


@hypothesis.settings(max_examples=40, deadline=None)
@hypothesis.given(
  sizes=strategies.lists(strategies.integers(1, 60), min_size=2, max_size=9),
  seed=strategies.integers(0, 2**32 - 1),
)
def test_every_beginning_of_a_nested_order_has_all_classes_shares(sizes, seed):
  labels = np.repeat(np.arange(len(sizes)), sizes)
  np.random.RandomState(1).shuffle(labels)
  order = stratified.nested(labels, seed)
  np.testing.assert_array_equal(np.sort(order), np.arange(len(labels)))
  for n in range(len(sizes), len(labels) + 1):
    counts = np.bincount(labels[order[:n]], minlength=len(sizes))
    assert counts.min() >= 1
    # One of each comes first, which puts all others off.
    quotas = n * np.array(sizes) / len(labels)
    assert np.all(np.abs(counts - quotas) <= len(sizes) + 1)
