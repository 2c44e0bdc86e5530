# SPDX-License-Identifier: Apache-2.0
"""How a run is ended by Ctrl-C, or by the SIGTERM of a preemption.

Both raise KeyboardInterrupt where the program is, and are remembered: raised
within a callback of JAX it is swallowed there, and `check` raises it again.
"""

import contextlib
import signal
import threading
from collections.abc import Iterator

_SIGNALS = (signal.SIGINT, signal.SIGTERM)

_asked = threading.Event()


class Interrupted(Exception):
  """A run was ended early; the same command goes on from what was done."""


def _remember(*unused) -> None:
  _asked.set()
  raise KeyboardInterrupt


@contextlib.contextmanager
def handled() -> Iterator[None]:
  """Has both signals handled for as long as the block lasts."""
  if threading.current_thread() is not threading.main_thread():
    yield  # Python handles signals in the main thread alone.
    return
  _asked.clear()
  before = {number: signal.signal(number, _remember) for number in _SIGNALS}
  try:
    yield
  finally:
    for number, handler in before.items():
      signal.signal(number, handler)


def check() -> None:
  """Raises KeyboardInterrupt if a signal came and was lost."""
  if _asked.is_set():
    _asked.clear()
    raise KeyboardInterrupt
