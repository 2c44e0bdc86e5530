# SPDX-License-Identifier: Apache-2.0
"""The `Checkpoint` record: what is ranked, and what its network expects."""

import dataclasses
from typing import Any

import numpy as np

from neucrab_jax.typing import Array

# What 0 and 255 become: a number each, or one for each of R, G and B.
Level = float | tuple[float, float, float]
ValueRange = tuple[Level, Level]


@dataclasses.dataclass(frozen=True)
class Checkpoint:
  """A pre-trained network.

  Preprocessing belongs to the checkpoint, not to the run: an image reaches the
  network at the size, in the value range and by the resize method that it was
  trained with.

  Attributes:
    name: unique among all checkpoints.
    architecture: a name of `models.names()`; or several, with '|' between them,
      of which the variables of the checkpoint decide.
    path: of the weights, relative to a folder of checkpoints if there is one;
      or a repository of the hub, as 'hf:OWNER/NAME@COMMIT'.
    group: of the benchmark, such as 'mini_1'.
    image_size: pixels, height and width.
    value_range: what 0 and 255 become, for all colours or for each.
    resize_method: a method of `tasks.resize`.
    upstream_accuracy: on the task that it was pre-trained for, in [0, 1]; None
      where that is not known.
    averages: whether to take, of TF1's variables, the exponential moving
      averages that training kept, where there are any.
    dtype: that the network runs in, of `models.precision.DTYPES`; its features
      are f32 all the same.
  """

  name: str
  architecture: str
  path: str
  group: str = ''
  image_size: int = 224
  value_range: ValueRange = (-1.0, 1.0)
  resize_method: str = 'bilinear'
  upstream_accuracy: float | None = None
  averages: bool = False
  dtype: str = 'float32'


# What a decoded pixel can be at most.
_PIXEL_MAX = 255.0


def to_value_range(pixels: Array, value_range: ValueRange) -> Any:
  """Scales pixels for a network.

  Args:
    pixels: [B, H, W, 3], uint8 or f32, from 0 to 255.
    value_range: what 0 and 255 become.

  Returns:
    [B, H, W, 3] f32, of the kind that was given.
  """
  low, high = (np.asarray(level, np.float32) for level in value_range)
  return low + pixels.astype(np.float32) * ((high - low) / _PIXEL_MAX)
