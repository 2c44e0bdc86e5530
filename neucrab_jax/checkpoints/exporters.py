# SPDX-License-Identifier: Apache-2.0
"""Networks of other frameworks as ONNX files that are ranked as they are.

A file has a free batch, outputs named `features` and `logits`, and says itself
how its images are prepared. What it is made by runs the code of its library,
which is why it is no part of a ranking, and is imported when it is asked for.
"""

import fnmatch
import importlib
import importlib.util
import os
import pathlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
import onnx

from neucrab_jax import storage
from neucrab_jax.checkpoints import (
  onnx_files,
  preprocessing,
  restoring,
  spec,
  tensorflow_graphs,
  torch_preprocessing,
)

# Of features and logits, relative to the original's: beyond, it is no rounding.
_TOLERANCE = 1e-3

# Between a file of TensorFlow and what is chosen within it.
CHOICE = '#'

# From images [B, 3, S, S], or [B, S, S, 3] of TensorFlow and Keras, to features
# and, where there is a classifier, logits.
_Original = Callable[[np.ndarray], Sequence[np.ndarray]]


class Exported(NamedTuple):
  """A file that was written.

  Attributes:
    path: of it.
    feature_dim: D.
    num_classes: Z, 0 without a classifier.
    error: the largest difference from the original on two images, relative;
      None if the original was not run.
  """

  path: str
  feature_dim: int
  num_classes: int
  error: float | None


def _library(name: str) -> Any:
  """A library that few need.

  Raises:
    ValueError: if it is not installed.
  """
  if importlib.util.find_spec(name) is None:
    raise ValueError(
      f"{name} is needed for it, and not installed: pip install '.[export]'"
    )
  return importlib.import_module(name)


def _finish(
  made: pathlib.Path,
  path: pathlib.Path,
  prepared: preprocessing.Preprocessing,
  original: _Original | None,
  *,
  channels_last: bool = False,
) -> Exported:
  """Puts the preprocessing into a file, compares it, and puts it in place.

  Args:
    made: an ONNX file that a library wrote, of any name.
    path: where it is to be.
    prepared: how its images are.
    original: what it was made of; None if it cannot be called.
    channels_last: of the original's images.

  Raises:
    ValueError: if it cannot be used, or is not what the original is.
  """
  model = onnx.load(str(made))
  told = msgspec.json.encode(prepared).decode()
  entry = model.metadata_props.add()
  entry.key, entry.value = onnx_files.METADATA, told
  ready = made.with_name('ready.onnx')
  onnx.save(model, str(ready))
  backbone = restoring.restore(
    spec.Checkpoint(path.stem, architecture='onnx', path=str(ready))
  )
  size = backbone.checkpoint.image_size
  low, high = map(np.asarray, backbone.checkpoint.value_range)
  shares = np.random.default_rng(0).random((2, size, size, 3))
  images = (low + shares * (high - low)).astype(np.float32)
  outputs = [np.asarray(o) for o in backbone(images) if o is not None]
  error = None
  if original is not None:
    error = 0.0
    given = images if channels_last else np.moveaxis(images, -1, 1)
    for found, expected in zip(outputs, original(given), strict=False):
      difference = np.linalg.norm(found - expected)
      error = max(error, float(difference / np.linalg.norm(expected)))
    if not error <= _TOLERANCE:
      raise ValueError(
        f'as ONNX it is {error:.2g} from the original, relative to its outputs'
      )
  with storage.atomic_path(path) as temporary:
    temporary.write_bytes(ready.read_bytes())
  logits = outputs[1].shape[1] if len(outputs) > 1 else 0
  return Exported(str(path), outputs[0].shape[1], logits, error)


def _from_torch(
  module: Any, path: pathlib.Path, prepared: preprocessing.Preprocessing
) -> Exported:
  """Writes a module of PyTorch: of images to features, or these and logits."""
  torch = _library('torch')
  _library('onnxscript')
  module = module.eval()
  # Two, so that nobody takes the batch for a constant.
  images = torch.zeros(2, 3, prepared.image_size, prepared.image_size)

  def original(images: np.ndarray) -> list[np.ndarray]:
    with torch.no_grad():
      outputs = module(torch.from_numpy(images))
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    return [output.numpy() for output in outputs]

  names = ['features', 'logits'][: len(original(images.numpy()))]
  with tempfile.TemporaryDirectory() as folder:
    made = pathlib.Path(folder) / 'made.onnx'
    torch.onnx.export(
      module,
      (images,),
      str(made),
      input_names=['images'],
      output_names=names,
      dynamic_shapes=({0: torch.export.Dim('batch')},),
      opset_version=tensorflow_graphs.OPSET + 1,
      dynamo=True,
      external_data=False,
      verbose=False,
    )
    return _finish(made, path, prepared, original)


def timm_names(selection: str) -> list[str]:
  """The networks of timm that a selection means.

  Args:
    selection: names and patterns, separated by commas.

  Raises:
    ValueError: if one means none.
  """
  timm = _library('timm')
  names = []
  for part in filter(None, map(str.strip, selection.split(','))):
    known = timm.list_models(pretrained='.' in part)
    found = [part] if part in known else fnmatch.filter(known, part)
    if not found:
      raise ValueError(f'timm has no network that matches {part!r}.')
    names += found
  return list(dict.fromkeys(names))


