# SPDX-License-Identifier: Apache-2.0
"""What the bundled checkpoints are pre-trained for: telling things apart.

Each objective is a module that has the heads it needs, and is called with the
backbone: (backbone, batch, key, train) → loss, accuracy. Those that make images
are in `generative`.

Axes: B batch, H, W space.
"""

import functools
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments import sources
from neucrab_jax import checkpoints

VALUE_RANGE = (-1.0, 1.0)
NUM_ROTATIONS = 4

# Of the exemplar softmax; the usual order of magnitude for unit vectors.
_TEMPERATURE = 0.2

_CELLS = 3  # Of a side; so many squared make an image.
_CELL = 10  # Pixels.
# A patch is smaller than its cell, so that edges don't tell which two touch.
_PATCH = 8
_NUM_PERMUTATIONS = 24  # Of the 9! that there are.
# Fixed, as the classes of a task are.
_PERMUTATIONS = np.stack(
  [
    np.random.RandomState(i).permutation(_CELLS**2)
    for i in range(_NUM_PERMUTATIONS)
  ]
)
_HIDDEN = 128


class Batch(NamedTuple):
  """What a step sees.

  Attributes:
    labelled: uint8 [B, 32, 32, 3], examples whose label may be used.
    labels: int32 [B], of these.
    images: uint8 [B, 32, 32, 3], any examples.
  """

  labelled: jax.Array
  labels: jax.Array
  images: jax.Array


def scale(images: jax.Array) -> jax.Array:
  """Pixels from 0 to 255, to `VALUE_RANGE`."""
  return checkpoints.to_value_range(images, VALUE_RANGE)


def _augment(key: jax.Array, image: jax.Array) -> jax.Array:
  """Turns, zooms, shifts and recolours one image; returns it in VALUE_RANGE."""
  key_pose, key_gain, key_shift = jax.random.split(key, 3)
  pose = jax.random.uniform(key_pose, (4,), minval=-1.0)
  angle, zoom = 0.35 * pose[0], jnp.exp(0.25 * pose[1])
  centre = (sources.IMAGE_SIZE - 1) / 2
  ticks = jnp.arange(sources.IMAGE_SIZE) - centre
  y, x = jnp.meshgrid(ticks, ticks, indexing='ij')
  cosine, sine = zoom * jnp.cos(angle), zoom * jnp.sin(angle)
  grid = jnp.stack(
    [
      cosine * y - sine * x + centre + 4 * pose[2],
      sine * y + cosine * x + centre + 4 * pose[3],
    ]
  )
  moved = jax.vmap(
    lambda channel: jax.scipy.ndimage.map_coordinates(
      channel, grid, order=1, mode='nearest'
    ),
    in_axes=2,
    out_axes=2,
  )(scale(image))
  gain = jax.random.uniform(key_gain, (3,), minval=0.5, maxval=1.2)
  shift = jax.random.uniform(key_shift, (3,), minval=-0.3, maxval=0.3)
  return gain * moved + shift


def _augmented(key: jax.Array, images: jax.Array) -> jax.Array:
  return jax.vmap(_augment)(jax.random.split(key, len(images)), images)


def _cross_entropy(logits, labels):
  losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
  return losses.mean(), (logits.argmax(-1) == labels).mean()


class Classify(nn.Module):
  """Which class an image is of, by the backbone's own head.

  Attributes:
    augment: whether training sees images distorted.
  """

  augment: bool = False

  @nn.compact
  def __call__(self, backbone, batch: Batch, key, train: bool):
    images = scale(batch.labelled)
    if train and self.augment:
      images = _augmented(key, batch.labelled)
    return _cross_entropy(backbone(images, train=train).logits, batch.labels)


