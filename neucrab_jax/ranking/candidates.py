# SPDX-License-Identifier: Apache-2.0
"""What a run ranks, and how to get the features of each.

Candidates are checkpoints, which `networks` restores, or `feature_files`, which
other frameworks wrote.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from neucrab_jax import environment, features
from neucrab_jax.ranking import record

# Called with how many examples are done since the last call.
Advance = Callable[[int], None]


class Compute(Protocol):
  """Gets the features of a candidate, of all examples or the part given."""

  def __call__(
    self, advance: Advance, part: features.Prefix | None = None, /
  ) -> 'Computed': ...


@dataclasses.dataclass(frozen=True)
class Computed:
  """What there is of one candidate, and how it came about.

  Attributes:
    features: of its checkpoint.
    seconds: by step, such as 'restore' and 'extract'.
    cached: whether they were found in the cache.
    about: what is known of the checkpoint as a whole, such as num_parameters,
      and how to train it, for the measures that take it.
    warnings: what a reader of the result should know.
    source: where the checkpoint was downloaded from, if it was.
    network: what made the features, if this program did.
  """

  features: features.Features
  seconds: Mapping[str, float]
  cached: bool
  about: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  warnings: tuple[str, ...] = ()
  source: environment.Source | None = None
  network: environment.Network | None = None

  def inputs(self) -> dict[str, Any]:
    """All that a measure can be given."""
    return {
      'features': self.features.features,
      'labels': self.features.labels,
      'source_probs': self.features.source_probs,
      **self.about,
    }


def of_part(computed: Computed, part: features.Prefix | None) -> Computed:
  """The same with the features of a part of the examples alone."""
  if part is None:
    return computed
  return dataclasses.replace(
    computed, features=computed.features.take(part.rows)
  )


@dataclasses.dataclass(frozen=True)
class Candidate:
  """One row of the ranking to be.

  Attributes:
    name: of the checkpoint.
    size: how many times its `compute` will advance the progress.
    compute: gets the features.
    prepare: begins what it will need, while others are computed; again, does
      nothing.
    part: of the examples, that its `compute` is of; None for all.
  """

  name: str
  size: int
  compute: Compute
  prepare: Callable[[], None] = lambda: None
  part: features.Prefix | None = None


@dataclasses.dataclass(frozen=True)
class Candidates:
  """All that a run ranks, on the same examples.

  Attributes:
    task: its description, as `ranking.json` has it.
    candidates: in the order given.
    labels: [N], of the examples.
  """

  task: record.Task
  candidates: tuple[Candidate, ...]
  labels: np.ndarray

  @property
  def size(self) -> int:
    """How many times all of them advance the progress."""
    return sum(candidate.size for candidate in self.candidates)
