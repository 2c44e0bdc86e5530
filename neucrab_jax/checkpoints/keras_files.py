# SPDX-License-Identifier: Apache-2.0
"""Networks in files of Keras: `.keras`, and `.h5` of older versions.

A file is data: a JSON of layers, and their weights as HDF5. Layers that are
code are refused. Keras runs on JAX, and TensorFlow is not needed.
"""

import contextlib
import dataclasses
import importlib
import json
import math
import os
import pathlib
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from neucrab_jax import storage, untrusted
from neucrab_jax.checkpoints import backbone as backbone_lib
from neucrab_jax.checkpoints import (
  keras_configs,
  keras_networks,
  preprocessing,
  spec,
)
from neucrab_jax.models import colours, keras_model

_ARCHIVE = '.keras'
_CONFIG, _WEIGHTS = 'config.json', 'model.weights.h5'

# Earlier ones could be made to run code that a file brings.
_LEAST_VERSION = (3, 13, 2)

# Of a config; the largest networks' have less than 1 MiB.
_MOST_CONFIG = 1 << 26

# How much larger than the file its contents may be: Keras does not compress.
_MOST_EXPANDED, _SMALL = 20, 1 << 20

_OWN_PREPROCESSING = json.dumps(
  {'value_range': [0, 255], 'resize_method': 'bilinear'}
)


def import_keras() -> Any:
  """Keras, on JAX.

  Raises:
    RuntimeError: if it is not installed, too old, or runs on something else.
  """
  remedy = "pip install 'neucrab_jax[keras]', or requirements/keras.txt"
  is_first = 'keras' not in sys.modules
  before = os.environ.get('KERAS_BACKEND')
  try:
    if is_first:
      os.environ['KERAS_BACKEND'] = 'jax'
    keras = importlib.import_module('keras')
    importlib.import_module('h5py')
  except ImportError as error:
    raise RuntimeError(
      f'Keras is not installed, whose files are to be read: {remedy} ({error}).'
    ) from error
  finally:
    # Whatever else the user starts from here has a choice of its own.
    if is_first:
      os.environ.pop('KERAS_BACKEND')
      if before is not None:
        os.environ['KERAS_BACKEND'] = before
  version = tuple(
    int(part) if part.isdecimal() else 0
    for part in keras.__version__.split('.')[:3]
  )
  if version < _LEAST_VERSION:
    least = '.'.join(map(str, _LEAST_VERSION))
    raise RuntimeError(
      f'Keras {keras.__version__} is older than {least}, which is the first '
      f'that is safe with files of others: {remedy}.'
    )
  if keras.backend.backend() != 'jax':
    raise RuntimeError(
      f'Keras was imported before, on {keras.backend.backend()}: set '
      'KERAS_BACKEND=jax in the environment, and start again.'
    )
  return keras


def _check_expansion(declared: int, there: int, what: str) -> None:
  if declared > _MOST_EXPANDED * there + _SMALL:
    raise ValueError(
      f'{what} would take {declared} bytes, and {there} are in the file'
    )


def _unpack(path: str, folder: pathlib.Path) -> tuple[str, pathlib.Path]:
  """The config of an archive, and where its weights were put."""
  with zipfile.ZipFile(path) as archive:
    members = {entry.filename: entry for entry in archive.infolist()}
    if missing := {_CONFIG, _WEIGHTS} - members.keys():
      raise ValueError(f'there is no {sorted(missing)[0]!r} in it')
    size = os.path.getsize(path)
    _check_expansion(members[_WEIGHTS].file_size, size, _WEIGHTS)
    if members[_CONFIG].file_size > _MOST_CONFIG:
      raise ValueError(f'{_CONFIG} has {members[_CONFIG].file_size} bytes')
    # To the end, where the sum of the bytes is compared.
    config = archive.read(_CONFIG).decode()
    target = folder / _WEIGHTS
    with archive.open(_WEIGHTS) as source, open(target, 'wb') as file:
      shutil.copyfileobj(source, file)
  return config, target


