# SPDX-License-Identifier: Apache-2.0
"""What a ranking says of the race that made it."""

import msgspec


class Round(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
  """All who were left, scored on the same examples.

  Attributes:
    num_examples: those of the rounds before among them.
    checkpoints: how many were scored.
    left: how many stayed for the next round, or at the end.
  """

  num_examples: int
  checkpoints: int
  left: int


class Departure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
  """A checkpoint that was dropped, and why.

  Attributes:
    checkpoint: its name.
    num_examples: that it was scored on.
    in_top: the probability that it is among the best for all that.
  """

  checkpoint: str
  num_examples: int
  in_top: float


class Race(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
  """How a race went.

  Attributes:
    top: how many best were looked for.
    confidence: that none of them was dropped.
    rounds: in the order they were run.
    dropped: in the order they left.
    passes: images times checkpoints that were needed, cached or not.
    all_passes: of all checkpoints on all examples.
  """

  top: int
  confidence: float
  rounds: tuple[Round, ...]
  dropped: tuple[Departure, ...]
  passes: int
  all_passes: int
