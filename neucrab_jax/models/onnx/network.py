# SPDX-License-Identifier: Apache-2.0
"""A graph as a Flax (Linen) module, like any other architecture.

Axes: B batch, H, W space, D features, Z source classes.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float

from neucrab_jax.models import colours
from neucrab_jax.models.onnx import graph as graph_lib
from neucrab_jax.models.onnx import interpreter, layout
from neucrab_jax.models.outputs import Outputs
from neucrab_jax.typing import Array


def _flat(value: jax.Array) -> jax.Array:
  """Vectors [B, D]: of maps [B, D, H, W] and of tokens [B, T, D] their mean."""
  if value.ndim == 4:
    return jnp.mean(value, (2, 3))
  if value.ndim == 3:
    return jnp.mean(value, 1)
  # Whatever else it is, the first axis is that of images.
  return value.reshape(value.shape[0], -1)


class Network(nn.Module):
  """A network that is a graph.

  Attributes:
    graph: of one input, images.
    features: name of the value that is the features.
    logits: name of the value that is the logits, or None.
    channels_last: whether the graph takes images [B, H, W, C].
    reversed_channels: whether it takes them as blue, green, red.
    batch: of how many images the graph is, if that is written into it; or 0.
      Then each image is run by itself, and `vmap` makes one program of it.
    num_classes: Z, or None for features alone.
  """

  graph: graph_lib.Graph
  features: str
  logits: str | None
  channels_last: bool = False
  reversed_channels: bool = False
  batch: int = 0
  num_classes: int | None = None

  def _variables(self, wanted: list[str]) -> dict[str, jax.Array]:
    """The tensors that some values depend on."""
    nodes = graph_lib.needed(self.graph, wanted)
    read = {name for node in nodes for name in graph_lib.read_by(node)}
    tensors = {}
    for name, variable in self.graph.variables.items():
      if name not in read:
        continue
      shape, dtype = variable.shape, variable.dtype
      if variable.collection == 'params':
        tensors[name] = self.param(
          variable.key, nn.initializers.zeros, shape, dtype
        )
      else:
        tensors[name] = self.variable(
          variable.collection, variable.key, jnp.zeros, shape, dtype
        ).value
    return {name: jnp.asarray(value) for name, value in tensors.items()}

  @nn.compact
  def __call__(
    self, images: Float[Array, 'B H W 3'], *, train: bool = False
  ) -> Outputs:
    """Features [B, D] and logits [B, Z] of images in its value range.

    Training leaves the statistics of BatchNorm as they are.
    """
    del train
    wanted = [self.features]
    if self.logits is not None and self.num_classes is not None:
      wanted.append(self.logits)
    variables = self._variables(wanted)
    (given,) = self.graph.inputs
    images = colours.as_taken(
      images,
      count=given.shape[3 if self.channels_last else 1],
      reversed_channels=self.reversed_channels,
    )
    if given.dtype != 'float32':
      limits = jnp.iinfo(given.dtype)
      images = jnp.clip(jnp.round(images), limits.min, limits.max)
      images = images.astype(given.dtype)

    def run(images: Any) -> list[jax.Array]:
      # What ONNX has second is last already.
      value = images if self.channels_last else layout.Maps(images)
      found = interpreter.run(
        self.graph, {**variables, given.name: value}, wanted
      )
      return [_flat(jnp.asarray(value).astype(jnp.float32)) for value in found]

    def run_one(image: Any) -> list[jax.Array]:
      repeated = jnp.broadcast_to(image, (self.batch, *image.shape))
      return [value[0] for value in run(repeated)]

    found = jax.vmap(run_one)(images) if self.batch else run(images)
    return Outputs(found[0], found[1] if len(found) > 1 else None)
