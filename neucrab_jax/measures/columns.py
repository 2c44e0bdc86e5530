# SPDX-License-Identifier: Apache-2.0
"""What callers have instead of plain arrays, made one where that is certain.

Columns of pandas, which is not imported: its missing values and categories are
known by what they are called. Text as labels. Arrays of half precision that
NumPy does not know by itself.

Axes: N examples, C classes.
"""

import numbers
from typing import Any

import jax.numpy as jnp
import numpy as np

_REMEDY = 'Leave those examples out, of labels and features alike.'

# Beyond, f64 has not all whole numbers; none is the number of a class.
_MOST_WHOLE = 2.0**53


def _is_missing(value: Any) -> bool:
  """None, NaN, or what pandas has for it."""
  if value is None or type(value).__name__ in ('NAType', 'NaTType'):
    return True
  return isinstance(value, numbers.Real) and value != value


def _kind(value: Any) -> str:
  """What an object is, in a word for errors."""
  if isinstance(value, str | bytes):
    return 'text'
  if isinstance(value, bool | np.bool_):
    return 'truth values'
  if isinstance(value, numbers.Real):
    return 'numbers'
  return type(value).__name__


def _from_objects(objects: np.ndarray, *, name: str) -> np.ndarray:
  """Objects that are all text, all truth values or all numbers, as such."""
  missing = [
    row for row in np.ndindex(objects.shape) if _is_missing(objects[row])
  ]
  if missing and not objects.ndim:
    raise ValueError(f'There are no {name}: {objects[()]!r} was given.')
  if missing:
    raise ValueError(
      f'{name} lack {len(missing)} of {objects.size} values, the first of them '
      f'in row {missing[0][0]}. {_REMEDY}'
    )
  kinds = sorted({_kind(value) for value in objects.flat})
  if len(kinds) > 1:
    raise ValueError(
      f'{name} are of several kinds, {" and ".join(kinds)}. Give all of them '
      'as one kind.'
    )
  if kinds == ['text']:
    return objects.astype(str)
  if kinds == ['truth values']:
    return objects.astype(bool)
  if kinds in ([], ['numbers']):
    whole = all(isinstance(value, numbers.Integral) for value in objects.flat)
    try:
      return objects.astype(np.int64 if whole else np.float64)
    except OverflowError:
      return objects.astype(np.float64)
  raise ValueError(f'{name} must be numbers, but are objects: {kinds[0]}.')


def to_array(values: Any, *, name: str) -> np.ndarray:
  """An array of numbers, truth values or text, none of them missing.

  Args:
    values: an array of any framework, a column or a table, or a list.
    name: what to call them in an error.

  Raises:
    ValueError: if some are missing or of different kinds, or they are no array.
  """
  if isinstance(values, np.ma.MaskedArray) and np.ma.getmaskarray(values).any():
    raise ValueError(
      f'{name} are a masked array, of which '
      f'{np.ma.getmaskarray(values).sum()} values are masked. {_REMEDY}'
    )
  if hasattr(values, 'toarray'):
    raise ValueError(f'{name} are a sparse array. Give {name}.toarray().')
  try:
    array = np.asarray(values)
    if isinstance(values, list | tuple) and array.dtype.kind in 'US':
      # NumPy would make text of the numbers and gaps beside it.
      array = np.asarray(values, object)
  # PyTorch's of a device, or of half precision, among others.
  except (TypeError, ValueError, RuntimeError) as error:
    raise ValueError(f'{name} are no array: {error}') from error
  if array.dtype.kind == 'T':  # NumPy's text of any length.
    array = array.astype(object)
  if array.dtype.kind == 'O':
    return _from_objects(array, name=name)
  if array.dtype.kind == 'V' and jnp.issubdtype(array.dtype, np.number):
    # Of ml_dtypes, such as bfloat16: all of its numbers are those of f32.
    return array.astype(np.float32)
  return array


