# SPDX-License-Identifier: Apache-2.0
"""What every model returns."""

from typing import NamedTuple

import jax


class Outputs(NamedTuple):
  """A network's answer to a batch of images.

  Attributes:
    features: [B, D], the penultimate representation.
    logits: [B, Z] of the source task's head, or None without one.
  """

  features: jax.Array
  logits: jax.Array | None
