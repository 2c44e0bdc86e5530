# SPDX-License-Identifier: Apache-2.0
"""Tensors and attributes of ONNX files, as NumPy's arrays and plain data."""

import math
import os
import pathlib
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from neucrab_jax import untrusted

# Widened or narrowed, for f32 is what is computed in.
_AS_F32 = (np.float64, np.float16)


def _as_computed(array: np.ndarray) -> np.ndarray:
  """f32 for floats of any width.

  Raises:
    ValueError: if the type is none that can be computed with.
  """
  if array.dtype in _AS_F32 or array.dtype.name == 'bfloat16':
    return array.astype(np.float32)
  if array.dtype.kind not in 'fiub' or array.dtype.itemsize > 8:
    raise ValueError(f'values of type {array.dtype} are not known here')
  return array


def _outside(tensor: onnx.TensorProto, folder: pathlib.Path) -> bytes:
  """The bytes of a tensor that are in another file of the folder.

  Raises:
    ValueError: if that file is not below the folder, or too short.
  """
  told = {entry.key: entry.value for entry in tensor.external_data}
  location = told.get('location', '')
  path = pathlib.Path(os.path.realpath(folder / location))
  if not location or not path.is_relative_to(os.path.realpath(folder)):
    raise ValueError(
      f'the values of {tensor.name!r} are said to be at {location!r}, which is '
      'not in the folder of the file'
    )
  untrusted.check_regular(path)
  offset, length = int(told.get('offset', 0)), int(told.get('length', -1))
  size = path.stat().st_size
  length = size - offset if length < 0 else length
  if not 0 <= offset <= offset + length <= size:
    raise ValueError(
      f'{location!r} has {size} bytes, too few for {tensor.name!r}'
    )
  _check_length(tensor, length)
  with path.open('rb') as file:
    file.seek(offset)
    return file.read(length)


def _check_length(tensor: onnx.TensorProto, length: int) -> None:
  """Compares the shape of a tensor with the bytes that are there."""
  dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
  if min(tensor.dims, default=0) < 0 or (
    dtype.itemsize * math.prod(tensor.dims) != length
  ):
    raise ValueError(
      f'{tensor.name!r} is said to be {dtype}{list(tensor.dims)}, but has '
      f'{length} bytes'
    )


def to_array(tensor: onnx.TensorProto, folder: pathlib.Path) -> np.ndarray:
  """A tensor as an array, of floats f32.

  Args:
    tensor: of a graph.
    folder: of the file, where further files may be.

  Raises:
    ValueError: if its size is not what it says, or its type not known.
    OSError: if a further file cannot be read.
  """
  if tensor.data_location == onnx.TensorProto.EXTERNAL:
    content = _outside(tensor, folder)
    tensor = onnx.TensorProto(
      dims=tensor.dims,
      data_type=tensor.data_type,
      name=tensor.name,
      raw_data=content,
    )
  elif tensor.HasField('raw_data'):
    _check_length(tensor, len(tensor.raw_data))
  array = numpy_helper.to_array(tensor)
  return _as_computed(np.ascontiguousarray(array).reshape(array.shape))


def to_plain(attribute: onnx.AttributeProto, folder: pathlib.Path) -> Any:
  """The value of an attribute that is no graph.

  Raises:
    ValueError: if it is of a kind that no known operator has.
  """
  kind = attribute.type
  if kind == onnx.AttributeProto.TENSOR:
    return to_array(attribute.t, folder)
  if kind == onnx.AttributeProto.STRING:
    return attribute.s.decode('utf-8', 'replace')
  if kind == onnx.AttributeProto.STRINGS:
    return [text.decode('utf-8', 'replace') for text in attribute.strings]
  plain = {
    onnx.AttributeProto.FLOAT: 'f',
    onnx.AttributeProto.INT: 'i',
    onnx.AttributeProto.FLOATS: 'floats',
    onnx.AttributeProto.INTS: 'ints',
  }
  if kind not in plain:
    raise ValueError(f'an attribute {attribute.name!r} of kind {kind}')
  value = getattr(attribute, plain[kind])
  return value if isinstance(value, int | float) else list(value)
