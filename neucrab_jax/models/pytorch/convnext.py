# SPDX-License-Identifier: Apache-2.0
"""ConvNeXt, of version 1 and 2.

Modules are named after timm's scopes.

Axes: B batch, H, W space, C channels, D features, Z classes.

Reference: Liu et al., "A ConvNet for the 2020s", CVPR 2022; Woo et al.,
"ConvNeXt V2", CVPR 2023, algorithm 1 for the response norm.
"""

import dataclasses

import flax.linen as nn
import jax.numpy as jnp
from flax.linen import initializers
from jaxtyping import Float

from neucrab_jax.models import outputs
from neucrab_jax.models.pytorch import activations, layers
from neucrab_jax.models.pytorch.layout import Layout
from neucrab_jax.typing import Array

_EPSILON = 1e-6


@dataclasses.dataclass(frozen=True)
class Stage:
  """Blocks of one width.

  Attributes:
    width: C.
    depth: how many blocks.
    hidden: channels within their MLPs.
    kernel_size: of their depthwise convolutions.
    layer_scale: whether they are scaled.
    response_norm: whether their MLPs have one, as in version 2.
  """

  width: int
  depth: int
  hidden: int
  kernel_size: int
  layer_scale: bool
  response_norm: bool


class _ResponseNorm(nn.Module):
  """Scales channels by how strong each is, compared with the others."""

  @nn.compact
  def __call__(self, x: Float[Array, 'B H W C']) -> Float[Array, 'B H W C']:
    width = x.shape[-1]
    scale = self.param('scale', initializers.zeros, (width,), jnp.float32)
    bias = self.param('bias', initializers.zeros, (width,), jnp.float32)
    squares = jnp.sum(jnp.square(x), axis=(1, 2), keepdims=True)
    strength = jnp.sqrt(squares)
    mean = jnp.mean(strength, axis=-1, keepdims=True)
    return x * (1 + scale * (strength / (mean + _EPSILON))) + bias


class _Mlp(nn.Module):
  stage: Stage
  activation: activations.Activation

  @nn.compact
  def __call__(self, x: Float[Array, 'B H W C']) -> Float[Array, 'B H W C']:
    width = x.shape[-1]
    x = self.activation(layers.Dense(self.stage.hidden, name='fc1')(x))
    if self.stage.response_norm:
      x = _ResponseNorm(name='grn')(x)
    return layers.Dense(width, name='fc2')(x)


class _Block(nn.Module):
  stage: Stage
  activation: str
  stochastic_depth: float

  @nn.compact
  def __call__(
    self, x: Float[Array, 'B H W C'], *, train: bool
  ) -> Float[Array, 'B H W C']:
    stage, width = self.stage, self.stage.width
    y = layers.Conv(
      width,
      stage.kernel_size,
      groups=width,
      use_bias=True,
      name='conv_dw',
    )(x)
    y = layers.layer_norm(_EPSILON, 'norm')(y)
    y = _Mlp(stage, activations.BY_NAME[self.activation], name='mlp')(y)
    if stage.layer_scale:
      y = y * self.param('gamma', initializers.ones, (width,), jnp.float32)
    return x + layers.StochasticDepth(self.stochastic_depth)(y, train=train)


class ConvNeXt(nn.Module):
  """A ConvNeXt.

  Attributes:
    patch_size: pixels of a side of what its stem takes together.
    stages: of blocks.
    activation: a name of `activations.BY_NAME`.
    last_epsilon: of the layer norm behind the pool.
    num_classes: Z, or None for a network without a head.
    dropout: before the head.
    stochastic_depth: of the last block; of the first it is 0.
  """

  patch_size: int
  stages: tuple[Stage, ...]
  activation: str = 'gelu'
  last_epsilon: float = _EPSILON
  num_classes: int | None = None
  dropout: float = 0.0
  stochastic_depth: float = 0.0

  @nn.compact
  def __call__(
    self, images: Float[Array, 'B H W 3'], *, train: bool = False
  ) -> outputs.Outputs:
    """Maps images to features and, where there is a head, to logits.

    Args:
      images: [B, H, W, 3], in the network's value range.
      train: whether there is dropout.
    """
    first = self.stages[0].width
    x = layers.PatchConv(first, self.patch_size, name='stem.0')(images)
    x = layers.layer_norm(_EPSILON, 'stem.1')(x)
    rates = layers.depth_rates(
      self.stochastic_depth, [stage.depth for stage in self.stages]
    )
    for number, stage in enumerate(self.stages):
      scope = f'stages.{number}'
      if number:
        x = layers.layer_norm(_EPSILON, f'{scope}.downsample.0')(x)
        x = layers.PatchConv(stage.width, 2, name=f'{scope}.downsample.1')(x)
      for block, rate in enumerate(rates[number]):
        x = _Block(
          stage, self.activation, rate, name=f'{scope}.blocks.{block}'
        )(x, train=train)
    x = jnp.mean(x, axis=(1, 2))
    features = layers.layer_norm(self.last_epsilon, 'head.norm')(x)
    logits = layers.head(
      features,
      self.num_classes,
      name='head.fc',
      dropout=self.dropout,
      train=train,
    )
    return outputs.Outputs(features, logits)


def build(layout: Layout) -> ConvNeXt:
  """The network whose variables these are.

  Raises:
    ValueError: if they are of no such network.
  """
  stages = []
  for number in range(layout.count('stages.')):
    blocks = f'stages.{number}.blocks.'
    stages.append(
      Stage(
        width=layout.width(f'{blocks}0.conv_dw.weight'),
        depth=layout.count(blocks),
        hidden=layout.width(f'{blocks}0.mlp.fc1.weight'),
        kernel_size=layout.kernel_size(f'{blocks}0.conv_dw.weight'),
        layer_scale=f'{blocks}0.gamma' in layout,
        response_norm=layout.has(f'{blocks}0.mlp.grn'),
      )
    )
  if not stages:
    raise ValueError("it lacks the variables of 'stages.0'")
  return ConvNeXt(
    patch_size=layout.kernel_size('stem.0.weight'),
    stages=tuple(stages),
    activation=activations.known(layout.options.get('act_layer', 'gelu')),
    last_epsilon=layout.epsilon(_EPSILON),
    num_classes=layout.num_classes,
    dropout=layout.rate('drop_rate'),
    stochastic_depth=layout.rate('drop_path_rate'),
  )
