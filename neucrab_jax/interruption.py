# SPDX-License-Identifier: Apache-2.0
"""How a run is ended by Ctrl-C, or by the SIGTERM of a preemption.

Both raise KeyboardInterrupt where the program is, and are remembered: raised
within a callback of JAX it is swallowed there, and `check` raises it again.

A command imports this before all else: it imports little itself.
"""

import contextlib
import gc
import os
import signal
import sys
import threading
from collections.abc import Iterator

_SIGNALS = (signal.SIGINT, signal.SIGTERM)

_asked = threading.Event()


class Interrupted(Exception):
  """A run was ended early; the same command goes on from what was done."""


# What the console scripts of this package begin with.
_SCRIPT = 'neucrab-'
# The exit status of what a signal of the user ended.
STATUS = 130


def _leave(*unused) -> None:
  """Ends the process at once: raised in an import, it would be a traceback."""
  with contextlib.suppress(Exception):
    sys.stdout.flush()
  os._exit(STATUS)


def heed_from_start(module: str) -> None:
  """Has a command heed both signals while it is imported and parses flags.

  Called first of all by a command's module, which is imported by others, too;
  then this does nothing.

  Args:
    module: its `__name__`.
  """
  script = os.path.basename(sys.argv[0]) if sys.argv else ''
  if module != '__main__' and not script.startswith(_SCRIPT):
    return
  for number in _SIGNALS:
    # A shell's background jobs ignore Ctrl-C, and shall.
    if signal.getsignal(number) is not signal.SIG_IGN:
      signal.signal(number, _leave)
  # Nothing that is imported is garbage, and to look for it takes time;
  # `command_line.run_app` looks again.
  gc.disable()


# How many blocks, one within another, are to be ended first.
_deferring = 0


def _remember(*unused) -> None:
  _asked.set()
  if not _deferring:
    raise KeyboardInterrupt


@contextlib.contextmanager
def deferred() -> Iterator[None]:
  """Lets a short block come to its end before a signal is heeded.

  For what has threads of its own, which would go on without the program and
  complain of its end.
  """
  global _deferring
  _deferring += 1
  try:
    yield
  finally:
    _deferring -= 1
  if not _deferring:
    check()


def _quiet(unraisable: 'sys.UnraisableHookArgs') -> None:
  """Says nothing of an interrupt that Python had to drop: it comes again."""
  if not isinstance(unraisable.exc_value, KeyboardInterrupt):
    sys.__unraisablehook__(unraisable)


@contextlib.contextmanager
def handled() -> Iterator[None]:
  """Has both signals handled for as long as the block lasts."""
  if threading.current_thread() is not threading.main_thread():
    yield  # Python handles signals in the main thread alone.
    return
  _asked.clear()
  before = {number: signal.signal(number, _remember) for number in _SIGNALS}
  # Of a signal within a callback of the garbage collector, Python would print
  # a traceback.
  hook, sys.unraisablehook = sys.unraisablehook, _quiet
  try:
    yield
  finally:
    sys.unraisablehook = hook
    for number, handler in before.items():
      signal.signal(number, handler)
    # It ended this block, and is nothing to the next.
    _asked.clear()


def check() -> None:
  """Raises KeyboardInterrupt if a signal came and was lost."""
  if _asked.is_set():
    _asked.clear()
    raise KeyboardInterrupt
