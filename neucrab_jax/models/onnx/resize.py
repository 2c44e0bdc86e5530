# SPDX-License-Identifier: Apache-2.0
"""Resizing: each axis by itself, from places and weights known beforehand."""

import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from neucrab_jax.models.onnx import values
from neucrab_jax.models.onnx.graph import Node


def _positions(node: Node, *, old: int, new: int, scale: float) -> np.ndarray:
  """Where the new places are among the old ones."""
  x = np.arange(new, dtype=np.float64)
  mode = node.get('coordinate_transformation_mode', 'half_pixel')
  if node.op == 'Upsample' or node.opset < 11:
    mode = 'asymmetric'
  if mode == 'asymmetric':
    return x / scale
  if mode == 'align_corners':
    return x * (old - 1) / (new - 1) if new > 1 else x * 0
  if mode == 'pytorch_half_pixel' and new == 1:
    return x * 0
  if mode in ('half_pixel', 'pytorch_half_pixel'):
    return (x + 0.5) / scale - 0.5
  if mode == 'half_pixel_symmetric':
    adjustment = new / (scale * old)
    offset = old / 2 * (1 - adjustment)
    return offset + (x + 0.5) / scale - 0.5
  raise ValueError(f'coordinates by {mode!r} are not known here')


def _nearest(node: Node, positions: np.ndarray) -> np.ndarray:
  mode = node.get('nearest_mode', 'round_prefer_floor')
  if node.op == 'Upsample' or node.opset < 11:
    mode = 'floor'
  return {
    'round_prefer_floor': lambda x: np.ceil(x - 0.5),
    'round_prefer_ceil': lambda x: np.floor(x + 0.5),
    'floor': np.floor,
    'ceil': np.ceil,
  }[mode](positions)


def _linear(distance: np.ndarray) -> np.ndarray:
  return np.maximum(1 - np.abs(distance), 0)


def _cubic(distance: np.ndarray, a: float) -> np.ndarray:
  x = np.abs(distance)
  inner = ((a + 2) * x - (a + 3)) * x * x + 1
  outer = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
  return np.where(x <= 1, inner, np.where(x < 2, outer, 0))


def _taps(
  node: Node, positions: np.ndarray, *, old: int, scale: float
) -> tuple[np.ndarray, np.ndarray]:
  """Which old places each new one is made of, and by which weights.

  Returns:
    [new, taps] places and weights.
  """
  mode = node.get('mode', 'nearest')
  if mode == 'nearest':
    places = _nearest(node, positions)[:, None]
    return np.clip(places, 0, old - 1).astype(int), np.ones(places.shape)
  wide = 1.0
  if node.get('antialias', 0) and scale < 1:
    wide = scale
  reach = 1 if mode == 'linear' else 2
  half = math.ceil(reach / wide)
  first = np.floor(positions)[:, None] - half + 1
  places = first + np.arange(2 * half)
  distance = (places - positions[:, None]) * wide
  if mode == 'linear':
    weights = _linear(distance)
  elif mode == 'cubic':
    weights = _cubic(distance, node.get('cubic_coeff_a', -0.75))
  else:
    raise ValueError(f'the mode {mode!r} is not known here')
  if node.get('exclude_outside', 0):
    weights = np.where((places < 0) | (places >= old), 0, weights)
  weights = weights / weights.sum(1, keepdims=True)
  return np.clip(places, 0, old - 1).astype(int), weights


def _along(node: Node, x: Any, axis: int, *, new: int, scale: float) -> Any:
  """Resizes one axis."""
  old = x.shape[axis]
  if new == old and scale == 1:
    return x
  positions = _positions(node, old=old, new=new, scale=scale)
  places, weights = _taps(node, positions, old=old, scale=scale)
  shape = [1] * x.ndim
  shape[axis] = new
  total: Any = 0
  for place, weight in zip(places.T, weights.T, strict=True):
    taken = jnp.take(x, place, axis=axis)
    if weights.shape[1] == 1:
      return taken
    total = total + taken * weight.reshape(shape).astype(np.float32)
  return total


def _fitted(
  node: Node, shape: Sequence[int], axes: Sequence[int], sizes: Sequence[int]
) -> tuple[list[int], list[float]]:
  """New sizes and scales from what is asked for."""
  policy = node.get('keep_aspect_ratio_policy', 'stretch')
  scales = [size / shape[a] for size, a in zip(sizes, axes, strict=True)]
  if policy == 'stretch':
    return list(sizes), scales
  scale = min(scales) if policy == 'not_larger' else max(scales)
  # Halves are rounded up.
  fitted = [math.floor(shape[axis] * scale + 0.5) for axis in axes]
  return fitted, [scale] * len(axes)


def _asked(
  node: Node, x: Any, scales: Any, sizes: Any
) -> tuple[list[int], list[int], list[float]]:
  """The axes that are resized, their new sizes and scales."""
  axes = node.get('axes') or list(range(x.ndim))
  axes = [values.axis_of(axis, x.ndim) for axis in axes]
  if sizes is not None and sizes.size:
    wanted = values.ints(node, sizes, what='new size')
    return axes, *_fitted(node, x.shape, axes, wanted)
  if scales is None or not scales.size:
    raise ValueError('it is given neither scales nor sizes')
  known = values.host(node, scales, what='scales').reshape(-1)
  factors = [float(scale) for scale in known]
  news = [
    math.floor(x.shape[axis] * factor)
    for axis, factor in zip(axes, factors, strict=True)
  ]
  return axes, news, factors


def _resize(node: Node, xp: Any, x: Any, *inputs: Any) -> Any:
  if node.opset < 11:  # Upsample of opset 9 and Resize of 10.
    scales, sizes = inputs[0], None
  else:
    _, scales, sizes = (*inputs, None, None, None)[:3]
  axes, news, factors = _asked(node, x, scales, sizes)
  shape = list(x.shape)
  for axis, new in zip(axes, news, strict=True):
    shape[axis] = new
  values.check_size(shape)
  x = jnp.asarray(x)
  dtype = x.dtype
  for axis, new, scale in zip(axes, news, factors, strict=True):
    x = _along(node, x, axis, new=new, scale=scale)
  return x.astype(dtype)


OPERATORS = {'Resize': _resize, 'Upsample': _resize}
