# SPDX-License-Identifier: Apache-2.0
"""What the bundled checkpoints are pre-trained for: the objectives.

Axes: B batch, H, W space.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from experiments import sources
from neucrab_jax import models

ARCHITECTURE = 'resnet_v2_mini'
VALUE_RANGE = (-1.0, 1.0)

_ROTATIONS = 4
_LATENTS = 32
# Of the exemplar softmax; the usual order of magnitude for unit vectors.
_TEMPERATURE = 0.2
# Standard deviation of a pixel given the latents, in [-1, 1].
_PIXEL_STD = 0.2


def _scale(images: jax.Array) -> jax.Array:
  low, high = VALUE_RANGE
  return low + images.astype(jnp.float32) * ((high - low) / 255)


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
  )(_scale(image))
  gain = jax.random.uniform(key_gain, (3,), minval=0.5, maxval=1.2)
  shift = jax.random.uniform(key_shift, (3,), minval=-0.3, maxval=0.3)
  return gain * moved + shift


def _augmented(key: jax.Array, images: jax.Array) -> jax.Array:
  return jax.vmap(_augment)(jax.random.split(key, len(images)), images)


def _cross_entropy(logits, labels):
  losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
  return losses.mean(), (logits.argmax(-1) == labels).mean()


class _Decoder(nn.Module):
  """Latents [B, L] to images [B, 32, 32, 3]."""

  @nn.compact
  def __call__(self, latents: jax.Array) -> jax.Array:
    x = nn.Dense(8 * 8 * 32)(latents).reshape(-1, 8, 8, 32)
    for width in (32, 16):
      # Doubled and convolved: a transposed convolution is slow on a CPU.
      x = nn.Conv(width, (3, 3))(nn.relu(x).repeat(2, axis=1).repeat(2, axis=2))
    return nn.Conv(3, (3, 3))(nn.relu(x))


class Learner(nn.Module):
  """A backbone and the heads that its objectives need.

  The head that names source classes is the backbone's own, and stays with the
  checkpoint; the others are scaffolding.

  Attributes:
    objectives: of 'classify', 'rotate', 'exemplar' and 'reconstruct'.
    augment_labelled: whether 'classify' sees its examples distorted.
  """

  objectives: tuple[str, ...]
  augment_labelled: bool = False

  def setup(self):
    objectives = self.objectives
    num_classes = None
    if 'classify' in objectives:
      num_classes = sources.NUM_CLASSES
    elif 'rotate' in objectives:
      num_classes = _ROTATIONS
    self.backbone = models.build(ARCHITECTURE, num_classes=num_classes)
    if 'rotate' in objectives and 'classify' in objectives:
      self.rotation_head = nn.Dense(_ROTATIONS)
    if 'reconstruct' in objectives:
      self.encoder_head = nn.Dense(2 * _LATENTS)
      self.decoder = _Decoder()

  def __call__(self, images, labels, key, *, train: bool):
    """Adds up the objectives.

    Args:
      images: uint8 [2, B, 32, 32, 3]: examples with labels, and any examples.
      labels: int32 [B], of the first.
      key: of augmentation and sampling.
      train: whether BatchNorm uses the batch.

    Returns:
      The loss, and the accuracy of the first objective that has one, or −1.
    """
    results = [
      getattr(self, f'_{name}')(images, labels, k, train)
      for name, k in zip(
        self.objectives,
        jax.random.split(key, max(1, len(self.objectives))),
        strict=False,
      )
    ]
    if not results:
      self.backbone(_scale(images[1]), train=train)
      return jnp.zeros(()), -jnp.ones(())
    losses, accuracies = zip(*results, strict=True)
    return sum(losses), accuracies[0]

  def _classify(self, images, labels, key, train):
    views = _scale(images[0])
    if train and self.augment_labelled:
      views = _augmented(key, images[0])
    return _cross_entropy(self.backbone(views, train=train).logits, labels)

  def _rotate(self, images, labels, key, train):
    del labels
    turns = jax.random.randint(key, (len(images[1]),), 0, _ROTATIONS)
    turned = jax.vmap(
      lambda image, k: jax.lax.switch(
        k, [functools.partial(jnp.rot90, k=i) for i in range(_ROTATIONS)], image
      )
    )(_scale(images[1]), turns)
    outputs = self.backbone(turned, train=train)
    logits = outputs.logits
    if 'classify' in self.objectives:
      logits = self.rotation_head(outputs.features)
    return _cross_entropy(logits, turns)

  def _exemplar(self, images, labels, key, train):
    """Each image is its own class: find its other view among the batch."""
    del labels
    views = jnp.concatenate(
      [_augmented(k, images[1]) for k in jax.random.split(key)]
    )
    x = self.backbone(views, train=train).features
    x = x / jnp.linalg.norm(x, axis=1, keepdims=True)
    one, other = jnp.split(x, 2)
    similarity = one @ other.T / _TEMPERATURE
    index = jnp.arange(len(one))
    loss, accuracy = _cross_entropy(similarity, index)
    loss_back, _ = _cross_entropy(similarity.T, index)
    return (loss + loss_back) / 2, accuracy

  def _reconstruct(self, images, labels, key, train):
    """Negative evidence lower bound of a VAE, nats per pixel and channel."""
    del labels
    x = _scale(images[1])
    features = self.backbone(x, train=train).features
    mean, log_std = jnp.split(self.encoder_head(features), 2, axis=1)
    noise = jax.random.normal(key, mean.shape)
    rebuilt = self.decoder(mean + jnp.exp(log_std) * noise)
    error = ((x - rebuilt) ** 2).sum((1, 2, 3)) / (2 * _PIXEL_STD**2)
    divergence = (mean**2 + jnp.exp(2 * log_std) - 1 - 2 * log_std).sum(1) / 2
    return jnp.mean(error + divergence) / x[0].size, -jnp.ones(())
