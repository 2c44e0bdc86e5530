# SPDX-License-Identifier: Apache-2.0
"""Flax (Linen) modules, by architecture name; one file per family."""

from collections.abc import Callable

import flax.linen as nn

from neucrab_jax import spelling
from neucrab_jax.models.outputs import Outputs as Outputs


def _resnet_v2_mini(num_classes: int | None) -> nn.Module:
  from neucrab_jax.models import resnet_v2

  # For 32 px: 8×8 before the mean. Few features, so that what they are, not
  # how many, decides how well they transfer; and a short memory of BatchNorm's
  # statistics, for runs of a few hundred steps.
  return resnet_v2.ResNetV2(
    units=(1, 1, 1),
    width=16,
    expansion=1,
    num_classes=num_classes,
    root_kernel=3,
    root_stride=1,
    decay=0.9,
  )


_ARCHITECTURES: dict[str, Callable[[int | None], nn.Module]] = {
  'resnet_v2_mini': _resnet_v2_mini,
}


def names() -> tuple[str, ...]:
  """The known architectures."""
  return tuple(_ARCHITECTURES)


def build(name: str, *, num_classes: int | None = None) -> nn.Module:
  """Builds the module of an architecture.

  Args:
    name: one of `names()`.
    num_classes: Z of the head, or None for features alone.

  Raises:
    ValueError: if the architecture is unknown.
  """
  if name not in _ARCHITECTURES:
    raise spelling.unknown('architecture', name, names())
  return _ARCHITECTURES[name](num_classes)
