# SPDX-License-Identifier: Apache-2.0
"""Agreements with true accuracies, as a colour, and against what they cost."""

from collections.abc import Mapping, Sequence
from typing import Any

from neucrab_jax.reports import points

_RED, _WHITE, _BLUE = (178, 24, 43), (247, 247, 247), (33, 102, 172)
# From here on black can't be read any more.
_DARK = 0.6

_FRAME = points.Frame(
  width=720, height=360, left=60, right=20, top=14, bottom=46
)


def shade(value: float | None) -> str:
  """A background for an agreement from −1, red, to 1, blue, as CSS."""
  if value is None:
    return 'none'
  mixed = (
    round(white + (end - white) * abs(value))
    for white, end in zip(_WHITE, _BLUE if value > 0 else _RED, strict=True)
  )
  return f'rgb({" ".join(map(str, mixed))})'


def ink(value: float | None) -> str:
  """The colour of a number on `shade`."""
  return '#fff' if value is not None and abs(value) > _DARK else '#1c2430'


def against_cost(
  rows: Sequence[Mapping[str, Any]], *, unit: str, fine_tuning: float | None
) -> points.Picture:
  """Agreement against what it costs, with fine-tuning as the far end.

  Args:
    rows: each with `name`, `cost`, and `low`, `tau` and `high`.
    unit: of the cost.
    fine_tuning: its cost, if known.
  """
  ends = [row['cost'] for row in rows if row['cost'] > 0] or [1.0]
  ends += [fine_tuning] if fine_tuning else []
  least, most = min(ends), max(ends)
  # A sixth of the way more on either side, for the names.
  room = max(most / least, 10.0) ** (1 / 6)
  x = points.across(_FRAME, least / room, most * room, is_log=True)
  spans = [(r['low'], r['high']) for r in rows if r['low'] is not None]
  values = [r['tau'] for r in rows] + [end for span in spans for end in span]
  margin = (max(values) - min(values)) / 20 or 0.1
  y = points.up(_FRAME, min(values) - margin, max(values) + margin)
  places = [
    points.Point(
      x.place(max(row['cost'], least)),
      y.place(row['tau']),
      f'{row["name"]}: {row["tau"]:.2f}, {row["cost"]:.3g} {unit}',
    )
    for row in rows
  ]
  return points.Picture(
    f'agreement against {unit}',
    _FRAME,
    places,
    across=x.ticks('{:g}'),
    up=y.ticks('{:.2g}'),
    labels=points.labels(
      _FRAME,
      [(point, row['name']) for point, row in zip(places, rows, strict=True)],
    ),
    bars=[
      points.Bar(point.x, y.place(row['low']), y.place(row['high']))
      for point, row in zip(places, rows, strict=True)
      if row['low'] is not None
    ],
    marks=[points.Mark(x.place(fine_tuning), 'fine-tuning')]
    if fine_tuning
    else [],
    names=(f'{unit} per checkpoint', 'Kendall τ with the accuracies'),
  )
