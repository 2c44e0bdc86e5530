# SPDX-License-Identifier: Apache-2.0
"""The one thing that every reader gives: a restored network to be called."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from neucrab_jax import environment, models
from neucrab_jax.checkpoints import spec
from neucrab_jax.typing import Array

# Of one image alone and of two together, relative to the largest feature.
_TOLERANCE = 1e-4


# Of a number whose network has none of its variables.
_BYTES = 4


@functools.partial(jax.jit, static_argnums=(0, 3))
def _apply(
  module: nn.Module, variables: Any, images: Array, dtype: str
) -> models.Outputs:
  return models.infer(module, variables, images, dtype)


@dataclasses.dataclass(frozen=True)
class Backbone:
  """A restored network.

  Attributes:
    checkpoint: where it came from and what it expects.
    module: the Flax module.
    variables: its parameters and statistics, f32; of a quantised network its
      integers, too.
    fingerprint: SHA-256 of the weights.
    skipped: names of what else the checkpoint holds: slots of the optimiser,
      auxiliary heads and the like.
    parameters_inside: how many numbers were learnt that are no variables, but
      written into the module.
    source: where it was downloaded from; None of a file or a folder.
    flops_inside: of one image, where a file says it.
  """

  checkpoint: spec.Checkpoint
  module: nn.Module
  variables: Mapping[str, Any] = dataclasses.field(repr=False)
  fingerprint: str
  skipped: tuple[str, ...] = ()
  parameters_inside: int = 0
  source: environment.Source | None = None
  flops_inside: float | None = None

  def __call__(self, images: Array) -> models.Outputs:
    """Features and logits of a batch.

    Args:
      images: [B, H, W, 3] f32, already in the network's value range.

    Returns:
      features [B, D] and logits [B, Z], or None without a head.
    """
    return _apply(self.module, self.variables, images, self.checkpoint.dtype)

  @property
  def num_parameters(self) -> int:
    """How many numbers were learnt, be they quantised since."""
    learnt = jax.tree.leaves(self.variables['params'])
    beside = jax.tree.leaves(self.variables.get('batch_stats', {}))
    quantised = [
      leaf
      for leaf in beside
      # Zero points are vectors.
      if leaf.dtype in (np.int8, np.uint8) and leaf.ndim > 1
    ]
    among = sum(leaf.size for leaf in (*learnt, *quantised))
    return among + self.parameters_inside

  @property
  def num_bytes(self) -> int:
    """Of its weights, in memory."""
    within = sum(leaf.nbytes for leaf in jax.tree.leaves(self.variables))
    return within + _BYTES * self.parameters_inside

  @functools.cached_property
  def flops(self) -> float | None:
    """Of one image, by XLA's count; None if it cannot be known."""
    if self.flops_inside is not None:
      return self.flops_inside
    return models.forward_flops(
      self.module, self.variables, image_size=self.checkpoint.image_size
    )

  def describe(self, flops: float | None = None) -> environment.Network:
    """What a record has of it.

    Args:
      flops: if they were counted before, which takes as long as tracing it.
    """
    return environment.Network(
      weights=self.fingerprint,
      num_parameters=self.num_parameters,
      num_bytes=self.num_bytes,
      flops=self.flops if flops is None else flops,
      dtype=self.checkpoint.dtype,
    )


def _probes(checkpoint: spec.Checkpoint) -> np.ndarray:
  """Two images that no network should confuse: noise, and a gradient."""
  size = checkpoint.image_size
  noise = np.random.default_rng(0).integers(0, 256, (size, size, 3))
  ramp = np.linspace(0, 255, size)
  gradient = np.stack([ramp, 255 - ramp, ramp / 2], -1)
  gradient = np.broadcast_to(gradient, (size, size, 3))
  pixels = np.stack([noise, gradient]).astype(np.float32)
  return np.asarray(spec.to_value_range(pixels, checkpoint.value_range))


def check(backbone: Backbone, *, alone: bool = True) -> None:
  """Runs two images through a network whose file nobody here has written.

  Args:
    backbone: the network.
    alone: whether each image is also tried among its like; not needed where the
      network is code of ours.

  Raises:
    ValueError: if a feature is not finite, both images get the same ones, or
      they get others among each other than among their like.
  """
  # As the file has it: what another precision rounds is no fault of it.
  exact = dataclasses.replace(backbone.checkpoint, dtype='float32')
  backbone = dataclasses.replace(backbone, checkpoint=exact)
  one, other = _probes(backbone.checkpoint)
  # Alone is among its like: so there is one program to compile, not two.
  together = np.asarray(backbone(np.stack([one, other, one])).features)
  by_itself, its_others = together, together[1:]
  if alone:
    by_itself, its_others = (
      np.asarray(backbone(np.stack([image] * 3)).features)
      for image in (one, other)
    )
  name = backbone.checkpoint.name
  if not np.isfinite(together).all() or not (
    np.isfinite(by_itself).all() and np.isfinite(its_others).all()
  ):
    raise ValueError(
      f'{name} makes NaN or Inf of an image. Are its weights and its '
      'preprocessing right?'
    )
  expected = np.stack([by_itself[0], its_others[0], by_itself[0]])
  if len(by_itself) != 3 or (
    np.abs(expected - together).max() > _TOLERANCE * np.abs(expected).max()
  ):
    raise ValueError(
      f'{name} gives two images other features together than one by one.'
    )
  if np.array_equal(by_itself[0], its_others[0]):
    raise ValueError(
      f'{name} gives two different images the same {by_itself.shape[1]} '
      'features: they say nothing.'
    )
