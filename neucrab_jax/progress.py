# SPDX-License-Identifier: Apache-2.0
"""Progress bars on stderr, with the time that is left; the only place for them.

Of several processes only the first shows any.
"""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from rich import console as rich_console
from rich import markup, progress

from neucrab_jax import interruption, parallel, spelling

# A bar that only flashes up is worse than none.
_PATIENCE_SECONDS = 2.0

_Item = TypeVar('_Item')


def _plain(text: str) -> str:
  """A text whose brackets are no markup."""
  return markup.escape(spelling.visible(text))


def _left() -> tuple[progress.ProgressColumn, ...]:
  return (
    progress.TimeElapsedColumn(),
    progress.TextColumn('left'),
    progress.TimeRemainingColumn(),
  )


# The bars that are shown, of which there can be one set.
_shown: list[progress.Progress] = []


@contextlib.contextmanager
def _showing(bars: progress.Progress) -> Iterator[None]:
  with bars:
    _shown.append(bars)
    try:
      yield
    finally:
      _shown.remove(bars)


def _bars(*columns: progress.ProgressColumn, **options) -> progress.Progress:
  return progress.Progress(
    progress.TextColumn('{task.description}'),
    progress.BarColumn(),
    *columns,
    console=rich_console.Console(stderr=True),
    disable=not parallel.is_primary(),
    **options,
  )


@dataclasses.dataclass(frozen=True)
class Bar:
  """Where a run says what it does, and how much more of it is done."""

  describe: Callable[[str], None]
  advance: Callable[[int], None]
  say: Callable[[str], None]  # Prints a line above the bar.


def headed(shown: Bar, heading: str) -> Bar:
  """The bar, with a heading before all that it says of what a run does."""
  return dataclasses.replace(
    shown, describe=lambda text: shown.describe(f'{heading}: {text}')
  )


@contextlib.contextmanager
def bar(total: int) -> Iterator[Bar]:
  """A bar from nothing to `total`, with the time that is left."""
  bars = _bars(progress.TaskProgressColumn(), *_left())
  with _showing(bars):
    task = bars.add_task('', total=total)

    def advance(count: int) -> None:
      interruption.check()
      bars.advance(task, count)

    def say(text: str) -> None:
      if parallel.is_primary():
        bars.console.print(_plain(text), soft_wrap=True)

    yield Bar(
      lambda text: bars.update(task, description=_plain(text)), advance, say
    )
    bars.update(task, description='done', completed=total)


class NestedBars:
  """One bar over the whole run and one over the part of it at hand."""

  def __init__(self, *, description: str, names: int, steps: int):
    """Makes the bars; `showing` shows them.

    Args:
      description: of the whole.
      names: how many parts there are to `finish`.
      steps: of each of them.
    """
    self._bars = _bars(progress.MofNCompleteColumn(), *_left())
    self._whole = self._bars.add_task(description, total=steps * names)
    self._part = self._bars.add_task('', total=None)
    self._steps = steps
    self._finished = 0

  @contextlib.contextmanager
  def showing(self) -> Iterator[None]:
    with _showing(self._bars):
      yield

  def begin(self, description: str, *, steps: int) -> None:
    """Starts over the bar of the part at hand."""
    self._bars.reset(self._part, total=steps, description=_plain(description))

  def advance(self, steps: int) -> None:
    interruption.check()
    self._bars.advance(self._part, steps)
    self._bars.advance(self._whole, steps)

  def finish(self, name: str) -> None:
    """A part is done, by whatever way."""
    self._finished += self._steps
    # Of others, steps may be done that are not finished.
    done = max(self._finished, self._bars.tasks[self._whole].completed)
    self._bars.update(
      self._whole,
      completed=done,
      description=f'{_plain(name)} is done',
    )

  def say(self, text: str) -> None:
    """Prints a line above the bars."""
    self._bars.console.print(_plain(text), soft_wrap=True)


@contextlib.contextmanager
def downloads() -> Iterator[Callable[[str], Callable[[int, int | None], None]]]:
  """Gives what makes the bar of a file, called with its bytes, and in all."""
  bars = _bars(
    progress.DownloadColumn(),
    progress.TransferSpeedColumn(),
    progress.TimeRemainingColumn(),
  )

  def add(name: str) -> Callable[[int, int | None], None]:
    task = bars.add_task(_plain(name), total=None)

    def report(done: int, total: int | None) -> None:
      bars.update(task, completed=done, total=total)

    return report

  with _showing(bars):
    yield add


@contextlib.contextmanager
def download(name: str) -> Iterator[Callable[[int, int | None], None]]:
  """Gives what tells of a file how many bytes are there, and of how many.

  Its bar is one more of those that are shown, or else there by itself; it goes
  when the file is there.
  """
  with contextlib.ExitStack() as stack:
    if not _shown:
      stack.enter_context(downloads())
    bars = _shown[-1]
    task = bars.add_task(_plain(name), total=None)
    stack.callback(bars.remove_task, task)

    def report(done: int, total: int | None) -> None:
      interruption.check()
      bars.update(task, completed=done, total=total)

    yield report


def track(
  items: Iterable[_Item], *, total: int | None, description: str
) -> Iterator[_Item]:
  """Goes through items, with a bar on a terminal's stderr once it takes long.

  Args:
    items: what to go through.
    total: how many there are, or None if nobody knows.
    description: what is being done.
  """
  bars = _bars(progress.TaskProgressColumn(), *_left(), transient=True)
  counter = bars.add_task(_plain(description), total=total)
  started = time.monotonic()
  shown = False
  try:
    for item in items:
      yield item
      bars.advance(counter)
      late = time.monotonic() - started > _PATIENCE_SECONDS
      if late and not shown and bars.console.is_terminal:
        bars.start()
        shown = True
  finally:
    if shown:
      bars.stop()
