# SPDX-License-Identifier: Apache-2.0
"""Images in the colours that a network takes.

Axes: B batch, H, W space, C channels.
"""

import jax.numpy as jnp
from jaxtyping import Float

from neucrab_jax.typing import Array

# Channels of images, by how many a network may take.
KNOWN = (3, 1)

# Of red, green and blue in grey, by ITU-R 601, as Pillow's mode 'L' has it.
_LUMA = (0.299, 0.587, 0.114)


def as_taken(
  images: Float[Array, 'B H W 3'],
  *,
  count: int | None = 3,
  reversed_channels: bool = False,
) -> Float[Array, 'B H W C']:
  """Images in as many channels as a network takes.

  Args:
    images: [B, H, W, 3], red first, in its value range.
    count: C, 3 or 1; None for as many as there are.
    reversed_channels: whether it takes blue first.
  """
  if count == 1:
    luma = jnp.asarray(_LUMA, jnp.float32)
    return jnp.sum(jnp.asarray(images) * luma, axis=-1, keepdims=True)
  return jnp.asarray(images)[..., ::-1] if reversed_channels else images
