# SPDX-License-Identifier: Apache-2.0
"""A function that `jax.export` wrote, as a module like any other architecture.

Axes: B batch, H, W space, D features, Z source classes.
"""

import dataclasses

import flax.linen as nn
from jax import export
from jaxtyping import Float

from neucrab_jax.models import colours
from neucrab_jax.models.outputs import Outputs
from neucrab_jax.typing import Array


@dataclasses.dataclass(frozen=True, eq=False)
class Program:
  """A function of images, its weights inside.

  Attributes:
    function: from images [B, H, W, 3] to features [B, D], or these and logits
      [B, Z], as a tuple.
    key: SHA-256 of it; programs of the same key are equal, and share what is
      compiled.
  """

  function: export.Exported
  key: str

  def __eq__(self, other: object) -> bool:
    return isinstance(other, Program) and self.key == other.key

  def __hash__(self) -> int:
    return hash(self.key)

  def __repr__(self) -> str:
    return f'Program({self.key[:8]})'


class Network(nn.Module):
  """A network that is an exported function; it has no variables.

  Attributes:
    program: the function.
    reversed_channels: whether it takes images as blue, green, red.
    num_classes: Z, or None for features alone.
  """

  program: Program
  reversed_channels: bool = False
  num_classes: int | None = None

  @nn.compact
  def __call__(
    self, images: Float[Array, 'B H W 3'], *, train: bool = False
  ) -> Outputs:
    """Features [B, D] and logits [B, Z] of images in its value range."""
    del train
    images = colours.as_taken(images, reversed_channels=self.reversed_channels)
    features, *logits = self.program.function.call(images)
    has_logits = logits and self.num_classes is not None
    return Outputs(features, logits[0] if has_logits else None)
