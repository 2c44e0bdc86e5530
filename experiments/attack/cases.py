# SPDX-License-Identifier: Apache-2.0
"""A case: an odd input, and what is right for it."""

import collections
import dataclasses
import math
import traceback
from collections.abc import Callable, Mapping
from typing import Any

# The outcomes, of which the last three are faults.
OUTCOMES = ('right', 'refused', 'traceback', 'wrong', 'hang')
FAULTS = OUTCOMES[2:]

# Sums in another order differ by so much, relative to the larger.
TOLERANCE = 2e-3

# What a refusal is at most; a page of text is no clear line.
_LONGEST_LINE = 4_100

# What an error of our own is called where it is told as text.
_INTERNAL = (
  'TypeError',
  'KeyError',
  'IndexError',
  'AttributeError',
  'AssertionError',
  'ZeroDivisionError',
  'RecursionError',
  'OverflowError',
  'NotImplementedError',
  'UnboundLocalError',
  'JaxRuntimeError',
  'XlaRuntimeError',
)


class RefusedError(Exception):
  """A command said that its input is bad."""


class FaultError(Exception):
  """The product did what it must not do, whatever the input."""


class _Anything:
  """Right is whatever comes out, if it is no traceback."""

  def __repr__(self):
    return 'anything'


class _Refusal:
  """Right is a refusal alone."""

  def __repr__(self):
    return 'a refusal'


ANYTHING, REFUSAL = _Anything(), _Refusal()


@dataclasses.dataclass(frozen=True)
class Case:
  """An odd input.

  Attributes:
    about: what is odd, for whoever has to look into it.
    act: runs it. Gives what came out, or raises what the product raised.
    right: what should come out: a value, `ANYTHING` or `REFUSAL`.
    may_refuse: whether a refusal is right too.
  """

  about: str
  act: Callable[[], Any]
  right: Any = ANYTHING
  may_refuse: bool = True


@dataclasses.dataclass(frozen=True)
class Outcome:
  """What came of a case: one of `OUTCOMES`, and details for a fault."""

  kind: str
  about: str = ''
  details: str = ''


def same(found: Any, right: Any) -> bool:
  """Whether two results are the same but for rounding."""
  if isinstance(right, Mapping):
    return (
      isinstance(found, Mapping)
      and list(sorted(found)) == list(sorted(right))
      and all(same(found[key], right[key]) for key in right)
    )
  if isinstance(right, float) and isinstance(found, float):
    return math.isclose(found, right, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
  return found == right


def check_line(line: str) -> None:
  """Checks that a refusal is one clear line.

  Raises:
    FaultError: if not.
  """
  if not line.strip():
    raise FaultError('It was refused without a word.')
  if 'Traceback' in line or line.startswith(_INTERNAL):
    raise FaultError(
      f'A fault of our own is told as if it were bad input: {line}'
    )
  if '\n' in line.strip() or len(line) > _LONGEST_LINE:
    raise FaultError(f'No clear line: {line}')


def run(case: Case) -> Outcome:
  """Runs a case and judges it."""
  try:
    found = case.act()
  except FaultError as error:
    return Outcome('traceback', case.about, str(error))
  except (RefusedError, ValueError, OSError) as error:
    try:
      check_line(str(error))
    except FaultError as fault:
      return Outcome('traceback', case.about, str(fault))
    if case.may_refuse:
      return Outcome('refused', case.about)
    return Outcome('wrong', case.about, f'refused: {error}')
  except Exception:
    return Outcome('traceback', case.about, traceback.format_exc())
  if case.right is REFUSAL:
    return Outcome('wrong', case.about, f'not refused, but {found!r}')
  if case.right is ANYTHING or same(found, case.right):
    return Outcome('right', case.about)
  return Outcome('wrong', case.about, f'{found!r} is not {case.right!r}')


class Table:
  """Counts of outcomes by route."""

  def __init__(self):
    self.counts: dict[str, collections.Counter] = {}
    self.faults: list[tuple[str, Outcome]] = []

  def add(self, route: str, outcome: Outcome) -> None:
    self.counts.setdefault(route, collections.Counter())[outcome.kind] += 1
    if outcome.kind in FAULTS:
      self.faults.append((route, outcome))

  def __str__(self) -> str:
    row = '{:16}' + '{:>11}' * len(OUTCOMES)
    lines = [row.format('route', *OUTCOMES)]
    total = collections.Counter()
    for route, counts in sorted(self.counts.items()):
      lines.append(row.format(route, *(counts[kind] for kind in OUTCOMES)))
      total += counts
    lines.append(row.format('all', *(total[kind] for kind in OUTCOMES)))
    return '\n'.join(lines)
