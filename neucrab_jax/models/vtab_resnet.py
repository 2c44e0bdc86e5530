# SPDX-License-Identifier: Apache-2.0
"""The ResNet-50-v2 behind VTAB's self- and semi-supervised checkpoints.

What is peculiar to it, beside TF-slim's: a block strides in its *first* unit,
in the 3×3 convolution; every padding is explicit, of zeros, that of the
max-pool too; no convolution but the head's has a bias; a projection reads the
pre-activation.

Two code bases have it, which differ in the names of variables alone: S4L gives
each layer a scope, the older one numbers all layers in the order in which they
were made. Modules are named after either.

Axes: B batch, H, W space, C channels, D features, Z source classes.

Reference: He et al., "Identity Mappings in Deep Residual Networks", ECCV 2016;
Zhai et al., "S4L: Self-Supervised Semi-Supervised Learning", ICCV 2019;
Kolesnikov et al., "Revisiting Self-Supervised Visual Representation Learning",
CVPR 2019.
"""

from collections.abc import Callable, Sequence

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from neucrab_jax.models import outputs, pooling, slim
from neucrab_jax.typing import Array

_DECAY = 0.99


def _pad(x: Array, size: int) -> Array:
  """Zeros around [B, H, W, C], for windows of an odd size."""
  around = (size // 2, size // 2)
  return jnp.pad(x, ((0, 0), around, around, (0, 0)))


def _namer(scoped: bool) -> Callable[[str, str], str]:
  """Names of layers, from their scope and kind."""
  counts = {}

  def name(scope: str, kind: str) -> str:
    if scoped:
      return f'{scope}/{kind}' if scope else kind
    index = counts.setdefault(kind, 0)
    counts[kind] += 1
    return f'{kind}_{index}' if index else kind

  return name


class VTABResNet(nn.Module):
  """A ResNet-v2 with bottleneck units.

  Attributes:
    scoped: whether layers have S4L's scopes, or numbers.
    units: how many units each block has.
    width: the inner width of the first block; it doubles with every block.
    root_stride: of the first convolution.
    strides: of the second block and those after it.
    num_classes: Z, or None for a network without a head.
    decay: of BatchNorm's moving averages.
  """

  scoped: bool
  units: Sequence[int] = (3, 4, 6, 3)
  width: int = 64
  root_stride: int = 2
  strides: Sequence[int] = (2, 2, 2)
  num_classes: int | None = None
  decay: float = _DECAY

  @nn.compact
  def __call__(
    self, images: Float[Array, 'B H W 3'], *, train: bool = False
  ) -> outputs.Outputs:
    """Maps images to features and, where there is a head, to logits.

    Args:
      images: [B, H, W, 3], in [-1, 1].
      train: whether BatchNorm uses, and updates, the statistics of the batch.

    Returns:
      features [B, D], with D = 4 · width · 2^(blocks − 1), and logits [B, Z],
      or None without a head.
    """
    name = _namer(self.scoped)

    def conv(x, scope, features, size, stride=1):
      return nn.Conv(
        features,
        (size, size),
        strides=stride,
        padding=size // 2,
        use_bias=False,
        kernel_init=nn.initializers.he_normal(),
        precision=slim.PRECISION,
        conv_general_dilated=slim.convolve,
        name=name(scope, 'conv2d'),
      )(x)

    def norm(x, scope):
      x = nn.BatchNorm(
        use_running_average=not train,
        momentum=self.decay,
        epsilon=slim.EPSILON,
        name=name(scope, 'batch_normalization'),
      )(x)
      return nn.relu(x)

    def unit(x, scope, width, stride):
      preact = norm(x, scope)
      shortcut = x
      if x.shape[-1] != 4 * width or stride > 1:
        shortcut = conv(preact, f'{scope}/proj', 4 * width, 1, stride)
      y = conv(preact, f'{scope}/a', width, 1)
      y = conv(norm(y, f'{scope}/b'), f'{scope}/b', width, 3, stride)
      y = conv(norm(y, f'{scope}/c'), f'{scope}/c', 4 * width, 1)
      return shortcut + y

    x = conv(images, 'root_block', self.width, 7, self.root_stride)
    x = pooling.max_pool(_pad(x, 3), 3, 2, 'VALID')
    for block, count in enumerate(self.units, start=1):
      for index in range(1, count + 1):
        first = index == 1 and block > 1
        x = unit(
          x,
          f'block{block}/unit{index}',
          self.width * 2 ** (block - 1),
          self.strides[block - 2] if first else 1,
        )
    features = jnp.mean(norm(x, ''), axis=(1, 2))
    logits = None
    if self.num_classes is not None:
      logits = nn.Conv(
        self.num_classes,
        (1, 1),
        precision=slim.PRECISION,
        name='classes' if self.scoped else name('', 'conv2d'),
      )(features[:, None, None, :])[:, 0, 0, :]
    return outputs.Outputs(features, logits)
