# SPDX-License-Identifier: Apache-2.0
"""Swin Transformers: attention within windows, which are shifted in turn.

Modules are named after timm's scopes.

Axes: B batch, H, W space, C channels, N heads, T places of a window, D
features, Z classes.

Reference: Liu et al., "Swin Transformer", ICCV 2021.
"""

import dataclasses
import functools
import math

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from flax.linen import initializers
from jaxtyping import Float

from neucrab_jax.models import outputs, slim
from neucrab_jax.models.pytorch import activations, layers
from neucrab_jax.models.pytorch.layout import Layout
from neucrab_jax.typing import Array

_EPSILON = 1e-5

# What keeps places apart that a shift made neighbours, as in the original.
_APART = -100.0


@dataclasses.dataclass(frozen=True)
class Stage:
  """Blocks of one width.

  Attributes:
    width: C.
    depth: how many blocks.
    num_heads: N.
    window: places of a window's side.
    hidden: channels within the MLPs.
  """

  width: int
  depth: int
  num_heads: int
  window: int
  hidden: int


@dataclasses.dataclass(frozen=True)
class Style:
  """What all blocks of a network have in common.

  Attributes:
    epsilon: of the layer norms.
    activation: a name of `activations.BY_NAME`.
    qkv_bias: whether queries, keys and values have one.
    dropout: of the branches, in training.
    attention_dropout: of the attention's weights.
  """

  epsilon: float = _EPSILON
  activation: str = 'gelu'
  qkv_bias: bool = True
  dropout: float = 0.0
  attention_dropout: float = 0.0


@functools.cache
def _offsets(window: int) -> np.ndarray:
  """[T, T], which row of the table of biases two places of a window have."""
  places = np.indices((window, window)).reshape(2, -1)
  rows, columns = places[:, :, None] - places[:, None, :] + window - 1
  return rows * (2 * window - 1) + columns


