# SPDX-License-Identifier: Apache-2.0
"""Networks in ONNX files, which any framework writes.

A file is data: a graph of operators and tensors. What it is given is images;
how they are prepared is in its metadata, as `neucrab.preprocessing`, or in a
JSON file beside it.
"""

import dataclasses
import os
import pathlib

import numpy as np
import onnx
import onnx.inliner
from google.protobuf import message

from neucrab_jax import storage, untrusted
from neucrab_jax.checkpoints import backbone as backbone_lib
from neucrab_jax.checkpoints import onnx_graphs, preprocessing, readers, spec
from neucrab_jax.models import colours
from neucrab_jax.models import onnx as onnx_models
from neucrab_jax.models.onnx import graph as graph_lib

# The name in a file's metadata.
METADATA = 'neucrab.preprocessing'

# The oldest operators that are known.
_LEAST_OPSET = 9

# Images that a graph may be written for; each of ours is repeated so often.
_MOST_IMAGES = 64


def _parse(path: str) -> onnx.ModelProto:
  """The file as protocol buffers have it.

  Raises:
    FileNotFoundError: if there is none.
    storage.DamagedFileError: if it is no ONNX.
  """
  if not os.path.exists(path):
    raise FileNotFoundError(f'There is no file {path!r}.')
  try:
    untrusted.check_regular(path)
    model = onnx.load_model(path, load_external_data=False)
  except (message.Error, ValueError, RecursionError, MemoryError) as error:
    raise storage.DamagedFileError(
      f'{path!r} is no readable ONNX file: {error}. Was it written whole?'
    ) from error
  if not model.graph.node:
    raise storage.DamagedFileError(
      f'{path!r} is no readable ONNX file: there are no nodes. Was it written '
      'whole?'
    )
  if model.functions:
    model = onnx.inliner.inline_local_functions(model)
  return model


def _opsets(model: onnx.ModelProto) -> dict[str, int]:
  opsets = {
    '' if entry.domain == 'ai.onnx' else entry.domain: entry.version
    for entry in model.opset_import
  }
  if opsets.get('', _LEAST_OPSET) < _LEAST_OPSET:
    raise ValueError(
      f'its operators are of opset {opsets[""]}, older than {_LEAST_OPSET}: '
      'convert it by onnx.version_converter'
    )
  return opsets


def _channels_last(given: onnx_models.Input) -> bool:
  """Whether images go in as [B, H, W, 3], or [B, H, W, 1] if they are grey.

  Raises:
    ValueError: if the input is no image of three colours or of grey.
  """
  if len(given.shape) == 4 and given.dtype != 'unknown':
    first, last = given.shape[1], given.shape[3]
    for channels in colours.KNOWN:
      if channels in (first, last):
        return first != channels
    if first is None:
      return False
  raise ValueError(
    f'its input {given.name!r} is {given.dtype}{list(given.shape)}, which is '
    'no batch of images of three colours, or of grey'
  )


def _size(given: onnx_models.Input, said: int | None, *, last: bool) -> int:
  """The side of the images.

  Raises:
    ValueError: if nobody says it, or they don't agree.
  """
  sides = given.shape[1:3] if last else given.shape[2:4]
  fixed = {side for side in sides if side is not None}
  if len(fixed) > 1:
    raise ValueError(f'its images are not square, but {list(sides)}')
  if not fixed and said is None:
    raise ValueError('image_size must be said beside it: its own is free')
  size = said if said is not None else fixed.pop()
  if size > preprocessing.MOST_PIXELS:
    raise ValueError(
      f'its images are of {list(sides)} pixels, which is too much'
    )
  if fixed - {size}:
    raise ValueError(f'its images are of {list(sides)} pixels, not of {size}')
  return size


