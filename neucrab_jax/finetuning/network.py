# SPDX-License-Identifier: Apache-2.0
"""What is trained: a restored network, or its features, under a new head.

    logits = f(x) · W + b,   W = 0 and b = 0 at first

Axes: B batch, H, W space, D features, C classes.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from neucrab_jax import checkpoints, models
from neucrab_jax.finetuning import protocol as protocol_lib

# Of an image's side, how far a random crop may be off its centre.
_CROP = 1 / 8

# What the key of dropout is folded with, so that it is not the augmentation's.
_DROPOUT = 1

_HEAD_PRECISION = jax.lax.Precision.HIGHEST


@dataclasses.dataclass(frozen=True)
class Network:
  """The static part of what is trained: equal ones share their programs.

  Attributes:
    module: without a head; or None if the inputs are features already.
    value_range: what the pixels 0 and 255 become.
    num_classes: C of the new head.
    augmentation: of the training images.
  """

  module: nn.Module | None
  value_range: checkpoints.ValueRange
  num_classes: int
  augmentation: str = 'none'

  def apply(
    self,
    variables: Mapping[str, Any],
    inputs: jax.Array,
    *,
    key: jax.Array | None = None,
  ) -> tuple[jax.Array, Mapping[str, Any]]:
    """Logits of a batch, and what became of BatchNorm's statistics.

    Args:
      variables: `params` of the `backbone` and of the `head`, and whatever else
        the module has.
      inputs: [B, H, W, 3], pixels from 0 to 255; or [B, D] features.
      key: of augmentation and dropout; given for training, when BatchNorm
        uses and updates the statistics of the batch.

    Returns:
      [B, C] f32 and the collections beside `params`.
    """
    params = variables['params']
    statistics = {k: v for k, v in variables.items() if k != 'params'}
    features = inputs
    if self.module is not None:
      images, rngs = inputs.astype(jnp.float32), {}
      if key is not None:
        images = augment(key, images, how=self.augmentation)
        rngs = {'dropout': jax.random.fold_in(key, _DROPOUT)}
      backbone = {'params': params['backbone'], **statistics}
      outputs, statistics = self.module.apply(
        backbone,
        checkpoints.to_value_range(images, self.value_range),
        train=key is not None,
        mutable=list(statistics),
        rngs=rngs,
      )
      features = outputs.features
    head = params['head']
    logits = jnp.dot(features, head['kernel'], precision=_HEAD_PRECISION)
    return logits + head['bias'], statistics


def augment(key: jax.Array, images: jax.Array, *, how: str) -> jax.Array:
  """Flips and crops images at random.

  Args:
    key: each image has its own draws.
    images: [B, H, W, 3].
    how: one of `protocol.AUGMENTATIONS`. A crop is an image shifted by up to an
      eighth of its sides, its edges repeated.

  Returns:
    [B, H, W, 3]
  """
  if how == 'none':
    return images
  b, height, width, _ = images.shape
  key_flip, key_rows, key_columns = jax.random.split(key, 3)
  flipped = jax.random.bernoulli(key_flip, shape=(b, 1, 1, 1))
  images = jnp.where(flipped, images[:, :, ::-1], images)
  if how == 'flip':
    return images

  def shifts(key, size):
    most = round(size * _CROP)
    return jax.random.randint(key, (b,), -most, most + 1)

  rows = jnp.arange(height) + shifts(key_rows, height)[:, None]
  columns = jnp.arange(width) + shifts(key_columns, width)[:, None]
  rows, columns = jnp.clip(rows, 0, height - 1), jnp.clip(columns, 0, width - 1)
  return jax.vmap(lambda x, r, c: x[r][:, c])(images, rows, columns)


def _make_head(num_features: int, num_classes: int) -> dict[str, np.ndarray]:
  return {
    'kernel': np.zeros((num_features, num_classes), np.float32),
    'bias': np.zeros(num_classes, np.float32),
  }


def from_features(
  num_features: int, num_classes: int
) -> tuple[Network, dict[str, Any]]:
  """A linear classifier, and its variables."""
  network = Network(None, (0.0, 1.0), num_classes)
  head = _make_head(num_features, num_classes)
  return network, {'params': {'backbone': {}, 'head': head}}


@functools.cache
def _traced(
  module: nn.Module, image_size: int
) -> tuple[int, dict[str, tuple[str, ...]]]:
  """D, and the scopes of each collection, once for all equal networks."""
  images = jax.ShapeDtypeStruct((1, image_size, image_size, 3), jnp.float32)
  outputs, variables = jax.eval_shape(
    module.init_with_output, jax.random.key(0), images
  )
  scopes = {collection: tuple(of) for collection, of in variables.items()}
  return outputs.features.shape[-1], scopes


def check_trainable(backbone: checkpoints.Backbone) -> None:
  """Refuses a network whose weights are constants.

  Raises:
    ValueError: if it is one.
  """
  if not backbone.variables['params']:
    raise ValueError(
      f'{backbone.checkpoint.name} is a function with its weights inside, '
      'which cannot be trained. Train a head on its features: '
      '--config.protocol.mode=head.'
    )


def from_backbone(
  backbone: checkpoints.Backbone,
  num_classes: int,
  protocol: protocol_lib.Protocol,
) -> tuple[Network, dict[str, Any]]:
  """A restored network without its source head, under a new head.

  Args:
    backbone: the restored network.
    num_classes: C.
    protocol: whose augmentation and decay of BatchNorm the network has.

  Returns:
    The network and its variables: those of the checkpoint, and zeros.

  Raises:
    ValueError: if the network has no parameters that could be trained.
  """
  checkpoint = backbone.checkpoint
  check_trainable(backbone)
  module = models.with_batch_norm_decay(
    backbone.module.clone(num_classes=None), protocol.batch_norm_decay
  )
  num_features, expected = _traced(module, checkpoint.image_size)
  # The source head's variables have no place in a module without one.
  kept = {
    collection: {
      scope: backbone.variables[collection][scope] for scope in scopes
    }
    for collection, scopes in expected.items()
  }
  params = {
    'backbone': kept.pop('params'),
    'head': _make_head(num_features, num_classes),
  }
  network = Network(
    module,
    checkpoint.value_range,
    num_classes,
    augmentation=protocol.augmentation,
  )
  return network, {'params': params, **kept}
