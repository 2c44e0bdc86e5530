# SPDX-License-Identifier: Apache-2.0
"""Flax (Linen) modules, by architecture name; one file per family."""

import importlib
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax

from neucrab_jax import spelling
from neucrab_jax.models.outputs import Outputs as Outputs

# Module, what in it makes the network, and arguments. A module is imported when
# it is asked for.
_ARCHITECTURES: dict[str, tuple[str, str, dict[str, Any]]] = {
  'biggan_discriminator': ('biggan', 'BigGANDiscriminator', {}),
  'inception_v1': ('inception_v1', 'InceptionV1', {}),
  'inception_v2': ('inception_v2', 'InceptionV2', {}),
  'inception_v3': ('inception_v3', 'InceptionV3', {}),
  'inception_v4': ('inception_v4', 'InceptionV4', {}),
  'inception_resnet_v2': ('inception_resnet_v2', 'InceptionResNetV2', {}),
  'mobilenet_v1': ('mobilenet_v1', 'MobileNetV1', {}),
  'mobilenet_v1_025': ('mobilenet_v1', 'MobileNetV1', {'width': 0.25}),
  'mobilenet_v2': ('mobilenet_v2', 'MobileNetV2', {}),
  'mobilenet_v2_035': ('mobilenet_v2', 'MobileNetV2', {'width': 0.35}),
  'mobilenet_v3_small': ('mobilenet_v3', 'Small', {}),
  'mobilenet_v3_large': ('mobilenet_v3', 'Large', {}),
  # For 32 px: 8×8 before the mean. Few features, so that what they are, not
  # how many, decides how well they transfer; and a short memory of BatchNorm's
  # statistics, for runs of a few hundred steps.
  'resnet_v2_mini': (
    'resnet_v2',
    'ResNetV2',
    {
      'units': (1, 1, 1),
      'width': 16,
      'expansion': 1,
      'root_kernel': 3,
      'root_stride': 1,
      'decay': 0.9,
    },
  ),
  'resnet_v1_50': ('resnet_v1', 'ResNetV1', {'units': (3, 4, 6, 3)}),
  'resnet_v1_101': ('resnet_v1', 'ResNetV1', {'units': (3, 4, 23, 3)}),
  'resnet_v2_50': ('resnet_v2', 'ResNetV2', {'units': (3, 4, 6, 3)}),
  's4l_resnet50_v2': ('vtab_resnet', 'VTABResNet', {'scoped': True}),
  'rss_resnet50_v2': ('vtab_resnet', 'VTABResNet', {'scoped': False}),
  # For the patches of jigsaw and relative-patch-location.
  'rss_resnet50_v2_patch': (
    'vtab_resnet',
    'VTABResNet',
    {'scoped': False, 'root_stride': 1, 'strides': (2, 2, 1)},
  ),
}


# Of the images that a CPU has in work at once: what four of 224 px make on
# their way stays in its cache.
_PIXELS_AT_ONCE = 4 * 224 * 224


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
  module, network, arguments = _ARCHITECTURES[name]
  module = importlib.import_module(f'{__name__}.{module}')
  return getattr(module, network)(num_classes=num_classes, **arguments)


def infer(
  module: nn.Module, variables: Mapping[str, Any], images: jax.Array
) -> Outputs:
  """Features and logits of a batch, on a CPU of a few images at a time.

  Args:
    module: from `build`.
    variables: of the module.
    images: [B, H, W, 3], in the network's value range.

  Returns:
    features [B, D] and logits [B, Z], or None without a head.
  """
  batch_size, height, width, _ = images.shape
  most = _PIXELS_AT_ONCE // (height * width)
  if jax.default_backend() != 'cpu' or most >= batch_size:
    return module.apply(variables, images)
  # Those that divide the batch, so that there is one shape, compiled once.
  at_once = max(n for n in range(1, max(most, 1) + 1) if batch_size % n == 0)
  outputs = jax.lax.map(
    lambda part: module.apply(variables, part),
    images.reshape(-1, at_once, *images.shape[1:]),
  )
  return jax.tree.map(lambda x: x.reshape(batch_size, -1), outputs)