class Rotate(nn.Module):
  """By how many quarters an image was turned.

  Reference: Gidaris et al., ICLR 2018.

  Attributes:
    own_head: whether the head is the backbone's.
  """

  own_head: bool

  @nn.compact
  def __call__(self, backbone, batch: Batch, key, train: bool):
    turns = jax.random.randint(key, (len(batch.images),), 0, NUM_ROTATIONS)
    turned = jax.vmap(
      lambda image, k: jax.lax.switch(
        k,
        [functools.partial(jnp.rot90, k=i) for i in range(NUM_ROTATIONS)],
        image,
      )
    )(scale(batch.images), turns)
    outputs = backbone(turned, train=train)
    logits = outputs.logits
    if not self.own_head:
      logits = nn.Dense(NUM_ROTATIONS)(outputs.features)
    return _cross_entropy(logits, turns)


class Exemplar(nn.Module):
  """Each image is its own class: find its other view among the batch.

  Reference: Dosovitskiy et al., NeurIPS 2014; as a softmax over the batch,
  Chen et al., ICML 2020.
  """

  @nn.compact
  def __call__(self, backbone, batch: Batch, key, train: bool):
    views = jnp.concatenate(
      [_augmented(k, batch.images) for k in jax.random.split(key)]
    )
    x = backbone(views, train=train).features
    x = x / jnp.linalg.norm(x, axis=1, keepdims=True)
    one, other = jnp.split(x, 2)
    similarity = one @ other.T / _TEMPERATURE
    index = jnp.arange(len(one))
    loss, accuracy = _cross_entropy(similarity, index)
    loss_back, _ = _cross_entropy(similarity.T, index)
    return (loss + loss_back) / 2, accuracy


def _patches(key: jax.Array, images: jax.Array) -> jax.Array:
  """One patch of each cell, twice as large: [B, 9, 16, 16, 3]."""
  b = len(images)
  places = jax.random.randint(
    key, (b, _CELLS**2, 2), 0, _CELL - _PATCH + 1
  ) + _CELL * jnp.stack(
    jnp.meshgrid(*[jnp.arange(_CELLS)] * 2, indexing='ij'), axis=-1
  ).reshape(-1, 2)
  cut = jax.vmap(
    jax.vmap(
      lambda image, place: jax.lax.dynamic_slice(
        image, (*place, 0), (_PATCH, _PATCH, 3)
      ),
      in_axes=(None, 0),
    )
  )(scale(images), places)
  return cut.repeat(2, axis=2).repeat(2, axis=3)


class _Compare(nn.Module):
  """Patches [B, P, h, w, 3], each through the backbone, to class logits."""

  num_classes: int

  @nn.compact
  def __call__(self, backbone, patches, train: bool):
    b, p = patches.shape[:2]
    outputs = backbone(patches.reshape(b * p, *patches.shape[2:]), train=train)
    x = nn.relu(nn.Dense(_HIDDEN)(outputs.features.reshape(b, -1)))
    return nn.Dense(self.num_classes)(x)


class RelativePatchLocation(nn.Module):
  """Where a patch lies that is next to the middle one: eight answers.

  Reference: Doersch et al., ICCV 2015.
  """

  @nn.compact
  def __call__(self, backbone, batch: Batch, key, train: bool):
    key_patches, key_choice = jax.random.split(key)
    patches = _patches(key_patches, batch.images)
    middle = _CELLS**2 // 2
    index = jnp.arange(len(patches))
    where = jax.random.randint(key_choice, index.shape, 0, _CELLS**2 - 1)
    other = patches[index, where + (where >= middle)]
    pairs = jnp.stack([patches[:, middle], other], axis=1)
    logits = _Compare(_CELLS**2 - 1)(backbone, pairs, train)
    return _cross_entropy(logits, where)


class Jigsaw(nn.Module):
  """In which of some orders the nine patches of an image are.

  Reference: Noroozi and Favaro, ECCV 2016.
  """

  @nn.compact
  def __call__(self, backbone, batch: Batch, key, train: bool):
    key_patches, key_order = jax.random.split(key)
    patches = _patches(key_patches, batch.images)
    index = jnp.arange(len(patches))
    order = jax.random.randint(key_order, index.shape, 0, _NUM_PERMUTATIONS)
    shuffled = patches[index[:, None], jnp.asarray(_PERMUTATIONS)[order]]
    logits = _Compare(_NUM_PERMUTATIONS)(backbone, shuffled, train)
    return _cross_entropy(logits, order)
