# SPDX-License-Identifier: Apache-2.0
"""Activations, by the names that timm and transformers have for them."""

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from neucrab_jax.typing import Array

Activation = Callable[[Any], Any]

# Of a GELU by a sigmoid, as OpenAI's CLIP has it.
_QUICK = 1.702


def relu(x: Array) -> Any:
  """As `nn.relu`, with its numbers and its gradient.

  Of a maximum, XLA for CPUs computes the depthwise convolution before it twice
  where squeeze-and-excite reads it twice; not of a choice, which reads it twice
  itself. So with jaxlib 0.10, a twentieth of a MobileNet-v3.
  """
  return jnp.where(x <= 0, 0, x)


def gelu(x: Array) -> Any:
  return nn.gelu(x, approximate=False)


def gelu_tanh(x: Array) -> Any:
  return nn.gelu(x, approximate=True)


def quick_gelu(x: Array) -> Any:
  return x * nn.sigmoid(_QUICK * x)


def hard_sigmoid(x: Array) -> Any:
  return nn.relu6(x + 3) / 6


def hard_swish(x: Array) -> Any:
  # In PyTorch's order: a sixth is no f32.
  return x * nn.relu6(x + 3) / 6


BY_NAME: Mapping[str, Activation] = {
  'gelu': gelu,
  'gelu_pytorch_tanh': gelu_tanh,
  'gelu_new': gelu_tanh,
  'gelu_tanh': gelu_tanh,
  'quick_gelu': quick_gelu,
  'relu': relu,
  'relu6': nn.relu6,
  'silu': nn.silu,
  'swish': nn.silu,
  'hard_swish': hard_swish,
  'sigmoid': nn.sigmoid,
  'hard_sigmoid': hard_sigmoid,
}


def known(name: object) -> str:
  """Of an activation that is known.

  Raises:
    ValueError: if it is not.
  """
  if name not in BY_NAME:
    raise ValueError(
      f'its activation {name!r} is not known; known are {", ".join(BY_NAME)}'
    )
  return str(name)
