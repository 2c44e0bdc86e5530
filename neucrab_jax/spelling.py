# SPDX-License-Identifier: Apache-2.0
"""Names that users give: those that are not known, and how to show any."""

import difflib
from collections.abc import Iterable

# Below this, difflib's nearest name has nothing to do with the given one.
_RESEMBLANCE = 0.6


def nearest(name: str, known: Iterable[str]) -> str:
  """' Did you mean …?', or nothing if no known name resembles the given one."""
  matches = difflib.get_close_matches(name, known, n=1, cutoff=_RESEMBLANCE)
  return f' Did you mean {matches[0]!r}?' if matches else ''


def unknown(kind: str, name: str, known: Iterable[str]) -> ValueError:
  """The error for an unknown name: the known ones and the nearest."""
  known = tuple(known)
  return ValueError(
    f'Unknown {kind} {name!r}.{nearest(name, known)} Known: {", ".join(known)}.'
  )


def of_file(name: str) -> str:
  """The name of a file as text that can be written: it may be no UTF-8."""
  raw = name.encode(errors='surrogateescape')
  return raw.decode(errors='backslashreplace')


def visible(text: str) -> str:
  """A text from outside, its control characters as what they are called.

  So a name can neither colour a terminal nor break a line.
  """
  if text.isprintable():
    return text
  return ''.join(
    character
    if character.isprintable()
    else character.encode('unicode_escape').decode('ascii')
    for character in text
  )
