# SPDX-License-Identifier: Apache-2.0
"""Inception-v1 against what TF-slim's own graph gives."""

import functools

import jax
import numpy as np
import parity
import pytest

from neucrab_jax.models import inception_v1

SMALLEST = 193
SIZE = SMALLEST


def images(size=SIZE):
  return (
    np.random.default_rng(0).uniform(-1, 1, (2, size, size, 3)).astype('f4')
  )


@functools.cache
def build(num_classes=None):
  """A narrow network, its variables, and what applies it."""
  module = inception_v1.InceptionV1(num_classes=num_classes, width=1 / 16)
  shapes = jax.eval_shape(module.init, jax.random.key(0), images())
  rng = np.random.default_rng(1)

  def draw(leaf):
    # Positive, for the variances are among them; a kernel by its fan-in.
    values = rng.uniform(0.1, 1, leaf.shape) / np.prod(leaf.shape[:-1])
    return values.astype('f4')

  variables = jax.tree.map(draw, shapes)
  apply = jax.jit(module.apply, static_argnames=('train', 'mutable'))
  return apply, variables


@pytest.mark.parametrize('size', [224, 256, 257])
@pytest.mark.parametrize('architecture', ['inception_v1'])
def test_computes_what_the_original_does(architecture, size):
  parity.check(architecture, size)


def test_training_moves_the_statistics_and_inference_does_not():
  apply, variables = build()
  for train in (False, True):
    _, updated = apply(
      variables, images(), train=train, mutable=('batch_stats',)
    )
    same = jax.tree.map(
      np.array_equal, updated['batch_stats'], variables['batch_stats']
    )
    # Every layer's statistics, not just some.
    assert set(jax.tree.leaves(same)) == {not train}


def test_dropout_is_for_the_head_in_training_only():
  apply, variables = build(num_classes=5)

  def run(seed):
    outputs, _ = apply(
      variables,
      images(),
      train=True,
      mutable=('batch_stats',),
      rngs={'dropout': jax.random.key(seed)},
    )
    return outputs

  one, other = run(0), run(1)
  np.testing.assert_array_equal(one.features, other.features)
  assert not np.array_equal(one.logits, other.logits)
  assert apply(variables, images()).logits.shape == (2, 5)


def test_an_image_too_small_is_told_the_smallest():
  apply, variables = build()
  assert np.isfinite(apply(variables, images()).features).all()
  small = SMALLEST - 1
  with pytest.raises(ValueError, match=f'{small}×{small}.*{SMALLEST}'):
    apply(variables, images(small))
