# SPDX-License-Identifier: Apache-2.0
"""Vision Transformers: ViT, DeiT, DINO, DINOv2, MAE; towers of CLIP and SigLIP.

Modules are named after timm's scopes.

Axes: B batch, H, W space, T tokens, D channels, N heads, Z classes.

Reference: Dosovitskiy et al., "An Image is Worth 16x16 Words", ICLR 2021.
"""

import math
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from neucrab_jax.models import outputs
from neucrab_jax.models.pytorch import (
  activations,
  layers,
  positions,
  vit_blocks,
)
from neucrab_jax.models.pytorch.layout import Layout, UnsupportedError
from neucrab_jax.typing import Array

_EPSILON = 1e-6
_EPSILON_CLIP = 1e-5

# Heads of those widths of timm's whose heads are not of 64 channels.
_HEADS = {1152: 16, 1280: 16, 1408: 16, 1664: 16}
_HEAD_WIDTH = 64

# Those of SigLIP's networks that timm gives the GELU they were trained with.
_TANH = ('patch32_siglip', 'large_patch16_siglip_512', 'so400m_patch16_siglip',
         'giantopt_')  # fmt: skip

# What becomes of the tokens: the class token; its mean with the distilled one;
# the mean of the patches; attention; the class token beside the mean.
POOLS = ('token', 'distilled', 'avg', 'map', 'token_and_mean')


class VisionTransformer(nn.Module):
  """A Vision Transformer.

  Attributes:
    block: what all of its blocks have in common.
    depth: how many there are.
    width: D.
    patch_size: pixels of a patch's side.
    num_positions: as stored: of a square of patches, maybe with `embedded`.
    embedded: how many tokens before the patches have a position.
    pool: one of `POOLS`.
    pool_block: of the attention that pools.
    prefix: the variables of the tokens before the patches, and how many each
      has; the class token comes first.
    patch_bias: whether the patches' projection has a bias.
    pre_norm: whether tokens are normalised before the first block.
    norm: the name of the last norm: 'norm' before the pool, 'fc_norm' behind.
    antialias: how positions are resampled for another size of image.
    heads: the names of the classifiers, whose logits are averaged.
    num_classes: Z, or None for a network without a head.
    dropout: before the head.
    position_dropout: of the tokens before the first block.
    stochastic_depth: of the last block; of the first it is 0.
  """

  block: vit_blocks.Block
  depth: int
  width: int
  patch_size: int
  num_positions: int
  embedded: int
  pool: str
  pool_block: vit_blocks.Block | None = None
  prefix: tuple[tuple[str, int], ...] = (('cls_token', 1),)
  patch_bias: bool = True
  pre_norm: bool = False
  norm: str = 'norm'
  antialias: bool = True
  heads: tuple[str, ...] = ('head',)
  num_classes: int | None = None
  dropout: float = 0.0
  position_dropout: float = 0.0
  stochastic_depth: float = 0.0

  def _patches(self, images: Float[Array, 'B H W 3']) -> Array:
    """[B, T, D]"""
    x = layers.PatchConv(
      self.width, self.patch_size, self.patch_bias, name='patch_embed.proj'
    )(images)
    if x.shape[1] != x.shape[2]:
      raise ValueError(f'images of {images.shape[1:3]} pixels are not square')
    return x.reshape(len(x), -1, self.width)

  def _tokens(self, patches: Float[Array, 'B T D']) -> Array:
    """All tokens, with their positions."""
    side = math.isqrt(patches.shape[1])
    shape = (1, self.num_positions, self.width)
    learnt = self.param('pos_embed', vit_blocks.TOKEN, shape, jnp.float32)[0]
    grid = positions.resize(
      learnt[self.embedded :], side, antialias=self.antialias
    )
    x = patches + grid
    if not self.prefix:
      return x
    before = jnp.concatenate(
      [
        self.param(name, vit_blocks.TOKEN, (1, count, self.width), jnp.float32)[
          0
        ]
        for name, count in self.prefix
      ]
    )
    before = before.at[: self.embedded].add(learnt[: self.embedded])
    before = jnp.broadcast_to(before, (len(x), *before.shape))
    return jnp.concatenate([before, x], axis=1)

  def _pooled(self, x: Float[Array, 'B T D'], *, train: bool) -> Array:
    """What the head reads, of all tokens after the last block."""
    count = sum(number for _, number in self.prefix)
    if self.pool == 'map':
      assert self.pool_block is not None
      return vit_blocks.AttentionPool(self.pool_block, name='attn_pool')(
        x, train=train
      )
    if self.pool == 'token':
      return x[:, 0]
    if self.pool == 'distilled':
      return (x[:, 0] + x[:, 1]) / 2
    mean = jnp.mean(x[:, count:], axis=1)
    if self.pool == 'avg':
      return mean
    return jnp.concatenate([x[:, 0], mean], axis=-1)

  @nn.compact
  def __call__(
    self, images: Float[Array, 'B H W 3'], *, train: bool = False
  ) -> outputs.Outputs:
    """Maps images to features and, where there is a head, to logits.

    Args:
      images: [B, H, W, 3], in the network's value range; H = W.
      train: whether there is dropout.
    """
    x = self._tokens(self._patches(images))
    x = nn.Dropout(self.position_dropout)(x, deterministic=not train)
    epsilon = self.block.epsilon
    if self.pre_norm:
      x = layers.layer_norm(epsilon, 'norm_pre')(x)
    (rates,) = layers.depth_rates(self.stochastic_depth, [self.depth])
    for number, rate in enumerate(rates):
      x = vit_blocks.TransformerBlock(
        self.block, rate, name=f'blocks.{number}'
      )(x, train=train)
    if self.norm == 'norm':
      x = layers.layer_norm(epsilon, 'norm')(x)
    features = self._pooled(x, train=train)
    if self.norm == 'fc_norm':
      features = layers.layer_norm(epsilon, 'fc_norm')(features)
    logits: Any = None
    if self.num_classes is not None:
      read = [features] * len(self.heads)
      if self.pool == 'distilled':
        read = [x[:, 0], x[:, 1]]
      parts: list[Any] = [
        layers.head(
          part, self.num_classes, name=name, dropout=self.dropout, train=train
        )
        for part, name in zip(read, self.heads, strict=True)
      ]
      logits = sum(parts[1:], parts[0]) / len(parts)
    return outputs.Outputs(features, logits)


