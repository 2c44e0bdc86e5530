# SPDX-License-Identifier: Apache-2.0
"""What every model returns."""

from typing import NamedTuple

from neucrab_jax.typing import Array


class Outputs(NamedTuple):
  """A network's answer to a batch of images.

  Attributes:
    features: [B, D], the penultimate representation.
    logits: [B, Z] of the source task's head, or None without one.
  """

  features: Array
  logits: Array | None