def _windows(x: Float[Array, 'B H W C'], window: int) -> Array:
  """[B · windows, T, C]"""
  b, height, width, channels = x.shape
  x = x.reshape(b, height // window, window, width // window, window, channels)
  return x.swapaxes(2, 3).reshape(-1, window * window, channels)


@functools.cache
def _mask(height: int, width: int, window: int, shift: int) -> np.ndarray:
  """[windows, T, T], what is added between places that are no neighbours."""
  regions = np.zeros((height, width), np.float32)
  edges = (slice(-window), slice(-window, -shift), slice(-shift, None))
  for i, rows in enumerate(edges):
    for j, columns in enumerate(edges):
      regions[rows, columns] = 3 * i + j
  parts = np.asarray(
    regions.reshape(height // window, window, width // window, window)
  )
  parts = parts.swapaxes(1, 2).reshape(-1, window * window)
  apart = parts[:, :, None] != parts[:, None, :]
  return np.where(apart, np.float32(_APART), np.float32(0))


class _Attention(nn.Module):
  """Attention within each window."""

  stage: Stage
  style: Style

  @nn.compact
  def __call__(
    self,
    x: Float[Array, 'R T C'],
    mask: Float[np.ndarray, 'V T T'] | None,
    *,
    train: bool,
  ) -> Float[Array, 'R T C']:
    heads, window, style = self.stage.num_heads, self.stage.window, self.style
    count, places, width = x.shape
    qkv = layers.Dense(3 * width, use_bias=style.qkv_bias, name='qkv')(x)
    qkv = qkv.reshape(count, places, 3, heads, width // heads)
    queries, keys, values = qkv.transpose(2, 0, 3, 1, 4)
    queries = queries * ((width // heads) ** -0.5)
    weights = jnp.matmul(
      queries, keys.swapaxes(-1, -2), precision=slim.PRECISION
    )
    table = self.param(
      'relative_position_bias_table',
      initializers.truncated_normal(0.02),
      ((2 * window - 1) ** 2, heads),
      jnp.float32,
    )
    bias = table[_offsets(window).reshape(-1)].reshape(places, places, heads)
    bias = bias.transpose(2, 0, 1)
    if mask is not None:
      bias = bias + mask[:, None]
      weights = weights.reshape(-1, *bias.shape) + bias
      weights = weights.reshape(count, heads, places, places)
    else:
      weights = weights + bias
    weights = jnp.exp(weights - jnp.max(weights, axis=-1, keepdims=True))
    total = jnp.sum(weights, axis=-1, keepdims=True)
    if style.attention_dropout:
      weights = nn.Dropout(style.attention_dropout)(
        weights, deterministic=not train
      )
    x = jnp.matmul(weights, values, precision=slim.PRECISION) / total
    x = x.swapaxes(1, 2).reshape(count, places, width)
    x = layers.Dense(width, name='proj')(x)
    return nn.Dropout(style.dropout)(x, deterministic=not train)


class _Block(nn.Module):
  stage: Stage
  style: Style
  is_shifted: bool
  stochastic_depth: float

  def _attend(self, x: Float[Array, 'B H W C'], *, train: bool) -> Array:
    window = self.stage.window
    b, height, width, channels = x.shape
    shift = (
      window // 2 if self.is_shifted and min(height, width) > window else 0
    )
    rows, columns = -height % window, -width % window
    x = jnp.pad(x, ((0, 0), (0, rows), (0, columns), (0, 0)))
    padded = x.shape
    mask = None
    if shift:
      x = jnp.roll(x, (-shift, -shift), axis=(1, 2))
      mask = _mask(padded[1], padded[2], window, shift)
    x = _Attention(self.stage, self.style, name='attn')(
      _windows(x, window), mask, train=train
    )
    x = x.reshape(
      b, padded[1] // window, padded[2] // window, window, window, channels
    )
    x = x.swapaxes(2, 3).reshape(padded)
    if shift:
      x = jnp.roll(x, (shift, shift), axis=(1, 2))
    return x[:, :height, :width]

  @nn.compact
  def __call__(
    self, x: Float[Array, 'B H W C'], *, train: bool
  ) -> Float[Array, 'B H W C']:
    style = self.style
    depth = layers.StochasticDepth(self.stochastic_depth)
    y = layers.layer_norm(style.epsilon, 'norm1')(x)
    x = x + depth(self._attend(y, train=train), train=train)
    y = layers.layer_norm(style.epsilon, 'norm2')(x)
    y = layers.Mlp(
      self.stage.hidden,
      activations.BY_NAME[style.activation],
      style.dropout,
      name='mlp',
    )(y, train=train)
    return x + depth(y, train=train)


class _Merging(nn.Module):
  """Each 2×2 places become one."""

  width: int
  epsilon: float

  @nn.compact
  def __call__(self, x: Float[Array, 'B H W C']) -> Float[Array, 'B _ _ _']:
    rows, columns = x.shape[1] % 2, x.shape[2] % 2
    x = jnp.pad(x, ((0, 0), (0, rows), (0, columns), (0, 0)))
    parts = [x[:, i::2, j::2] for j in (0, 1) for i in (0, 1)]
    x = layers.layer_norm(self.epsilon, 'norm')(jnp.concatenate(parts, -1))
    return layers.Dense(self.width, use_bias=False, name='reduction')(x)


class Swin(nn.Module):
  """A Swin Transformer.

  Attributes:
    patch_size: pixels of a patch's side.
    stages: of blocks.
    style: of all of them.
    num_classes: Z, or None for a network without a head.
    dropout: before the head.
    position_dropout: of the patches before the first block.
    stochastic_depth: of the last block; of the first it is 0.
  """

  patch_size: int
  stages: tuple[Stage, ...]
  style: Style
  num_classes: int | None = None
  dropout: float = 0.0
  position_dropout: float = 0.0
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
    epsilon = self.style.epsilon
    x = layers.PatchConv(
      self.stages[0].width, self.patch_size, name='patch_embed.proj'
    )(images)
    x = layers.layer_norm(epsilon, 'patch_embed.norm')(x)
    x = nn.Dropout(self.position_dropout)(x, deterministic=not train)
    rates = layers.depth_rates(
      self.stochastic_depth, [stage.depth for stage in self.stages]
    )
    for number, stage in enumerate(self.stages):
      scope = f'layers.{number}'
      if number:
        x = _Merging(stage.width, epsilon, name=f'{scope}.downsample')(x)
      for block, rate in enumerate(rates[number]):
        x = _Block(
          stage,
          self.style,
          block % 2 == 1,
          rate,
          name=f'{scope}.blocks.{block}',
        )(x, train=train)
    x = layers.layer_norm(epsilon, 'norm')(x)
    features = jnp.mean(x, axis=(1, 2))
    logits = layers.head(
      features,
      self.num_classes,
      name='head.fc',
      dropout=self.dropout,
      train=train,
    )
    return outputs.Outputs(features, logits)


def _stage(layout: Layout, number: int) -> Stage:
  blocks = f'layers.{number}.blocks.'
  name = f'{blocks}0.attn.relative_position_bias_table'
  rows, heads = layout.shape(name)
  window = (math.isqrt(rows) + 1) // 2
  width = layout.width(f'{blocks}0.norm1.weight')
  if (2 * window - 1) ** 2 != rows or not heads or width % heads:
    raise ValueError(
      f'its variable {name!r} is of shape {[rows, heads]}, which is none of a '
      f'square window and {width} channels'
    )
  return Stage(
    width=width,
    depth=layout.count(blocks),
    num_heads=heads,
    window=window,
    hidden=layout.width(f'{blocks}0.mlp.fc1.weight'),
  )


def build(layout: Layout) -> Swin:
  """The network whose variables these are.

  Raises:
    ValueError: if they are of no such network.
  """
  options = layout.options
  stages = tuple(
    _stage(layout, number) for number in range(layout.count('layers.'))
  )
  if not stages:
    raise ValueError("it lacks the variables of 'layers.0'")
  return Swin(
    patch_size=layout.kernel_size('patch_embed.proj.weight'),
    stages=stages,
    style=Style(
      epsilon=layout.epsilon(_EPSILON),
      activation=activations.known(options.get('act_layer', 'gelu')),
      qkv_bias='layers.0.blocks.0.attn.qkv.bias' in layout,
      dropout=layout.rate('proj_drop_rate'),
      attention_dropout=layout.rate('attn_drop_rate'),
    ),
    num_classes=layout.num_classes,
    dropout=layout.rate('drop_rate'),
    position_dropout=layout.rate('pos_drop_rate'),
    stochastic_depth=layout.rate('drop_path_rate'),
  )