def from_timm(name: str, path: pathlib.Path, weights: str = '') -> Exported:
  """Writes a network of timm, with its own weights or others.

  Args:
    name: of it.
    path: of the file to be.
    weights: a `.safetensors` of its variables; '' to download its own.

  Raises:
    ValueError: if it cannot be exported.
  """
  timm, torch = map(_library, ('timm', 'torch'))
  network = timm.create_model(name, pretrained=not weights)
  if weights:
    load_file = _library('safetensors.torch').load_file
    network.load_state_dict(load_file(weights))
  data = timm.data.resolve_model_data_config(network)
  prepared = torch_preprocessing.read(
    pathlib.Path(name), {'pretrained_cfg': data}
  )

  class FeaturesAndLogits(torch.nn.Module):
    def __init__(self):
      super().__init__()
      self.network = network

    def forward(self, images):
      maps = self.network.forward_features(images)
      features = self.network.forward_head(maps, pre_logits=True)
      if not self.network.num_classes:
        return features
      return features, self.network.forward_head(maps)

  return _from_torch(FeaturesAndLogits(), path, prepared)


def from_torch(reference: str, path: pathlib.Path) -> Exported:
  """Writes what a function of the user's own gives.

  Args:
    reference: FILE:FUNCTION; the function takes nothing, and gives a module and
      a mapping of its preprocessing, as JSON beside an ONNX file has it. The
      module takes images [B, 3, S, S].
    path: of the file to be.

  Raises:
    ValueError: if there is no such function, or it gives something else.
  """
  file, _, function = reference.rpartition(':')
  if not os.path.isfile(file) or not function.isidentifier():
    raise ValueError(
      f'{reference!r} is no FILE:FUNCTION, such as nets.py:make_resnet.'
    )
  found = importlib.util.spec_from_file_location('exported_by_user', file)
  assert found is not None
  assert found.loader is not None
  module = importlib.util.module_from_spec(found)
  found.loader.exec_module(module)
  if not hasattr(module, function):
    raise ValueError(f'{file!r} has no function {function!r}.')
  made = getattr(module, function)()
  if not (isinstance(made, tuple) and len(made) == 2):
    raise ValueError(
      f'{reference!r} must give a module and a dict of its preprocessing.'
    )
  return _from_torch(made[0], path, to_preprocessing(made[1]))


def to_preprocessing(told: Mapping[str, Any]) -> preprocessing.Preprocessing:
  """What is said of the images, checked.

  Raises:
    ValueError: if it is not what it should be, or lacks the size.
  """
  try:
    prepared = msgspec.convert(dict(told), preprocessing.Preprocessing)
    prepared.levels()
    if prepared.image_size is None:
      raise ValueError('image_size is missing')
  except ValueError as error:
    raise ValueError(
      f'{dict(told)} is no preprocessing: {error}. It should be like '
      f'{preprocessing.EXAMPLE}.'
    ) from error
  return prepared


def from_keras(
  source: str, path: pathlib.Path, prepared: preprocessing.Preprocessing
) -> Exported:
  """Writes a `.keras` or `.h5` model; the features are its last layer's input.

  Args:
    source: the file.
    path: of the file to be.
    prepared: how its images are.

  Raises:
    ValueError: if it cannot be exported.
  """
  os.environ['KERAS_BACKEND'] = 'tensorflow'
  _library('tf2onnx')
  keras = _library('keras')
  # Safe mode: a Lambda layer is code.
  model = keras.saving.load_model(source, compile=False, safe_mode=True)
  both = keras.Model(model.inputs, [model.layers[-1].input, *model.outputs])

  def original(images: np.ndarray) -> list[np.ndarray]:
    return [np.asarray(output) for output in both(images)]

  with tempfile.TemporaryDirectory() as folder:
    saved, made = (os.path.join(folder, n) for n in ('saved', 'made.onnx'))
    both.export(saved, format='tf_saved_model', verbose=False)
    tensorflow_graphs.convert('--saved-model', saved, made)
    tensorflow_graphs.name_outputs(made)
    return _finish(
      pathlib.Path(made), path, prepared, original, channels_last=True
    )


def from_tensorflow(
  kind: str,
  source: str,
  path: pathlib.Path,
  prepared: preprocessing.Preprocessing,
) -> Exported:
  """Writes a SavedModel or a TFLite file, by tf2onnx.

  Args:
    kind: 'saved_model' or 'tflite'.
    source: the folder, or the file; with '#' and the name of a node behind it
      if that is the features.
    path: of the file to be.
    prepared: how its images are.

  Raises:
    ValueError: if it cannot be exported.
  """
  _library('tf2onnx')
  source, _, node = source.partition(CHOICE)
  if not os.path.exists(source):
    raise ValueError(f'There is no {source!r}.')
  with tempfile.TemporaryDirectory() as folder:
    made = pathlib.Path(folder) / 'made.onnx'
    tensorflow_graphs.convert(f'--{kind.replace("_", "-")}', source, str(made))
    if node:
      tensorflow_graphs.choose(str(made), node)
    return _finish(made, path, prepared, None, channels_last=True)
