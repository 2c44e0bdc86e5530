# SPDX-License-Identifier: Apache-2.0
"""Pictures of points with names under the pointer, as elements of a page.

An evaluation's page has hundreds, which matplotlib would draw for seconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

# Lines across or up, at most.
_MOST_TICKS = 6
# Of a label: its height, what a letter takes, the way to its point, and how
# many letters there is room for.
LINE, LETTER, _BESIDE, _LETTERS = 14.0, 6.6, 12.0, 40
# How far aside labels go where there is no room beside their points.
_ASIDE = (0.0, 120.0, 240.0)


class Tick(NamedTuple):
  """A line across or up, and the number at its end."""

  place: float
  text: str


class Point(NamedTuple):
  """A checkpoint: where it is, what the pointer shows, and its style."""

  x: float
  y: float
  text: str
  style: str = ''


class Label(NamedTuple):
  """A text beside the point that it is of, with a line to it."""

  x: float
  y: float
  point: Point
  text: str
  anchor: str
  style: str = ''


class Bar(NamedTuple):
  """An interval of what is upwards."""

  x: float
  low: float
  high: float


class Mark(NamedTuple):
  """A line up at some place of the axis to the right, and what is there."""

  x: float
  text: str


class Frame(NamedTuple):
  """A picture's size and margins, in its own units."""

  width: float
  height: float
  left: float
  right: float
  top: float
  bottom: float


class Scale(NamedTuple):
  """From values, within `low` and `high`, to places."""

  low: float
  high: float
  start: float
  end: float
  is_log: bool = False

  def place(self, value: float) -> float:
    if self.is_log:
      share = math.log(value / self.low) / math.log(self.high / self.low)
    else:
      share = (value - self.low) / (self.high - self.low)
    return self.start + share * (self.end - self.start)

  def ticks(self, form: str) -> list[Tick]:
    """Lines at round numbers, which are written by a format such as '{:g}'."""
    numbers = _powers if self.is_log else _steps
    return [
      Tick(self.place(value), form.format(value))
      for value in numbers(self.low, self.high)
    ]


class Picture(NamedTuple):
  """Points in a frame.

  Attributes:
    about: what it shows, for those who can't see it.
    frame: its size and margins.
    points: in it.
    across: ticks of the axis to the right.
    up: ticks of the axis upwards.
    labels: of some of the points.
    bars: intervals of some of them.
    marks: on the axis to the right.
    title: above them.
    names: of the two axes.
  """

  about: str
  frame: Frame
  points: Sequence[Point]
  across: Sequence[Tick]
  up: Sequence[Tick]
  labels: Sequence[Label] = ()
  bars: Sequence[Bar] = ()
  marks: Sequence[Mark] = ()
  title: str = ''
  names: tuple[str, str] = ('', '')


def short(text: str) -> str:
  """A name that a picture has room for."""
  if len(text) <= _LETTERS:
    return text
  return f'{text[: _LETTERS // 2]}…{text[-_LETTERS // 2 :]}'


def labels(
  frame: Frame, named: Sequence[tuple[Point, str]], style: str = ''
) -> list[Label]:
  """Labels beside points, as near as they can be with none over another.

  Args:
    frame: of the picture.
    named: points of it, and what to call each.
    style: of all.
  """
  middle = (frame.left + frame.width - frame.right) / 2
  floor = frame.height - frame.bottom
  steps = range(int((floor - frame.top) / LINE) + 1)
  shifts = [sign * step * LINE for step in steps for sign in (-1, 1)]
  found: list[tuple[Label, float, float]] = []
  for point, name in sorted(named, key=lambda pair: pair[0].y):
    text = short(name)
    away = 1 if point.x < middle else -1

    def span(
      x: float, length: float = away * LETTER * len(text)
    ) -> tuple[float, float]:
      return min(x, x + length), max(x, x + length)

    def is_free(x: float, y: float, span: Callable = span) -> bool:
      start, end = span(x)
      return frame.top <= y <= floor and not any(
        abs(other.y - y) < LINE and start < right and left < end
        for other, left, right in found
      )

    places = [
      (point.x + away * (_BESIDE + aside), point.y + shift)
      for aside in _ASIDE
      for shift in shifts
    ]
    x, y = next((place for place in places if is_free(*place)), places[0])
    anchor = 'start' if away > 0 else 'end'
    found.append((Label(x, y, point, text, anchor, style), *span(x)))
  return [label for label, *_ in found]


def across(frame: Frame, low: float, high: float, *, is_log=False) -> Scale:
  """The axis to the right."""
  return Scale(low, high, frame.left, frame.width - frame.right, is_log)


def up(frame: Frame, low: float, high: float) -> Scale:
  """The axis upwards."""
  return Scale(low, high, frame.height - frame.bottom, frame.top)


def _steps(low: float, high: float) -> list[float]:
  """Round numbers within, at most so many."""
  span = high - low
  power = 10.0 ** math.floor(math.log10(span))
  sizes = [f * power for f in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)]
  step = next(size for size in sizes if span / size <= _MOST_TICKS)
  first, last = math.ceil(low / step), math.floor(high / step)
  return [number * step for number in range(first, last + 1)]


def _powers(low: float, high: float) -> list[float]:
  """1, 2 and 5 times the powers of ten within; of many the powers alone."""
  exponents = range(
    math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1
  )
  found = [f * 10.0**e for e in exponents for f in (1, 2, 5)]
  found = [value for value in found if low <= value <= high]
  if len(found) > _MOST_TICKS:
    found = [10.0**e for e in exponents if low <= 10.0**e <= high]
  return found