def _check_weights(path: str | os.PathLike) -> int:
  """How many numbers are in a file of HDF5.

  Raises:
    OSError: if it is none.
    ValueError: if some are elsewhere, or it cannot be as large as it says.
  """
  import h5py

  declared, numbers = 0, 0

  def visit(group: Any) -> None:
    nonlocal declared, numbers
    for name in group:
      if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise ValueError(f'{name!r} in it is a link')
      found = group[name]
      if isinstance(found, h5py.Group):
        visit(found)
      elif isinstance(found, h5py.Dataset):
        if found.external or found.is_virtual:
          raise ValueError(f'the numbers of {found.name!r} are in another file')
        declared += int(found.size or 0) * found.dtype.itemsize
        numbers += int(found.size or 0)

  with h5py.File(path) as file:
    visit(file)
  _check_expansion(declared, os.path.getsize(path), 'what it holds')
  return numbers


def _prepared(config: str) -> dict[str, Any]:
  try:
    found = json.loads(config)
  except (ValueError, RecursionError) as error:
    raise ValueError(f'its config is no JSON: {error}') from error
  if not isinstance(found, dict) or 'class_name' not in found:
    raise ValueError('its config is of no model')
  return keras_configs.prepare(found)


def _build(make: Callable[[], Any], most: int) -> Any:
  """The model that a function makes, if these numbers may be enough for it.

  Raises:
    ValueError: if it has many more.
  """
  counted = 0

  def count() -> None:
    nonlocal counted
    counted = sum(math.prod(variable.shape) for variable in make().variables)

  # Traced first, which takes no memory for what a config claims.
  jax.eval_shape(count)
  _check_expansion(4 * counted, 4 * most, 'the variables of its layers')
  return make()


def _read_hdf5(path: str) -> str:
  """The config in a file of HDF5."""
  import h5py

  with h5py.File(path) as file:
    config = file.attrs.get('model_config')
  if config is None:
    raise ValueError(
      'it has weights alone, and does not say of what: save the whole model '
      "by model.save('x.keras')"
    )
  return config.decode() if isinstance(config, bytes) else str(config)


def _load(keras: Any, path: str) -> tuple[Any, str]:
  """The model of a file, and its config."""
  with tempfile.TemporaryDirectory() as folder:
    is_archive = path.endswith(_ARCHIVE)
    if is_archive:
      config, weights = _unpack(path, pathlib.Path(folder))
      numbers = _check_weights(weights)
    else:
      numbers = _check_weights(path)
      config, weights = _read_hdf5(path), path
    found = json.dumps(_prepared(config))

    def make() -> Any:
      # Of a config of its own: Keras empties it.
      own = json.loads(found)
      if is_archive:
        return keras.saving.deserialize_keras_object(own, safe_mode=True)
      # Keras 2 did not say where its classes are. What reads its files would
      # import TensorFlow.
      is_list = own['class_name'] == 'Sequential'
      kind = keras.Sequential if is_list else keras.Model
      return kind.from_config(own['config'])

    model = _build(make, numbers)
    model.load_weights(str(weights))
  return model, config


def _image_size(model: Any, said: int | None) -> int:
  """The side of the images.

  Raises:
    ValueError: if its input is none, or nobody says its size.
  """
  if len(model.inputs) != 1:
    raise ValueError(f'it has {len(model.inputs)} inputs, and must have one')
  shape = tuple(model.inputs[0].shape)
  if len(shape) != 4 or shape[-1] not in colours.KNOWN:
    raise ValueError(
      f'its input is of shape {list(shape)}, not of images [B, H, W, 3], or '
      '[B, H, W, 1] of grey'
    )
  fixed = {side for side in shape[1:3] if side is not None}
  if len(fixed) > 1:
    raise ValueError(f'its images are not square, but {list(shape[1:3])}')
  if not fixed and said is None:
    raise ValueError(
      'image_size must be said in a JSON beside it, as its own is free'
    )
  size = said if said is not None else fixed.pop()
  if fixed - {size} or size > preprocessing.MOST_PIXELS:
    raise ValueError(f'its images are of {list(shape[1:3])} pixels, not {size}')
  return size


