# SPDX-License-Identifier: Apache-2.0
"""The `Ranking` record, written and read.

It is `ranking.json`, for people too `ranking.csv` and `report.html`; each score
of it is a file of its own (`score_record`).
"""

import collections
import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal

import msgspec

from neucrab_jax import storage
from neucrab_jax.environment import Environment, Network, Source
from neucrab_jax.ranking import confidence, race_record, score_record
from neucrab_jax.reports import ranking_page

SCHEMA = 2
# What the name of a step ends in, of which only the compiling is meant.
COMPILING = '_compiling'
FILE = 'ranking.json'

_TIED = 'Its score is shared: the order within the tie means nothing.'
# Seconds are for people: a millisecond is as fine as anyone reads.
_SECONDS_DIGITS = 3


class Task(
  msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True
):
  """The examples that checkpoints were ranked on.

  Attributes:
    name: of the task.
    split: of it.
    num_examples: N.
    num_classes: C.
    fingerprint: SHA-256 of the examples.
    num_damaged: images of the split that were left out, as they are damaged.
    split_fingerprint: SHA-256 of all examples of the split, where known.
  """

  name: str
  split: str
  num_examples: int
  num_classes: int
  fingerprint: str
  num_damaged: int = 0
  split_fingerprint: str = ''

  @property
  def data(self) -> frozenset[str]:
    """Digests of the data, by which it is known again under another name."""
    digests = self.fingerprint, self.split_fingerprint
    return frozenset(filter(None, digests))


class Measure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
  """What ranked.

  Attributes:
    name: one of `measures.names()`.
    variant: which of its published forms, in words.
    spread: what `score_std` is, in words.
    options: all of them.
    num_resamples: of the examples; 0 for an uncertainty to first order.
  """

  name: str
  variant: str
  spread: str
  options: dict[str, Any]
  num_resamples: int


class Entry(
  msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True
):
  """A checkpoint's place.

  Attributes:
    rank: from 1.
    checkpoint: its name.
    score: as in `score_record.Score`, like the next two.
    score_std: see there.
    score_stderr: see there.
    feature_dim: D.
    seconds: by step, such as 'restore', 'extract' and 'score'; of compiling for
      one, as 'extract_compiling', apart.
    cached: whether the features were found in the cache.
    fingerprint: SHA-256 of the features.
    warnings: what a reader should know.
    above_next: the probability that it truly scores above the next; None for
      the last, and where nothing is random.
    source: of the checkpoint, where it was downloaded: its commit and the
      digests of its files.
    num_examples: that it was scored on, if it left a race before its end.
    network: what made the features; None of files of features.
  """

  rank: int
  checkpoint: str
  score: float
  score_std: float | None
  score_stderr: float | None
  feature_dim: int
  seconds: dict[str, float]
  cached: bool
  fingerprint: str
  warnings: tuple[str, ...]
  above_next: float | None = None
  source: Source | None = None
  num_examples: int | None = None
  network: Network | None = None

  @property
  def compile_seconds(self) -> float:
    """Of all steps; the first network of an architecture has most of them."""
    steps = self.seconds.items()
    return sum(value for step, value in steps if step.endswith(COMPILING))


