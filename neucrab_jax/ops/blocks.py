# SPDX-License-Identifier: Apache-2.0
"""Shapes that many checkpoints share: buckets of dimensions, example blocks.

Every new shape costs a compilation, so features are padded with zero columns to
a bucket of dimensions and with weightless rows to whole blocks of examples. The
blocks are what the kernels scan over, so that an N×K array is never held.

Axes: N examples, D features, K components, T blocks, B examples of a block.
"""

import contextlib
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import core
from jaxtyping import Float, Shaped

from neucrab_jax import parallel
from neucrab_jax.typing import Array

# Most features keep fewer dimensions than this, and one program serves them: a
# matmul is hardly wider than the data (`at_width`), and what else is padded is
# little beside the examples by components.
SMALLEST_BUCKET = 128

# Within a bucket, a matmul is as wide as the data but for an eighth of it, or
# for what fills a vector register.
STEPS = 8
SMALLEST_STEP = 16

# Elements of the B×K array that a scan holds: 4 MiB in f32, a core's share of
# the last cache level, and big enough that a matmul runs at full speed.
BLOCK_ELEMENTS = 1 << 20

# Fewer examples in a block than this, and the loop costs more than its work.
SMALLEST_BLOCK = 256

# Rows of a block come in eights: a vector register's worth, and the same shape,
# thus the same random draws, on 1, 2, 4 and 8 devices.
ROW_MULTIPLE = 8

# Bytes, of which XLA's CPU client wants the start of an array to be a multiple.
ALIGNMENT = 64

# Matmuls feed logs and differences: no TF32, no bf16, whatever the device.
PRECISION = jax.lax.Precision.HIGHEST

# Up to this many N×K×D', EM runs in f64 where the device has it. Where a few
# examples make a component, f32 keeps too little of its variances: one example
# that changes hands is a hundredth of a nat. In more examples that is lost, and
# so many cost nothing.
F64_ELEMENTS = 1 << 25


def bucket(size: int) -> int:
  """The dimensions to pad `size` dimensions to: the next power of two."""
  return max(SMALLEST_BUCKET, 1 << (size - 1).bit_length())


