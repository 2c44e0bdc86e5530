# SPDX-License-Identifier: Apache-2.0
"""Functions that `jax.export` wrote: made, and found to be what is expected.

A program in StableHLO is data, but for calls of what the machine has: callbacks
into Python, kernels, libraries. Those are refused, here and when one is made.
XLA's parser, in C++, crashes on some bytes that no JAX has written. A file's
digest keeps those of accidents from it, not those that were forged.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.extend.core
import jax.numpy as jnp
import numpy as np
from jax import export
from jax.extend import mlir
from jax.extend.mlir import ir
from jax.interpreters import mlir as contexts

from neucrab_jax.models import exported

_CHANNELS = 3

# What XLA or JAX themselves make of a call, wherever it runs.
_HARMLESS_CALLS = {
  'ApproxTopK',
  'Sharding',
  'mhlo.topk',
  'shape_assertion',
  'stablehlo.dynamic_approx_top_k',
  'stablehlo.dynamic_reduce_window',
  'stablehlo.dynamic_rng_bit_generator',
  'stablehlo.dynamic_top_k',
}

# What would wait for, or talk to, another program.
_COMMUNICATION = {
  f'stablehlo.{name}' for name in ('infeed', 'outfeed', 'recv', 'send')
}


def _is_safe(operation: Any) -> bool:
  if operation.name in _COMMUNICATION:
    return False
  if not operation.name.endswith('.custom_call'):
    return True
  return _called(operation) in _HARMLESS_CALLS


def _called(operation: Any) -> str:
  if 'call_target_name' not in operation.attributes:
    return operation.name
  return ir.StringAttr(operation.attributes['call_target_name']).value


def _refused(function: export.Exported) -> list[str]:
  """What a program calls that is not computed by the program itself."""
  refused: list[str] = []

  def look(operation: Any) -> ir.WalkResult:
    if not _is_safe(operation):
      refused.append(_called(operation))
    return ir.WalkResult.ADVANCE

  with contexts.make_ir_context():
    module = mlir.deserialize_portable_artifact(function.mlir_module_serialized)
    if isinstance(module, str):  # Of JAX 0.8.
      module = ir.Module.parse(module)
    module.operation.walk(look)
  return sorted(set(refused))


def image_size(function: export.Exported) -> int:
  """The side of the images that a program takes.

  Raises:
    ValueError: if it takes anything but a free number of square images.
  """
  shapes = [given.shape for given in function.in_avals]
  if len(shapes) == 1 and len(shapes[0]) == 4:
    batch, height, width, channels = shapes[0]
    is_square = isinstance(height, int) and height == width
    is_free = not isinstance(batch, int)
    is_float = function.in_avals[0].dtype == np.float32
    if is_free and is_square and is_float and channels == _CHANNELS:
      return height
  given = ', '.join(map(str, function.in_avals)) or 'nothing'
  raise ValueError(
    f'it takes {given}, which is not float32[b, H, H, 3] with a free batch b'
  )


def _check_outputs(function: export.Exported) -> None:
  (images,) = function.in_avals
  expected = jax.tree.structure(tuple(function.out_avals))
  is_tuple = function.out_tree == expected
  if (
    is_tuple
    and len(expected.children()) in (1, 2)
    and all(
      len(given.shape) == 2
      and given.shape[0] == images.shape[0]
      and isinstance(given.shape[1], int)
      and given.dtype == np.float32
      for given in function.out_avals
    )
  ):
    return
  given = ', '.join(map(str, function.out_avals)) or 'nothing'
  raise ValueError(
    f'it gives {given}, which is neither features float32[b, D] nor these and '
    'logits float32[b, Z]'
  )


def _check_platform(function: export.Exported) -> None:
  here = jax.default_backend()
  if not {'gpu': {'cuda', 'rocm'}}.get(here, {here}) & set(function.platforms):
    raise ValueError(
      f'it was exported for {", ".join(function.platforms)}, and this is '
      f'{here}: export it with platforms that include it'
    )


def check(function: export.Exported) -> None:
  """Refuses what is no network, or would reach beyond itself.

  Raises:
    ValueError: if it is so.
  """
  image_size(function)
  _check_outputs(function)
  if function.nr_devices != 1:
    raise ValueError(
      f'it was exported for {function.nr_devices} devices together: export it '
      'for one'
    )
  if function.ordered_effects or function.unordered_effects:
    raise ValueError('it has side effects, such as printing')
  if refused := _refused(function):
    raise ValueError(
      f'it calls {", ".join(refused)}, which is outside of the program: '
      'callbacks, kernels and libraries are not run'
    )


def read(data: bytes, key: str) -> exported.Program:
  """The program that bytes are.

  Args:
    data: as `make` gives them.
    key: SHA-256 of them.

  Raises:
    ValueError: if they are none, or one that cannot be used here.
  """
  try:
    function = export.deserialize(bytearray(data))
  except Exception as error:  # Whatever wrong bytes provoke in JAX.
    raise ValueError(
      f'JAX {jax.__version__} cannot read it: {type(error).__name__} {error}'
    ) from error
  try:
    check(function)
  except ValueError:
    raise
  except Exception as error:  # Of the parser of programs.
    raise ValueError(f'its program cannot be read: {error}') from error
  _check_platform(function)
  return exported.Program(function, key)


def _as_tuple(found: Any) -> tuple[Any, ...]:
  """Features, or features and logits.

  Raises:
    ValueError: if it is something else.
  """
  outputs = tuple(found) if isinstance(found, tuple | list) else (found,)
  outputs = tuple(each for each in outputs if each is not None)
  shapes = [getattr(each, 'shape', None) for each in outputs]
  if not 1 <= len(outputs) <= 2 or any(
    shape is None or len(shape) != 2 for shape in shapes
  ):
    given = jax.tree.map(lambda each: each.shape, found)
    raise ValueError(
      'The function must give features [B, D], or (features, logits); it gives '
      f'{given}. Of maps take the mean over all positions.'
    )
  return outputs


def _constants(jaxpr: Any) -> Iterator[Any]:
  """What a traced function has closed over, at any depth."""
  if isinstance(jaxpr, jax.extend.core.ClosedJaxpr):
    yield from jaxpr.consts
    jaxpr = jaxpr.jaxpr
  kinds = (jax.extend.core.ClosedJaxpr, jax.extend.core.Jaxpr)
  for equation in jaxpr.eqns:
    for value in jax.tree.leaves(
      list(equation.params.values()), is_leaf=lambda v: isinstance(v, kinds)
    ):
      if isinstance(value, kinds):
        yield from _constants(value)


def _count(traced: Any) -> int:
  """How many floats are in the weights of a traced function."""
  weights = {id(each): each for each in _constants(traced)}
  return sum(
    np.size(each)
    for each in weights.values()
    if jnp.issubdtype(each.dtype, jnp.floating)
  )


def _first_line(error: Exception) -> str:
  line = str(error).strip().split('\n')[0].rstrip('.:')
  return f'{type(error).__name__}: {line}.'


@contextlib.contextmanager
def _without_paths() -> Iterator[None]:
  """Keeps paths of this machine's code out of a program.

  So the same function also gives the same program.
  """
  setting = 'jax_traceback_in_locations_limit'
  before = jax.config.values[setting]
  jax.config.update(setting, 0)
  try:
    yield
  finally:
    jax.config.update(setting, before)


class Counts(NamedTuple):
  """What a function takes.

  Attributes:
    num_parameters: how many floats its weights are.
    flops: XLA's count for one image; None if it has none.
  """

  num_parameters: int
  flops: float | None


def make(
  function: Callable[[jax.Array], Any], size: int, platforms: Sequence[str]
) -> tuple[bytes, Counts]:
  """Exports a function of images.

  Args:
    function: from f32 [B, H, W, 3] to features, or features and logits.
    size: H and W.
    platforms: as `jax.export` calls them.

  Returns:
    The program as bytes, and what it takes.

  Raises:
    ValueError: if it cannot be exported, or `check` refuses it.
  """
  (batch,) = export.symbolic_shape('b')
  images = jax.ShapeDtypeStruct((batch, size, size, _CHANNELS), jnp.float32)

  def wrapped(images: jax.Array) -> tuple[jax.Array, ...]:
    outputs = _as_tuple(function(images))
    return tuple(each.astype(jnp.float32) for each in outputs)

  try:
    found = jax.eval_shape(function, images)
  except Exception as error:
    raise ValueError(
      f'The function cannot take images {list(images.shape)}: '
      f'{_first_line(error)} If it depends on the size of the batch b, give '
      'jax.vmap(lambda image: function(image[None])[0]).'
    ) from error
  _as_tuple(found)
  try:
    with _without_paths():
      made = export.export(jax.jit(wrapped), platforms=platforms)(images)
  except Exception as error:
    raise ValueError(
      f'The function cannot be exported for {", ".join(platforms)}: '
      f'{_first_line(error)} Leave out callbacks and kernels, or choose other '
      'platforms.'
    ) from error
  try:
    check(made)
  except ValueError as error:
    raise ValueError(f'The function cannot be exported: {error}.') from None
  image = jax.ShapeDtypeStruct((1, *images.shape[1:]), jnp.float32)
  cost = jax.jit(wrapped).lower(image).cost_analysis() or {}
  counts = Counts(_count(jax.make_jaxpr(wrapped)(images)), cost.get('flops'))
  return bytes(made.serialize()), counts