class Skip(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
  """A checkpoint that one measure of several does not apply to, and why."""

  checkpoint: str
  reason: str


class Failure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
  """A checkpoint that could not be scored, and why."""

  checkpoint: str
  error: str


class Ranking(
  msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True
):
  """`ranking.json`: checkpoints in the order in which a measure puts them.

  In a notebook it shows itself as a table. Those that a race dropped are below
  the others, whatever their scores, which are of fewer examples.
  """

  schema: Literal[2]
  task: Task
  measure: Measure
  ranking: tuple[Entry, ...]
  order: confidence.Order | None
  skipped: tuple[Skip, ...]
  failed: tuple[Failure, ...]
  environment: Environment
  race: race_record.Race | None = None

  @property
  def best(self) -> str:
    """The checkpoint that comes first.

    Raises:
      ValueError: if none could be scored.
    """
    if not self.ranking:
      raise ValueError(
        'No checkpoint could be scored'
        + ''.join(f'; {f.checkpoint}: {f.error}' for f in self.failed)
      )
    return self.ranking[0].checkpoint

  def to_pandas(self) -> Any:
    """A DataFrame of the columns of `ranking.csv`, which needs pandas."""
    import pandas as pd

    header, rows = _rows(self)
    return pd.DataFrame(rows, columns=header)

  def save(self, folder: str) -> None:
    """Writes `ranking.json`, `ranking.csv` and `report.html` into a folder."""
    opened = storage.open_workdir(folder)
    write(opened, self)
    page = ranking_page.render([self], config={})
    storage.write_text(opened / 'report.html', page)

  def _repr_html_(self) -> str:
    return ranking_page.render_table(self)


@dataclasses.dataclass(frozen=True)
class Scored:
  """A checkpoint that was scored, and has no place yet.

  Attributes:
    checkpoint: its name.
    score: by the measure.
    feature_dim: D.
    seconds: by step, without scoring.
    cached: whether the features were found in the cache.
    fingerprint: SHA-256 of the features.
    warnings: about the features.
    source: where the checkpoint was downloaded from, if it was.
    network: what made the features, if this program did.
  """

  checkpoint: str
  score: score_record.Score
  feature_dim: int
  seconds: Mapping[str, float]
  cached: bool
  fingerprint: str
  warnings: tuple[str, ...]
  source: Source | None = None
  network: Network | None = None


def in_order(
  scored: Sequence[Scored],
  dropped: Sequence[Scored] = (),
  num_examples: Mapping[str, int] = MappingProxyType({}),
) -> tuple[tuple[Entry, ...], confidence.Order | None]:
  """Best first; equal scores stay in the order given, and say so.

  Args:
    scored: on the same examples.
    dropped: by a race, to be placed below those, in the order given.
    num_examples: that each of the dropped was scored on.

  Returns:
    The places, and how sure each pair of those scored is; None where nothing is
    random.
  """
  ordered = sorted(scored, key=lambda s: -s.score.score)
  counts = collections.Counter(s.score.score for s in ordered)
  order = confidence.order({s.checkpoint: s.score for s in ordered})
  placed = []
  for place, one in enumerate((*ordered, *dropped)):
    above_next = None
    if order is not None and place + 1 < len(ordered):
      above_next = order.above[place][place + 1]
    is_tied = place < len(ordered) and counts[one.score.score] > 1
    tied = (_TIED,) if is_tied else ()
    seconds = {
      **one.seconds,
      'score': one.score.seconds,
      f'score{COMPILING}': one.score.compile_seconds,
    }
    placed.append(
      Entry(
        rank=place + 1,
        checkpoint=one.checkpoint,
        score=one.score.score,
        score_std=one.score.score_std,
        score_stderr=one.score.score_stderr,
        feature_dim=one.feature_dim,
        seconds={
          step: round(value, _SECONDS_DIGITS)
          for step, value in seconds.items()
          # Most are spared it by those before them.
          if value or not step.endswith(COMPILING)
        },
        cached=one.cached,
        fingerprint=one.fingerprint,
        warnings=(*one.warnings, *one.score.warnings, *tied),
        above_next=above_next,
        source=one.source,
        network=one.network,
        num_examples=num_examples.get(one.checkpoint),
      )
    )
  return tuple(placed), order


_COLUMNS = (
  'rank',
  'checkpoint',
  'score',
  'score_std',
  'score_stderr',
  'above_next',
  'feature_dim',
  'cached',
)


_OF_NETWORK = ('num_parameters', 'num_bytes', 'flops', 'dtype')


def _rows(ranking: Ranking) -> tuple[list[str], list[list[Any]]]:
  """The places, with a column for the seconds of each step."""
  # In the order they were taken, each once.
  steps = dict.fromkeys(
    step for entry in ranking.ranking for step in entry.seconds
  )
  columns = (*_COLUMNS, 'num_examples') if ranking.race else _COLUMNS
  networks = [entry.network for entry in ranking.ranking]
  of_network = _OF_NETWORK if any(networks) else ()
  header = [*columns, *of_network, *(f'seconds_{step}' for step in steps)]
  return header, [
    [
      *(getattr(entry, column) for column in columns),
      *(getattr(entry.network, column, None) for column in of_network),
      *(entry.seconds.get(step) for step in steps),
    ]
    for entry in ranking.ranking
  ]


def write(folder: pathlib.Path, ranking: Ranking) -> None:
  """Writes `ranking.json` and `ranking.csv`."""
  storage.write_json(folder / FILE, ranking)
  table = storage.to_csv(*_rows(ranking))
  storage.write_text(folder / 'ranking.csv', table)


def read(file: pathlib.Path) -> tuple[Ranking, dict[str, tuple[float, ...]]]:
  """Reads a ranking, and the resampled scores that lie beside it.

  Args:
    file: a `ranking.json`.

  Returns:
    The ranking, and by checkpoint the resamples of the score that it has there.

  Raises:
    DamagedFileError: if a file is not what it should be.
  """
  ranking = storage.read_json(file, Ranking)
  resamples = {}
  for entry in ranking.ranking:
    beside = score_record.path(file.parent, entry.checkpoint)
    if beside.exists():
      try:
        score = storage.read_sealed(beside, score_record.Score)
      except storage.DamagedFileError as error:
        raise storage.DamagedFileError(
          f'{error} Rank once more, which makes it again.'
        ) from error
      if score.score == entry.score:
        resamples[entry.checkpoint] = score.resampled()
  return ranking, resamples
