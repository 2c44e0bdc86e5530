# SPDX-License-Identifier: Apache-2.0
"""Compiles in half the time, to programs that run no faster.

For what runs once or twice. What XLA does with the optimisations that are left
out, all the other tests compile.
"""

import contextlib
from collections.abc import Callable, Iterator

import jax

_OPTIONS = {
  'xla_backend_optimization_level': 0,
  'xla_llvm_disable_expensive_passes': True,
}


def jit(function: Callable, **options) -> Callable:
  return jax.jit(function, compiler_options=_OPTIONS, **options)


@contextlib.contextmanager
def programs() -> Iterator[None]:
  """All that is compiled within."""
  jax.config.update('jax_disable_most_optimizations', True)
  try:
    yield
  finally:
    jax.config.update('jax_disable_most_optimizations', False)
