# SPDX-License-Identifier: Apache-2.0
"""What every family does in training, on networks that are small and narrow."""

import functools
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np
import pytest

from neucrab_jax.models import (
  biggan,
  inception_resnet_v2,
  inception_v1,
  inception_v2,
  inception_v3,
  inception_v4,
  mobilenet_v1,
  mobilenet_v2,
  mobilenet_v3,
  resnet_v1,
  resnet_v2,
  vtab_resnet,
)


class Small(NamedTuple):
  """How to make a family small."""

  network: type[nn.Module]
  arguments: dict[str, Any]
  size: int  # the smallest it takes
  dropout: bool = True


SMALL = {
  'biggan': Small(
    biggan.BigGANDiscriminator,
    {'width': 8, 'multiples': (1, 2, 2)},
    size=4,
    dropout=False,
  ),
  'inception_resnet_v2': Small(
    inception_resnet_v2.InceptionResNetV2,
    {'width': 1 / 32, 'repeats': (1, 1, 1)},
    size=75,
  ),
  'inception_v1': Small(inception_v1.InceptionV1, {'width': 1 / 16}, size=193),
  'inception_v2': Small(inception_v2.InceptionV2, {'width': 1 / 16}, size=32),
  'inception_v3': Small(inception_v3.InceptionV3, {'width': 1 / 16}, size=75),
  'inception_v4': Small(inception_v4.InceptionV4, {'width': 1 / 32}, size=75),
  'mobilenet_v1': Small(mobilenet_v1.MobileNetV1, {'width': 1 / 16}, size=32),
  'mobilenet_v2': Small(mobilenet_v2.MobileNetV2, {'width': 1 / 16}, size=32),
  'mobilenet_v3': Small(
    mobilenet_v3.MobileNetV3,
    {'blocks': mobilenet_v3.SMALL[:4], 'last': 64, 'width': 1 / 4},
    size=32,
  ),
  'resnet_v1': Small(
    resnet_v1.ResNetV1,
    {'units': (1, 1), 'width': 8},
    size=32,
    dropout=False,
  ),
  'resnet_v2': Small(
    resnet_v2.ResNetV2,
    {'units': (1, 1), 'width': 8},
    size=32,
    dropout=False,
  ),
  'vtab_resnet': Small(
    vtab_resnet.VTABResNet,
    {'scoped': True, 'units': (1, 1), 'width': 8},
    size=32,
    dropout=False,
  ),
}

families = pytest.mark.parametrize('family', SMALL)
TOO_SMALL = [family for family, small in SMALL.items() if small.size != 32]


def num_images(size):
  """Of small ones enough for a dropout of 0.001 to be seen."""
  return 64 if size <= 32 else 8


def images(size, *, n=None):
  rng = np.random.default_rng(0)
  n = n or num_images(size)
  return rng.uniform(-1, 1, (n, size, size, 3)).astype('f4')


@functools.cache
def build(family):
  """A small network with a head of five classes, its variables, its program."""
  network, arguments, size, _ = SMALL[family]
  module = network(num_classes=5, **arguments)
  shapes = jax.eval_shape(module.init, jax.random.key(0), images(size))
  rng = np.random.default_rng(1)

  def draw(leaf):
    # Positive, for the variances are among them; a kernel by its fan-in.
    values = rng.uniform(0.1, 1, leaf.shape) / max(1, np.prod(leaf.shape[:-1]))
    return values.astype('f4')

  variables = jax.tree.map(draw, shapes)
  apply = jax.jit(module.apply, static_argnames=('train', 'mutable'))
  return module, variables, apply


@families
def test_training_moves_the_statistics(family):
  _, variables, apply = build(family)
  outputs, updated = apply(
    variables,
    images(SMALL[family].size),
    train=True,
    mutable=('batch_stats',),
    rngs={'dropout': jax.random.key(0)},
  )
  assert np.isfinite(outputs.features).all()
  assert outputs.logits.shape == (num_images(SMALL[family].size), 5)
  same = jax.tree.map(
    np.array_equal, updated['batch_stats'], variables['batch_stats']
  )
  # Every layer's, not just some.
  assert set(jax.tree.leaves(same)) == {False}


@families
def test_inference_leaves_the_statistics_alone(family):
  module, variables, _ = build(family)

  def updated(statistics):
    _, after = module.apply(
      {**variables, 'batch_stats': statistics},
      images(SMALL[family].size, n=2),
      mutable=('batch_stats',),
    )
    return after['batch_stats']

  # What comes out is what went in, whatever it is.
  program = jax.make_jaxpr(updated)(variables['batch_stats']).jaxpr
  assert program.outvars == program.invars


@families
def test_dropout_is_for_the_head_in_training_only(family):
  _, variables, apply = build(family)

  def run(seed):
    outputs, _ = apply(
      variables,
      images(SMALL[family].size),
      train=True,
      mutable=('batch_stats',),
      rngs={'dropout': jax.random.key(seed)},
    )
    return outputs

  one, other = run(0), run(1)
  np.testing.assert_array_equal(one.features, other.features)
  dropped = not np.array_equal(one.logits, other.logits)
  assert dropped == SMALL[family].dropout


@pytest.mark.parametrize('family', TOO_SMALL)
def test_an_image_too_small_is_told_the_smallest(family):
  _, variables, apply = build(family)
  size = SMALL[family].size
  with pytest.raises(ValueError, match=f'{size - 1}×{size - 1}.*{size}×{size}'):
    apply(variables, images(size - 1, n=2))
