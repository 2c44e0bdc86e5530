# SPDX-License-Identifier: Apache-2.0
"""What a model of Keras is for: which layers classify, and which prepare.

Its layers are walked from the output back to the classifier, and from the
input on to what scales the pixels.
"""

from typing import Any, NamedTuple

import numpy as np

from neucrab_jax.models import keras_model

# Beyond, what comes of 0 and 255 was not scaled for a network.
_MOST_SCALED = 10.0

_COLOURS = 3

# What may come before the pixels are scaled, and keeps them pixels.
_PIXELS = ('InputLayer', 'Resizing', 'CenterCrop', 'Random', 'Identity')
_SCALING = ('Rescaling', 'Normalization')

# What may come after a classifier; of the first ones the logits are not needed.
_PROBABILITIES = ('Softmax',)
_SHAPES = (
  'Flatten',
  'Reshape',
  'Dropout',
  'Identity',
  'ActivityRegularization',
)
_POOLING = 'GlobalAveragePooling2D'

# Of layers that are added. Keras' own names begin anew with each process, so
# that the file may have the same ones.
_OWN = 'neucrab'


class Ends(NamedTuple):
  """Tensors of a model: features [B, D], and logits [B, Z] or None."""

  features: Any
  logits: Any


def _kind(layer: Any) -> str:
  return type(layer).__name__


def _is_model(layer: Any) -> bool:
  return hasattr(layer, 'layers') and bool(getattr(layer, 'outputs', None))


def _activation(layer: Any) -> str:
  function = getattr(layer, 'activation', None)
  return getattr(function, '__name__', '') if function else 'linear'


def _is_classifier(layer: Any, *, is_scored: bool) -> bool:
  if _activation(layer) not in ('linear', 'softmax', 'sigmoid'):
    return False
  if _kind(layer) == 'Conv2D':
    # That which sees more than one place may be any other, but for a softmax.
    size = () if is_scored else layer.kernel_size
    return {*size, *layer.strides, layer.groups} == {1}
  return _kind(layer) == 'Dense'


def _without_softmax(keras: Any, layer: Any) -> None:
  layer.activation = keras.activations.linear


def _made_by(tensor: Any) -> tuple[Any, Any]:
  """The layer that made a tensor, and where it was called."""
  layer, node, _ = tensor._keras_history
  return layer, layer._inbound_nodes[node]


def _flat(keras: Any, tensor: Any, *, pooled: bool) -> Any:
  """Features as a matrix.

  Raises:
    ValueError: if they are a map, and nothing says how to pool it.
  """
  if len(tensor.shape) == 2:
    return tensor
  if len(tensor.shape) == 4 and (pooled or tensor.shape[1:3] == (1, 1)):
    return keras.layers.GlobalAveragePooling2D(name=f'{_OWN}_pool')(tensor)
  raise ValueError(
    f'its features are of shape {list(tensor.shape)}, not [B, D]: end it with '
    'GlobalAveragePooling2D (pooling="avg" in keras.applications)'
  )


def find_ends(keras: Any, model: Any) -> Ends:
  """The features and the logits of a model.

  A softmax within its classifier is taken off.

  Raises:
    ValueError: if it gives several things, or no features.
  """
  if len(model.outputs) != 1:
    raise ValueError(
      f'it has {len(model.outputs)} outputs: save a keras.Model of one, its '
      'features or its class scores'
    )
  output = tensor = model.outputs[0]
  logits, pooled, is_scored = tensor, False, False
  while True:
    layer, node = _made_by(tensor)
    kind = _kind(layer)
    if _is_model(layer) and len(layer.outputs) == 1:
      inner = find_ends(keras, layer)
      if inner.logits is None and inner.features is layer.outputs[0]:
        break
      both = [each for each in inner if each is not None]
      own_name = f'{_OWN}_{layer.name}'
      whole = keras.Model(layer.inputs, both, name=own_name)
      found = whole(node.input_tensors)
      found = found if isinstance(found, list) else [found]
      own = found[1] if logits is tensor and len(found) > 1 else None
      return Ends(_flat(keras, found[0], pooled=pooled), own)
    # A convolution below a pooling may be the last of a network without head.
    is_scored |= _activation(layer) == 'softmax'
    if _is_classifier(layer, is_scored=is_scored) and (
      not pooled or is_scored or kind == 'Dense'
    ):
      if _activation(layer) == 'softmax':
        _without_softmax(keras, layer)
      elif _activation(layer) == 'sigmoid':
        logits = None
      if logits is not None and len(logits.shape) != 2:
        logits = None
      features = _flat(keras, node.input_tensors[0], pooled=pooled)
      return Ends(features, logits)
    if len(node.input_tensors) != 1:
      break
    before = node.input_tensors[0]
    if kind == 'Softmax' or (
      kind == 'Activation' and _activation(layer) == 'softmax'
    ):
      logits, is_scored = before, True
    elif kind == 'Activation':
      logits = before if _activation(layer) == 'linear' else None
    elif kind == _POOLING:
      pooled = True
    elif kind not in _SHAPES:
      break
    tensor = before
  return Ends(_flat(keras, output, pooled=False), None)


def _scales(layer: Any) -> bool:
  """Whether a layer makes of pixels from 0 to 255 what networks take."""
  channels = layer._inbound_nodes[0].input_tensors[0].shape[-1]
  levels = np.zeros((1, 2, 1, channels or _COLOURS), np.float32)
  levels[:, 1] = 255
  found = np.asarray(layer(levels))
  spread = np.abs(found[:, 1] - found[:, 0]).min()
  return bool(np.abs(found).max() <= _MOST_SCALED and spread > 0)


def takes_pixels(model: Any) -> bool:
  """Whether a model scales pixels from 0 to 255 by its own first layers."""
  layer, _ = _made_by(model.inputs[0])
  while True:
    nodes = layer._outbound_nodes
    # Of an inner model, also those of how it was called elsewhere.
    after = {id(node.operation): node.operation for node in nodes}
    after = [each for each in after.values() if each in model.layers]
    if len(after) != 1:
      return False
    (layer,) = after
    if _is_model(layer):
      return takes_pixels(layer)
    if _kind(layer) in _SCALING:
      return _scales(layer)
    if not _kind(layer).startswith(_PIXELS):
      return False


def make_fast(model: Any) -> None:
  """Gives depthwise layers the convolution that is fast on a CPU."""
  for layer in model._flatten_layers():
    if _kind(layer) in keras_model.DEPTHWISE:
      keras_model.make_fast(layer)