def at_width(
  num_dims: Array | int,
  width: int,
  compute: Callable[[int], jax.Array],
) -> jax.Array:
  """`compute(w)`, w the least of some widths that is no less than `num_dims`.

  A bucket is up to twice as wide as the data, and the time is in matmuls that
  are as wide as it. So a program has each of them at several widths, of which
  one runs; they take next to no time to compile.

  Args:
    num_dims: of the `width` dimensions, those that are not padding.
    width: a bucket.
    compute: called once for each width; its results have the same shape.
  """
  step = max(SMALLEST_STEP, width // STEPS)
  # More than half of a bucket is filled, or the next smaller one would do.
  least = 0 if width <= SMALLEST_BUCKET else width // 2
  widths = range(least + step, width + 1, step)
  index = jnp.searchsorted(jnp.array(widths), num_dims)
  return jax.lax.switch(index, [functools.partial(compute, w) for w in widths])


def is_traced(*arrays: Any) -> bool:
  return any(isinstance(array, core.Tracer) for array in arrays)


def precision_for(
  x: Float[Array, 'N D'], num_components: int
) -> contextlib.AbstractContextManager:
  """The context in which EM of [N, D] examples is exact enough."""
  n, d = x.shape
  if (
    is_traced(x)
    or jax.default_backend() == 'tpu'  # it has no f64 of its own
    or n * num_components * bucket(d) > F64_ELEMENTS
  ):
    return contextlib.nullcontext()
  return jax.enable_x64(True)


def as_float(x: Shaped[Array, '*shape']) -> Float[Array, '*shape']:
  """f32, or f64 where JAX has it enabled; on the host where it can be."""
  dtype = jnp.result_type(float)
  return x.astype(dtype) if is_traced(x) else np.asarray(x, dtype)


def empty(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
  """Memory of the host that a CPU device takes as it is, without a copy."""
  size = math.prod(shape) * dtype.itemsize
  raw = np.empty(size + ALIGNMENT, np.uint8)
  start = -raw.ctypes.data % ALIGNMENT
  return raw[start : start + size].view(dtype).reshape(shape)


def pad(
  x: Shaped[Array, '...'],
  shape: tuple[int, ...],
  value: float = 0.0,
  *,
  copy: bool = False,
) -> Shaped[Array, '...']:
  """Pads the end of each axis; on the host where it can be, to compile less.

  Args:
    x: of any shape.
    shape: no smaller.
    value: of what is added.
    copy: also what needs no padding, to be written to.
  """
  if tuple(shape) == x.shape and not copy:
    return x
  if is_traced(x):
    widths = [(0, new - old) for old, new in zip(x.shape, shape, strict=True)]
    return jnp.pad(x, widths, constant_values=value)
  padded = empty(shape, np.dtype(x.dtype))
  for axis, size in enumerate(x.shape):
    padded[(*map(slice, x.shape[:axis]), slice(size, None))] = value
  padded[tuple(map(slice, x.shape))] = x
  return padded


def crop(
  x: Shaped[Array, '...'], shape: tuple[int, ...]
) -> Shaped[Array, '...']:
  """Undoes `pad`; on the host where it can be, to compile less."""
  if x.shape == tuple(shape):
    return x
  index = tuple(slice(size) for size in shape)
  return x[index] if is_traced(x) else jax.device_put(np.asarray(x)[index])


def block_shape(
  num_examples: int, width: int, num_devices: int = 1
) -> tuple[int, int]:
  """How to cut N examples, of which a scan holds B×width at a time.

  Args:
    num_examples: N.
    width: the columns that the kernel makes per example.
    num_devices: over which the examples of a block are spread.

  Returns:
    (T, B), with T B >= N and as few rows of padding as can be.
  """
  largest = max(SMALLEST_BLOCK, BLOCK_ELEMENTS // width)
  num_blocks = -(-num_examples // largest)
  rows = -(-num_examples // num_blocks)
  multiple = math.lcm(ROW_MULTIPLE, num_devices)
  return num_blocks, parallel.round_up(rows, multiple=multiple)


def to_blocks(
  x: Shaped[Array, 'N *D'], shape: tuple[int, ...]
) -> Shaped[Array, 'T B *D']:
  """Cuts [N, ...] into [T, B, ...], zeros at the end."""
  padded = pad(x, (shape[0] * shape[1], *x.shape[1:]))
  return padded.reshape(*shape, *x.shape[1:])


def place_weights(
  example_weights: Shaped[Array, '*R N'],
  shape: tuple[int, ...],
  devices: Sequence | None,
) -> Float[Array, '*R T B']:
  """Cuts weights as `place` cuts examples: [..., N] to [..., T, B]."""
  weights = as_float(example_weights)
  leading = weights.shape[:-1]
  weights = pad(weights, (*leading, shape[0] * shape[1]))
  weights = weights.reshape(*leading, *shape)
  if devices is None:
    return weights
  return parallel.spread(weights, axis=weights.ndim - 1, devices=devices)


def cut(
  x: Shaped[Array, 'N D'],
  example_weights: Shaped[Array, 'N'] | None,
  width: int,
  num_devices: int = 1,
) -> tuple[Float[Array, 'T B _'], Float[Array, 'T B']]:
  """Copies examples and their weights into blocks, on the host where it can be.

  Args:
    x: [N, D].
    example_weights: [N], or None for one each.
    width: the columns that the kernel makes per example.
    num_devices: to spread each block over.

  Returns:
    [T, B, D'] and [T, B], with D' the bucket of D.
  """
  n, d = x.shape
  if example_weights is None:
    example_weights = np.ones(n, jnp.result_type(float))
  # The examples' moments are made for a block, too.
  shape = block_shape(n, max(width, bucket(d)), num_devices)
  # Examples and dimensions at once: each padding by itself is a copy.
  padded = pad(as_float(x), (shape[0] * shape[1], bucket(d)), copy=True)
  weights = place_weights(example_weights, shape, None)
  return padded.reshape(*shape, bucket(d)), weights


def spread(
  placed: Float[Array, 'T B D'],
  weights: Float[Array, 'T B'],
  devices: Sequence | None,
) -> tuple[Float[Array, 'T B D'], Float[Array, 'T B']]:
  """Spreads blocks over devices, if there are any."""
  if devices is None:
    return placed, weights
  return (
    parallel.spread(placed, axis=1, devices=devices),
    parallel.spread(weights, axis=1, devices=devices),
  )


def place(
  x: Shaped[Array, 'N D'],
  example_weights: Shaped[Array, 'N'] | None,
  width: int,
  devices: Sequence | None,
) -> tuple[Float[Array, 'T B _'], Float[Array, 'T B']]:
  """Examples and their weights in blocks, as `cut` and `spread` make them."""
  num_devices = 1 if devices is None else len(devices)
  return spread(*cut(x, example_weights, width, num_devices), devices)


def key_kind(keys: Array) -> str:
  """The generator of typed keys; the default one for raw keys."""
  if jnp.issubdtype(keys.dtype, jax.dtypes.prng_key):
    return str(jax.random.key_impl(keys))
  # JAX makes its settings attributes when it runs.
  return jax.config.jax_default_prng_impl  # pyright: ignore


def raw(keys: Array) -> Array:
  """The words of a key; on the host where they can be, for any device."""
  if jnp.issubdtype(keys.dtype, jax.dtypes.prng_key):
    keys = jax.random.key_data(keys)
  return keys if is_traced(keys) else np.asarray(keys)


def check(x: Any, num_components: int, example_weights: Any) -> None:
  """Refuses what no mixture or clustering can be fitted to."""
  shape = np.shape(x)
  if len(shape) != 2 or 0 in shape:
    raise ValueError(f'Expected examples of shape [N, D], got {shape}.')
  if not 1 <= num_components <= shape[0]:
    raise ValueError(
      f'{num_components} components for {shape[0]} examples: choose between '
      f'1 and {shape[0]}.'
    )
  if example_weights is not None and np.shape(example_weights) != shape[:1]:
    raise ValueError(
      f'Expected one weight for each of {shape[0]} examples, got '
      f'{np.shape(example_weights)}.'
    )
