# SPDX-License-Identifier: Apache-2.0
"""A network of Keras, on its JAX backend, as a module like any other.

Axes: B batch, H, W space, D features, Z source classes.
"""

import dataclasses
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from neucrab_jax.models import colours, depthwise, slim
from neucrab_jax.models.outputs import Outputs
from neucrab_jax.typing import Array

# Layers whose channels don't see each other, or not at once.
DEPTHWISE = ('DepthwiseConv2D', 'SeparableConv2D')


def names_of(variables: Any) -> list[str]:
  """A name of its own for each of Keras' variables, the same in any process."""
  names = []
  for place, variable in enumerate(variables):
    *scopes, name = variable.path.split('/')
    # Keras counts these in the process.
    scopes = [each for each in scopes if not each.startswith('seed_generator')]
    names.append('.'.join((f'{place:04d}', *scopes, name)))
  return names


@dataclasses.dataclass(frozen=True, eq=False)
class Program:
  """What Keras computes of images; its variables are given with each call.

  Attributes:
    features: a `keras.Model` from images [B, H, W, C] to features [B, D].
    both: one to features and logits [B, Z], or None; it has the variables of
      `features` and its head's.
    key: SHA-256 of the network and its weights; programs of the same key are
      equal, and share what is compiled.
  """

  features: Any
  both: Any
  key: str

  def __eq__(self, other: object) -> bool:
    return isinstance(other, Program) and self.key == other.key

  def __hash__(self) -> int:
    return hash(self.key)

  def __repr__(self) -> str:
    return f'Program({self.key[:8]})'


class Network(nn.Module):
  """A network that is a model of Keras; its statistics stay as they are.

  Attributes:
    program: the model.
    reversed_channels: whether it takes images as blue, green, red.
    num_classes: Z, or None for features alone.
  """

  program: Program
  reversed_channels: bool = False
  num_classes: int | None = None

  @nn.compact
  def __call__(
    self, images: Float[Array, 'B H W 3'], *, train: bool = False
  ) -> Outputs:
    """Features [B, D] and logits [B, Z] of images in its value range."""
    # BatchNorm is that of inference, and so is dropout, as in ONNX files.
    del train
    images = colours.as_taken(
      images,
      count=self.program.features.inputs[0].shape[-1],
      reversed_channels=self.reversed_channels,
    )
    has_logits = self.program.both is not None and self.num_classes is not None
    model: Any = self.program.both if has_logits else self.program.features
    # Names are of the larger model's variables, of which the other has some.
    whole = self.program.both or self.program.features

    def values(kind: str, make: Any) -> list[Any]:
      names = dict(
        zip(
          map(id, getattr(whole, kind)),
          names_of(getattr(whole, kind)),
          strict=True,
        )
      )
      return [
        make(names[id(variable)], tuple(variable.shape), variable.dtype)
        for variable in getattr(model, kind)
      ]

    def param(name: str, shape: tuple[int, ...], dtype: str) -> Any:
      return self.param(name, lambda _: jnp.zeros(shape, dtype))

    def statistic(name: str, shape: tuple[int, ...], dtype: str) -> Any:
      return self.variable(
        'batch_stats', name, lambda: jnp.zeros(shape, dtype)
      ).value

    found, _ = model.stateless_call(
      values('trainable_variables', param),
      values('non_trainable_variables', statistic),
      images,
      training=False,
    )
    found = found if has_logits else (found, None)
    features, logits = (
      each if each is None else jnp.asarray(each, jnp.float32) for each in found
    )
    assert features is not None
    return Outputs(features, logits)


def make_fast(layer: Any) -> None:
  """Gives a layer of `DEPTHWISE` our convolution, where it can take it."""
  strides = {*layer.strides}
  if (
    layer.data_format != 'channels_last'
    or {*layer.dilation_rate} != {1}
    or len(strides) != 1
  ):
    return
  stride, padding = strides.pop(), layer.padding.upper()
  is_separable = type(layer).__name__ == 'SeparableConv2D'
  kernel = layer.depthwise_kernel if is_separable else layer.kernel

  def call(inputs: Any) -> Any:
    outputs: Any = depthwise.depthwise_conv(
      inputs,
      jnp.asarray(kernel, inputs.dtype),
      stride=stride,
      padding=padding,
    )
    if is_separable:
      # [1, 1, C M, D]: of each place by itself.
      mixing = jnp.asarray(layer.pointwise_kernel, outputs.dtype)[0, 0]
      outputs = jnp.matmul(outputs, mixing, precision=slim.PRECISION)
    if layer.use_bias:
      outputs = outputs + jnp.asarray(layer.bias, outputs.dtype)
    return outputs if layer.activation is None else layer.activation(outputs)

  layer.call = call