def _collect(kind: str, model: Any) -> dict[str, np.ndarray]:
  """The values of variables, by names of ours."""
  variables = getattr(model, kind)
  values = [np.asarray(variable.value) for variable in variables]
  # Seeds are drawn anew whenever Keras reads a file, and not used.
  values = [np.zeros_like(v) if v.dtype == np.uint32 else v for v in values]
  return dict(zip(keras_model.names_of(variables), values, strict=True))


def _to_backbone(
  keras: Any, checkpoint: spec.Checkpoint
) -> backbone_lib.Backbone:
  path = checkpoint.path
  model, config = _load(keras, path)
  # What was frozen is a parameter, too.
  model.trainable = True
  if not getattr(model, 'inputs', None):
    raise ValueError(
      'it has no input of a known shape: save it once it is built'
    )
  _image_size(model, 1 if model.inputs[0].shape[1] is None else None)
  own = keras_networks.takes_pixels(model)
  prepared = preprocessing.read(path, _OWN_PREPROCESSING if own else None)
  if model.inputs[0].shape[-1] == 1:
    prepared.check_grey()
  ends = keras_networks.find_ends(keras, model)
  features = keras.Model(model.inputs, ends.features)
  both = None
  if ends.logits is not None:
    both = keras.Model(model.inputs, [ends.features, ends.logits])
  whole = both or features
  keras_networks.make_fast(whole)
  variables = {
    'params': _collect('trainable_variables', whole),
    'batch_stats': _collect('non_trainable_variables', whole),
  }
  is_reversed = prepared.channels == 'BGR'
  key = storage.digest(
    config,
    *(name for part in variables.values() for name in part),
    *(value for part in variables.values() for value in part.values()),
  )
  return backbone_lib.Backbone(
    checkpoint=dataclasses.replace(
      checkpoint,
      architecture='keras',
      image_size=_image_size(model, prepared.image_size),
      value_range=prepared.levels(),
      resize_method=prepared.resize_method,
      upstream_accuracy=prepared.upstream_accuracy,
    ),
    module=keras_model.Network(
      keras_model.Program(features, both, key),
      reversed_channels=is_reversed,
      num_classes=None if ends.logits is None else ends.logits.shape[-1],
    ),
    variables={k: v for k, v in variables.items() if v or k == 'params'},
    fingerprint=storage.digest(key, is_reversed),
  )


@contextlib.contextmanager
def _on_cpu() -> Iterator[None]:
  with jax.default_device(jax.local_devices(backend='cpu')[0]):
    yield


def _first_line(error: Exception) -> str:
  """What Keras says, without the config that it adds."""
  text = str(error).strip() or type(error).__name__
  text = text.split('\n')[0].split(' Full object config')[0]
  return text[:400].rstrip('. ')


def restore(checkpoint: spec.Checkpoint) -> backbone_lib.Backbone:
  """Reads a network from a file of Keras.

  Args:
    checkpoint: whose `path` is of the file.

  Raises:
    FileNotFoundError: if there is no such file.
    RuntimeError: if Keras is not installed, too old, or not on JAX.
    ValueError: if the file is damaged, has a layer that is code, or gives no
      features.
  """
  path = checkpoint.path
  if not os.path.exists(path):
    raise FileNotFoundError(f'There is no file {path!r}.')
  keras = import_keras()
  try:
    untrusted.check_regular(path)
    with _on_cpu():
      made = _to_backbone(keras, checkpoint)
    backbone_lib.check(made)
  # Of what a file can have, Keras' layers raise whatever comes.
  except Exception as error:
    reason = _first_line(error)
    if repr(path) in reason:
      raise
    raise ValueError(
      f'{path!r} cannot be read as a network of Keras: {reason}.'
    ) from error
  return made
