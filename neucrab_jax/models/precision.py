# SPDX-License-Identifier: Apache-2.0
"""Networks in bfloat16: what takes their time, be they from whatever file.

A function of JAX is traced, and its convolutions and products of matrices take
and give bfloat16; what is between them stays f32, which costs little once it is
fused, and keeps norms and softmaxes exact.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.extend.core
import jax.numpy as jnp

# What a network may be run in.
DTYPES = ('float32', 'bfloat16')

_PRODUCTS = ('conv_general_dilated', 'dot_general')

# Calls of a traced function, by what their parameter is called. Loops and
# branches by values are no such ones, and run as they are.
_CALLS = ('jaxpr', 'call_jaxpr', 'fun_jaxpr')
_BRANCHING = ('cond', 'scan', 'while')
# What a branch has that is chosen by what it runs on.
_PLATFORMS = 'branches_platforms'


def _product(equation: Any, inputs: Sequence[Any]) -> Any:
  """A convolution or a product of matrices, in bfloat16."""
  parameters: Mapping[str, Any] = {
    **equation.params,
    'precision': None,
    'preferred_element_type': jnp.dtype(jnp.bfloat16),
  }
  narrow = [jnp.asarray(value, jnp.bfloat16) for value in inputs]
  return equation.primitive.bind(*narrow, **parameters).astype(jnp.float32)


def _called(equation: Any) -> tuple[Any, Sequence[Any]] | None:
  """The function that an equation calls, and its constants; None of others."""
  if equation.primitive.name in _BRANCHING:
    return None
  for name in _CALLS:
    found = equation.params.get(name)
    if isinstance(found, jax.extend.core.ClosedJaxpr):
      return found.jaxpr, found.consts
    if isinstance(found, jax.extend.core.Jaxpr):
      return found, ()
  return None


def _run_branch(branch: Any, *inputs: Any) -> list:
  return _run(branch.jaxpr, branch.consts, inputs)


def _by_platform(equation: Any, inputs: Sequence[Any]) -> Any:
  """A choice by what it runs on, as `jax.lax.platform_dependent` makes it."""
  chosen: dict[str, Any] = {'default': None}
  branches = equation.params['branches']
  for branch, names in zip(branches, equation.params[_PLATFORMS], strict=True):
    run = functools.partial(_run_branch, branch)
    chosen |= dict.fromkeys(names or ('default',), run)
  return jax.lax.platform_dependent(*inputs[1:], **chosen)


def _as_it_is(equation: Any, inputs: Sequence[Any]) -> Any:
  bound = equation.primitive.get_bind_params(equation.params)
  # Of JAX 0.8, the functions in it apart.
  functions, parameters = bound if isinstance(bound, tuple) else ((), bound)
  return equation.primitive.bind(*functions, *inputs, **parameters)


def _is_f32(variables: Sequence[Any]) -> bool:
  return all(variable.aval.dtype == jnp.float32 for variable in variables)


def _run(jaxpr: Any, constants: Sequence[Any], inputs: Sequence[Any]) -> list:
  """Computes a traced function."""
  known = dict(zip(jaxpr.constvars, constants, strict=True))
  known |= zip(jaxpr.invars, inputs, strict=True)

  def value(variable: Any) -> Any:
    if isinstance(variable, jax.extend.core.Literal):
      return variable.val
    return known[variable]

  for equation in jaxpr.eqns:
    given = list(map(value, equation.invars))
    name = equation.primitive.name
    if name in _PRODUCTS and _is_f32(equation.invars):
      found = _product(equation, given)
    elif equation.params.get(_PLATFORMS):
      found = _by_platform(equation, given)
    elif called := _called(equation):
      found = _run(*called, given)
    else:
      found = _as_it_is(equation, given)
    if not isinstance(found, list | tuple):
      found = [found]
    known |= zip(equation.outvars, found, strict=True)
  return list(map(value, jaxpr.outvars))


def in_bfloat16(function: Callable[..., Any]) -> Callable[..., Any]:
  """The same function of arrays, its products in bfloat16."""

  def narrowed(*arguments: Any) -> Any:
    traced, shape = jax.make_jaxpr(function, return_shape=True)(*arguments)
    found = _run(traced.jaxpr, traced.consts, jax.tree.leaves(arguments))
    return jax.tree.unflatten(jax.tree.structure(shape), found)

  return narrowed