def _keep(
  graph: onnx_models.Graph, ends: onnx_models.Ends
) -> onnx_models.Graph:
  """The graph without what its features and logits don't need."""
  wanted = [name for name in ends if name]
  nodes = graph_lib.needed(graph, wanted)
  read = {name for node in nodes for name in graph_lib.read_by(node)}
  variables = {k: v for k, v in graph.variables.items() if k in read}
  return dataclasses.replace(
    graph,
    nodes=nodes,
    variables=variables,
    key=storage.digest(graph.key, wanted),
  )


def _build(
  path: str, choice: str, checkpoint: spec.Checkpoint
) -> backbone_lib.Backbone:
  model = _parse(path)
  whole, tensors = onnx_graphs.to_graph(
    model.graph,
    _opsets(model),
    pathlib.Path(path).parent,
    is_whole=True,
  )
  if len(whole.inputs) != 1:
    names = ', '.join(each.name for each in whole.inputs) or 'none'
    raise ValueError(f'it must have one input, images, but has {names}')
  (given,) = whole.inputs
  last = _channels_last(given)
  batch = given.shape[0] or 0
  if batch > _MOST_IMAGES:
    raise ValueError(f'it is written for a batch of {batch}: export it for 1')
  try:
    ends = onnx_models.find_ends(whole, choice)
  except ValueError:
    # Because of one that is not known, maybe.
    onnx_models.check_known(whole.nodes)
    raise
  whole, ends = onnx_models.as_numbers(whole, ends)
  graph = _keep(whole, ends)
  onnx_models.check_known(graph.nodes)
  told = {entry.key: entry.value for entry in model.metadata_props}
  prepared = preprocessing.read(path, told.get(METADATA))
  if given.shape[3 if last else 1] == 1:
    prepared.check_grey()
  variables: dict[str, dict[str, np.ndarray]] = {'params': {}}
  for name, variable in graph.variables.items():
    kept = variables.setdefault(variable.collection, {})
    kept[variable.key] = tensors[name]
  module = onnx_models.Network(
    graph,
    features=ends.features,
    logits=ends.logits,
    channels_last=last,
    reversed_channels=prepared.channels == 'BGR',
    batch=batch,
    num_classes=None if ends.logits is None else 1,
  )
  return backbone_lib.Backbone(
    checkpoint=dataclasses.replace(
      checkpoint,
      architecture='onnx',
      image_size=_size(given, prepared.image_size, last=last),
      value_range=prepared.levels(),
      resize_method=prepared.resize_method,
      upstream_accuracy=prepared.upstream_accuracy,
    ),
    module=module,
    variables=variables,
    fingerprint=storage.digest(
      graph.key,
      [last, prepared.channels, given.shape[0]],
      *(tensors[name] for name in graph.variables),
    ),
  )


def _checked(backbone: backbone_lib.Backbone) -> backbone_lib.Backbone:
  """The network, run one image at a time if it must be.

  Raises:
    ValueError: if it cannot be run, or what it gives is not what features are.
  """
  module = backbone.module
  assert isinstance(module, onnx_models.Network)
  try:
    backbone_lib.check(backbone)
    return backbone
  except ValueError:
    if module.batch:
      raise
  # A batch size may be written into the graph though its input's is free.
  one = dataclasses.replace(backbone, module=module.clone(batch=1))
  backbone_lib.check(one)
  return one


def restore(checkpoint: spec.Checkpoint) -> backbone_lib.Backbone:
  """Reads a network from an ONNX file.

  Args:
    checkpoint: whose `path` is of the file, with '#' and the name of a node
      behind it if that is the features.

  Raises:
    FileNotFoundError: if there is no such file.
    ValueError: if the file is damaged, has an operator that is not known here,
      or gives no features.
  """
  path, choice = readers.split(checkpoint.path)
  try:
    return _checked(_build(path, choice, checkpoint))
  except (ValueError, OSError, MemoryError, RuntimeError, TypeError) as error:
    reason = str(error)
    if repr(path) in reason:
      raise
    raise ValueError(f'{path!r} cannot be used: {reason}') from error
