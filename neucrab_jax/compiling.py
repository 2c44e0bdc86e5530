# SPDX-License-Identifier: Apache-2.0
"""How long a part of a program took, and how much of that was compiling.

JAX compiles when a function is first called, so that the first of several
networks would look slow.
"""

import contextlib
import contextvars
import dataclasses
import functools
import time
from collections.abc import Iterator

import jax

# What the names of JAX's events of tracing, lowering and compiling begin with.
_EVENTS = '/jax/core/compile/'

# When events began and ended, while somebody wants to know: of a thread, and of
# those that run in a copy of its context.
_spans: contextvars.ContextVar[list[tuple[float, float]] | None] = (
  contextvars.ContextVar('spans', default=None)
)


@dataclasses.dataclass
class Watch:
  """Seconds of a block; known when it ends.

  Attributes:
    running: without those of compiling.
    compiling: of all functions that were compiled in its context.
  """

  running: float = 0.0
  compiling: float = 0.0


def _note(event: str, duration_secs: float, **unused) -> None:
  spans = _spans.get()
  if spans is not None and event.startswith(_EVENTS):
    now = time.perf_counter()
    spans.append((now - duration_secs, now))


@functools.cache
def _listen() -> None:
  """JAX keeps a listener for as long as the process lasts."""
  jax.monitoring.register_event_duration_secs_listener(_note)


def _covered(spans: list[tuple[float, float]], *, since: float) -> float:
  """Seconds that are within any of the spans; those of parts are nested."""
  total, end = 0.0, since
  for start, stop in sorted(spans):
    total += max(stop - max(start, end), 0.0)
    end = max(end, stop)
  return total


@contextlib.contextmanager
def watched() -> Iterator[Watch]:
  """Times a block of this context, the compiling in it apart."""
  _listen()
  outer, spans = _spans.get(), []
  token = _spans.set(spans)
  watch, start = Watch(), time.perf_counter()
  try:
    yield watch
  finally:
    watch.compiling = _covered(spans, since=start)
    watch.running = time.perf_counter() - start - watch.compiling
    _spans.reset(token)
    if outer is not None:
      outer += spans