def check_same_rows(**given: Any) -> None:
  """Checks that columns and tables of pandas have the same index.

  What is computed goes by place, what their owner means by index.

  Args:
    **given: by name, what has a value an example; None is not given.

  Raises:
    ValueError: if two have other indices, or the same in another order.
  """
  indexed = {
    name: values.index
    for name, values in given.items()
    if callable(getattr(getattr(values, 'index', None), 'equals', None))
  }
  for name, other in indexed.items():
    first, index = next(iter(indexed.items()))
    if other.equals(index):
      continue
    how = 'are of other rows'
    if index.sort_values().equals(other.sort_values()):
      how = 'have their rows in another order'
    raise ValueError(
      f'{name} {how} than {first}, by their index. Give {name}.loc['
      f'{first}.index]; or {name}.to_numpy(), if they go together by place.'
    )


def _from_one_hot(labels: np.ndarray) -> np.ndarray:
  """The column [N] of the single one in each row of [N, C]."""
  if labels.dtype.kind not in 'biuf' or not np.isin(labels, (0, 1)).all():
    remedy = 'Of scores or probabilities give labels.argmax(1).'
    if len(labels) == 1:
      remedy = 'Give labels[0].'
    raise ValueError(
      f'labels must be a vector of N integers, but have shape {labels.shape}. '
      f'{remedy}'
    )
  ones = np.count_nonzero(labels, axis=1)
  if np.any(ones != 1):
    row = int(np.argmax(ones != 1))
    raise ValueError(
      f'labels must be a vector of N integers, but have shape {labels.shape} '
      f'and {ones[row]} labels in row {row}. Give one label an example, such '
      'as labels[:, 0].'
    )
  return labels.argmax(axis=1)


def _to_whole(labels: np.ndarray) -> np.ndarray:
  """Floats that are whole numbers, as integers."""
  missing = np.flatnonzero(np.isnan(labels))
  if missing.size:
    raise ValueError(
      f'labels lack {missing.size} of {labels.size} values, the first of them '
      f'in row {missing[0]}. {_REMEDY}'
    )
  labels = labels.astype(np.float64)
  broken = np.flatnonzero((labels != np.floor(labels)) | np.isinf(labels))
  if broken.size:
    raise ValueError(
      f'labels must be integers, but are {labels.dtype}, and the one in row '
      f'{broken[0]} is {labels[broken[0]]}. Targets of a regression are no '
      'classes.'
    )
  # Of what is beyond, a cast would make anything.
  large = np.flatnonzero(np.abs(labels) > _MOST_WHOLE)
  if large.size:
    raise ValueError(
      f'The label in row {large[0]} is {labels[large[0]]:.6g}. Number the '
      'classes 0, 1, 2 and so on.'
    )
  return labels.astype(np.int64)


def to_classes(labels: Any) -> np.ndarray:
  """Labels as a vector of integers, where it is certain what they mean.

  Args:
    labels: [N] or [N, 1] integers, whole floats, truth values, text or
      categories; or one-hot, [N, C]. Text and categories are numbered in their
      order.

  Returns:
    [N] integers; those of whole numbers are not checked any further.

  Raises:
    ValueError: if they are anything else, or some are missing.
  """
  # Of a column, and of what is in it.
  categories = getattr(labels, 'cat', labels)
  if hasattr(categories, 'codes') and hasattr(categories, 'categories'):
    codes = np.asarray(categories.codes)
    missing = np.flatnonzero(codes < 0)
    if missing.size:
      raise ValueError(
        f'labels lack {missing.size} of {codes.size} values, the first of them '
        f'in row {missing[0]}. {_REMEDY}'
      )
    return np.unique(codes, return_inverse=True)[1]
  array = to_array(labels, name='labels')
  if array.ndim == 2 and array.shape[1] == 1:
    array = array[:, 0]
  elif array.ndim == 2 and array.size:
    array = _from_one_hot(array)
  if array.ndim != 1 or not array.size:
    raise ValueError(
      f'labels must be a vector of N integers, but have shape {array.shape}.'
    )
  if array.dtype.kind == 'f':
    return _to_whole(array)
  if array.dtype.kind == 'b':
    return array.astype(np.int64)
  if array.dtype.kind in 'US':
    return np.unique(array, return_inverse=True)[1]
  if array.dtype.kind not in 'iu':
    raise ValueError(
      f'labels must be integers, but are {array.dtype}. Number the classes '
      '0, 1, 2 and so on.'
    )
  return array