def _block(layout: Layout, scope: str, num_heads: int) -> vit_blocks.Block:
  """What a block of a scope is."""
  hidden = layout.width(f'{scope}.mlp.fc1.weight')
  options = layout.options
  pre_norm = layout.has('norm_pre')
  activation = options.get('act_layer')
  if activation is None:
    activation = 'gelu'
    if 'quickgelu' in layout.architecture:
      activation = 'quick_gelu'
    elif any(part in layout.architecture for part in _TANH):
      activation = 'gelu_tanh'
  gated = layout.shape(f'{scope}.mlp.fc2.weight')[1] * 2 == hidden
  return vit_blocks.Block(
    num_heads=num_heads,
    hidden=hidden,
    epsilon=layout.epsilon(_EPSILON_CLIP if pre_norm else _EPSILON),
    activation='silu' if gated else activations.known(activation),
    gated=gated,
    layer_scale=layout.has(f'{scope}.ls1'),
    qkv_bias=f'{scope}.attn.qkv.bias' in layout,
    qk_norm=layout.has(f'{scope}.attn.q_norm'),
    dropout=layout.rate('proj_drop_rate'),
    attention_dropout=layout.rate('attn_drop_rate'),
  )


def _num_heads(layout: Layout, width: int) -> int:
  """N, which no shape tells.

  Raises:
    ValueError: if it does not divide the width.
  """
  told = layout.options.get('num_heads')
  heads = told
  if heads is None and layout.architecture.startswith('test_vit'):
    heads = width // 32
  if heads is None and 'giantopt' in layout.architecture:
    heads = 16
  if heads is None:
    heads = _HEADS.get(width, width // _HEAD_WIDTH)
  if not isinstance(heads, int) or heads < 1 or width % heads:
    raise ValueError(f'{heads} heads cannot share {width} channels')
  return heads


def _pool(layout: Layout, prefix: tuple[tuple[str, int], ...]) -> str:
  if layout.has('attn_pool'):
    return 'map'
  names = [name for name, _ in prefix]
  pool = layout.options.get('global_pool')
  if pool is None:
    pool = 'token' if 'cls_token' in names else 'avg'
  # transformers has a class that reads the distilled token, and one that
  # does not.
  is_read = layout.own_library == 'timm' or layout.has('head_dist')
  if pool == 'token' and 'dist_token' in names and is_read:
    pool = 'distilled'
  if pool not in POOLS or (pool != 'avg' and 'cls_token' not in names):
    raise UnsupportedError(f'its tokens are pooled by {pool!r}')
  return pool


def build(layout: Layout) -> VisionTransformer:
  """The network whose variables these are.

  Raises:
    ValueError: if they are of no such network.
  """
  if layout.architecture.startswith('clip') and layout.num_classes:
    # Whose features are the mean of what its last norm has not seen.
    raise UnsupportedError("CLIP with transformers' classifier")
  patches = 'patch_embed.proj.weight'
  width, patch_size = layout.width(patches), layout.kernel_size(patches)
  prefix = tuple(
    (name, layout.shape(name)[1])
    for name in ('cls_token', 'dist_token', 'reg_token')
    if name in layout
  )
  num_positions = layout.shape('pos_embed')[1]
  before = sum(count for _, count in prefix)
  embedded = [
    n
    for n in range(before + 1)
    if num_positions > n and math.isqrt(num_positions - n) ** 2
    == num_positions - n
  ]  # fmt: skip
  if not embedded:
    raise UnsupportedError(
      f'its {num_positions} positions are not those of a square of patches'
    )
  heads = _num_heads(layout, width)
  pool = _pool(layout, prefix)
  names = ('head', 'head_dist') if pool == 'distilled' else ('head',)
  return VisionTransformer(
    block=_block(layout, 'blocks.0', heads),
    depth=layout.count('blocks.'),
    width=width,
    patch_size=patch_size,
    num_positions=num_positions,
    embedded=embedded[0],
    pool=pool,
    pool_block=_block(layout, 'attn_pool', heads) if pool == 'map' else None,
    prefix=prefix,
    patch_bias='patch_embed.proj.bias' in layout,
    pre_norm=layout.has('norm_pre'),
    norm='fc_norm' if layout.has('fc_norm') else 'norm',
    antialias=layout.own_library == 'timm',
    heads=names,
    num_classes=layout.num_classes,
    dropout=layout.rate('drop_rate'),
    position_dropout=layout.rate('pos_drop_rate'),
    stochastic_depth=layout.rate('drop_path_rate'),
  )
