# SPDX-License-Identifier: Apache-2.0
"""A progress bar for passes over a task that turn out to be long."""

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich import console as rich_console
from rich import progress

# A bar that only flashes up is worse than none.
_PATIENCE_SECONDS = 2.0

_Item = TypeVar('_Item')


def track(
  items: Iterable[_Item], *, total: int | None, description: str
) -> Iterator[_Item]:
  """Goes through items, with a bar on a terminal's stderr once it takes long.

  Args:
    items: what to go through.
    total: how many there are, or None if nobody knows.
    description: what is being done.
  """
  console = rich_console.Console(stderr=True)
  bar = progress.Progress(console=console, transient=True)
  counter = bar.add_task(description, total=total)
  started = time.monotonic()
  shown = False
  try:
    for item in items:
      yield item
      bar.advance(counter)
      late = time.monotonic() - started > _PATIENCE_SECONDS
      if late and not shown and console.is_terminal:
        bar.start()
        shown = True
  finally:
    if shown:
      bar.stop()
