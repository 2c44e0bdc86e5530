# SPDX-License-Identifier: Apache-2.0
import contextvars
import threading
import time
from concurrent import futures

import jax
import jax.numpy as jnp
import pytest

from neucrab_jax import compiling


def make_function(length):
  """One that no other test has compiled, of a part that is compiled, too."""
  part = jax.jit(lambda x: jnp.sin(x) @ x)
  return jax.jit(lambda x: part(x) + jnp.sum(x) * length)


def test_compiling_is_apart_and_happens_once():
  function, x = make_function(3), jnp.ones((7, 7))
  with compiling.watched() as first:
    start = time.perf_counter()
    function(x).block_until_ready()
    took = time.perf_counter() - start
  assert first.compiling > 0
  assert first.running >= 0
  assert first.running + first.compiling == pytest.approx(took, abs=0.05)
  with compiling.watched() as second:
    function(x).block_until_ready()
  assert second.compiling == 0


def test_what_an_inner_watch_saw_an_outer_one_did_too():
  with compiling.watched() as outer, compiling.watched() as inner:
    make_function(4)(jnp.ones((6, 6)))
  assert outer.compiling == pytest.approx(inner.compiling)


def test_other_threads_are_not_watched():
  other = threading.Thread(target=make_function(5), args=(jnp.ones((5, 5)),))
  with compiling.watched() as watch:
    other.start()
    other.join()
  assert watch.compiling == 0


@pytest.mark.parametrize(
  ('spans', 'covered'),
  [
    ([], 0),
    ([(1, 2), (4, 6)], 3),
    ([(1, 2), (0, 3)], 3),
    ([(-2, 1)], 1),
    ([(0, 2), (1, 3)], 3),
  ],
)
def test_what_is_nested_counts_once(spans, covered):
  assert compiling._covered(spans, since=0) == covered


def test_a_thread_in_a_copy_of_the_context_is_watched():
  with compiling.watched() as watch, futures.ThreadPoolExecutor(1) as pool:
    context = contextvars.copy_context()
    pool.submit(context.run, jax.jit(lambda x: x * 5 + 3), 1.0).result()
  assert watch.compiling > 0
