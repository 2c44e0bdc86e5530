# SPDX-License-Identifier: Apache-2.0
"""Flax (Linen) modules, by architecture name; one file per family."""

import importlib
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
from jaxtyping import Float

from neucrab_jax import spelling
from neucrab_jax.models import compiler_options as compiler_options
from neucrab_jax.models import precision
from neucrab_jax.models.counting import forward_flops as forward_flops
from neucrab_jax.models.outputs import Outputs as Outputs
from neucrab_jax.typing import Array


def _mini_resnet(
  width: int, units: tuple[int, ...] = (1, 1, 1)
) -> dict[str, Any]:
  """A ResNet-v2 with 16×16 cells after its root, and 4×4 before the mean."""
  return {
    'units': units,
    'width': width,
    # Few features, so that what they are, not how many, decides how well they
    # transfer.
    'expansion': 1,
    'root_kernel': 3,
    'root_pool': False,
    # A short memory of BatchNorm's statistics, for runs of a few hundred steps.
    'decay': 0.9,
  }


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
  # For 32 px, and small enough for a laptop: those of the bundled checkpoints.
  'resnet_v2_mini': ('resnet_v2', 'ResNetV2', _mini_resnet(16)),
  'resnet_v2_mini_narrow': ('resnet_v2', 'ResNetV2', _mini_resnet(8)),
  'resnet_v2_mini_wide': ('resnet_v2', 'ResNetV2', _mini_resnet(32)),
  'resnet_v2_mini_deep': (
    'resnet_v2',
    'ResNetV2',
    _mini_resnet(12, units=(2, 2, 2)),
  ),
  'resnet_v1_mini': (
    'resnet_v1',
    'ResNetV1',
    {'units': (1, 1, 1), 'width': 8},
  ),
  's4l_resnet_mini': (
    'vtab_resnet',
    'VTABResNet',
    {'scoped': True, 'units': (1, 1, 1), 'width': 8, 'strides': (2, 2)},
  ),
  'biggan_discriminator_mini': (
    'biggan',
    'BigGANDiscriminator',
    {'width': 8, 'multiples': (1, 2, 4, 8)},
  ),
  'inception_v2_mini': ('inception_v2', 'InceptionV2', {'width': 0.1}),
  'inception_v2_mini_wide': ('inception_v2', 'InceptionV2', {'width': 0.15}),
  'mobilenet_v1_mini': ('mobilenet_v1', 'MobileNetV1', {'width': 0.125}),
  'mobilenet_v1_mini_narrow': (
    'mobilenet_v1',
    'MobileNetV1',
    {'width': 0.0625},
  ),
  'mobilenet_v2_mini': (
    'mobilenet_v2',
    'MobileNetV2',
    {'width': 0.15, 'last': 128},
  ),
  'mobilenet_v3_mini': (
    'mobilenet_v3',
    'Small',
    {'width': 0.25, 'last': 128},
  ),
}


# Of the images that a CPU has in work at once: what four of 224 px make on
# their way stays in its cache. With fewer, the matrices get too small.
_IMAGES_AT_ONCE = 4
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


def with_batch_norm_decay(module: nn.Module, decay: float) -> nn.Module:
  """The same network with another memory of BatchNorm's statistics.

  Args:
    module: from `build`. One that has no `decay`, as it has no BatchNorm, stays
      what it is.
    decay: of the moving averages; 0 for the module's own.
  """
  if not decay or not hasattr(module, 'decay'):
    return module
  return module.clone(decay=decay)


def infer(
  module: nn.Module,
  variables: Mapping[str, Any],
  images: Float[Array, 'B H W 3'],
  dtype: str = 'float32',
) -> Outputs:
  """Features and logits of a batch, on a CPU of a few images at a time.

  Args:
    module: from `build`.
    variables: of the module.
    images: [B, H, W, 3], in the network's value range.
    dtype: of `precision.DTYPES`, that the network runs in.

  Returns:
    f32, features [B, D] and logits [B, Z], or None without a head.
  """
  run = module.apply
  if dtype != 'float32':
    run = precision.in_bfloat16(run)

  def apply(images) -> Any:
    return run(variables, images)

  batch_size, height, width, _ = images.shape
  most = max(_PIXELS_AT_ONCE // (height * width), _IMAGES_AT_ONCE)
  if jax.default_backend() != 'cpu' or most >= batch_size:
    return apply(images)
  # Those that divide the batch, so that there is one shape, compiled once.
  at_once = max(n for n in range(1, most + 1) if batch_size % n == 0)
  parts = images.reshape(-1, at_once, *images.shape[1:])
  outputs = jax.lax.map(apply, parts)
  return jax.tree.map(lambda x: x.reshape(batch_size, -1), outputs)
