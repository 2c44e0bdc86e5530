# SPDX-License-Identifier: Apache-2.0
"""What Vision Transformers are made of: attention and MLPs.

Modules are named after timm's scopes.

Axes: B batch, T, S tokens, D channels, N heads.
"""

import dataclasses

import flax.linen as nn
import jax.numpy as jnp
from flax.linen import initializers
from jaxtyping import Float

from neucrab_jax.models import slim
from neucrab_jax.models.pytorch import activations, layers
from neucrab_jax.typing import Array

TOKEN = initializers.normal(0.02)


@dataclasses.dataclass(frozen=True)
class Block:
  """What all blocks of a network have in common.

  Attributes:
    num_heads: N.
    hidden: channels within the MLP.
    epsilon: of the layer norms.
    activation: a name of `activations.BY_NAME`.
    gated: whether the MLP is SwiGLU.
    layer_scale: whether branches are scaled.
    qkv_bias: whether queries, keys and values have one.
    qk_norm: whether queries and keys are normalised.
    dropout: of the branches, in training.
    attention_dropout: of the attention's weights.
  """

  num_heads: int
  hidden: int
  epsilon: float = 1e-6
  activation: str = 'gelu'
  gated: bool = False
  layer_scale: bool = False
  qkv_bias: bool = True
  qk_norm: bool = False
  dropout: float = 0.0
  attention_dropout: float = 0.0


def attend(
  queries: Float[Array, '#B N T _'],
  keys: Float[Array, 'B N S _'],
  values: Float[Array, 'B N S _'],
  *,
  dropout: nn.Dropout | None = None,
) -> Float[Array, 'B T D']:
  """Attention, whose weights are normalised when it is done: that is faster."""
  queries = queries * (queries.shape[-1] ** -0.5)
  weights = jnp.matmul(
    queries, jnp.swapaxes(keys, -1, -2), precision=slim.PRECISION
  )
  weights = jnp.exp(weights - jnp.max(weights, axis=-1, keepdims=True))
  total = jnp.sum(weights, axis=-1, keepdims=True)
  if dropout is not None:
    weights = dropout(weights)
  x = jnp.matmul(weights, values, precision=slim.PRECISION) / total
  x = jnp.swapaxes(x, 1, 2)
  return x.reshape(*x.shape[:2], -1)


def split_heads(
  x: Float[Array, 'B T _'], parts: int, num_heads: int
) -> tuple[Array, ...]:
  """[B, T, parts · D] as so many of [B, N, T, D / N]."""
  x = x.reshape(*x.shape[:2], parts, num_heads, -1)
  return tuple(x.transpose(2, 0, 3, 1, 4))


class _Attention(nn.Module):
  block: Block

  @nn.compact
  def __call__(
    self, x: Float[Array, 'B T D'], *, train: bool
  ) -> Float[Array, 'B T D']:
    block, width = self.block, x.shape[-1]
    x = layers.Dense(3 * width, use_bias=block.qkv_bias, name='qkv')(x)
    queries, keys, values = split_heads(x, 3, block.num_heads)
    if block.qk_norm:
      queries = layers.layer_norm(block.epsilon, 'q_norm')(queries)
      keys = layers.layer_norm(block.epsilon, 'k_norm')(keys)
    dropout = None
    if block.attention_dropout:
      dropout = nn.Dropout(block.attention_dropout, deterministic=not train)
    x = attend(queries, keys, values, dropout=dropout)
    x = layers.Dense(width, name='proj')(x)
    return nn.Dropout(block.dropout)(x, deterministic=not train)


class TransformerBlock(nn.Module):
  """Attention and an MLP, each on top of what comes in."""

  block: Block
  stochastic_depth: float

  @nn.compact
  def __call__(
    self, x: Float[Array, 'B T D'], *, train: bool
  ) -> Float[Array, 'B T D']:
    block = self.block
    branches = (
      _Attention(block, name='attn'),
      layers.Mlp(
        block.hidden,
        activations.BY_NAME[block.activation],
        block.dropout,
        block.gated,
        name='mlp',
      ),
    )
    for number, branch in enumerate(branches, start=1):
      y = layers.layer_norm(block.epsilon, f'norm{number}')(x)
      y = branch(y, train=train)
      if block.layer_scale:
        y = layers.Scale(name=f'ls{number}')(y)
      x = x + layers.StochasticDepth(self.stochastic_depth)(y, train=train)
    return x


class AttentionPool(nn.Module):
  """A learnt query over all tokens, and an MLP on its answer."""

  block: Block

  @nn.compact
  def __call__(
    self, x: Float[Array, 'B T D'], *, train: bool
  ) -> Float[Array, 'B D']:
    width, block = x.shape[-1], self.block
    latent = self.param('latent', TOKEN, (1, 1, width), jnp.float32)
    queries = layers.Dense(width, name='q')(latent)
    (queries,) = split_heads(queries, 1, block.num_heads)
    keys, values = split_heads(
      layers.Dense(2 * width, name='kv')(x), 2, block.num_heads
    )
    x = layers.Dense(width, name='proj')(attend(queries, keys, values))
    y = layers.layer_norm(block.epsilon, 'norm')(x)
    activation = activations.BY_NAME[block.activation]
    y = layers.Mlp(block.hidden, activation, name='mlp')(y, train=train)
    return (x + y)[:, 0]
