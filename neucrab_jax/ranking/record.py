# SPDX-License-Identifier: Apache-2.0
"""The `Ranking` record and the `Score` records beside it, written and read.

A ranking is `ranking.json`, for people too `ranking.csv`; each score of it is a
file of its own, from which an interrupted run goes on.
"""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec
import numpy as np

from neucrab_jax import measures, storage
from neucrab_jax.environment import Environment
from neucrab_jax.ranking import confidence

SCHEMA = 2
# What the name of a step ends in, of which only the compiling is meant.
COMPILING = '_compiling'
FILE = 'ranking.json'

_TIED = 'Its score is shared: the order within the tie means nothing.'
# Seconds are for people: a millisecond is as fine as anyone reads.
_SECONDS_DIGITS = 3


class Score(
  msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True
):
  """What a measure says of one checkpoint, kept for the next run.

  Attributes:
    key: SHA-256 of all that the score depends on.
    score: larger is better.
    score_std: as the measure's `spread` says; None where there is none.
    score_stderr: how far the score of as many new examples, and of another
      seed, would be; None where nothing is random.
    influence: by example, as in `measures.Evaluation`; None if it was resampled
      instead, or sees no examples.
    noise: the part of `score_stderr` that is the measure's own randomness.
    resamples: the scores of resampled examples, if it was.
    seconds: that scoring took.
    warnings: what a reader should know.
    compile_seconds: that compiling for it took beside these.
  """

  key: str
  score: float
  score_std: float | None
  score_stderr: float | None
  influence: tuple[float, ...] | None
  noise: float
  resamples: tuple[float, ...]
  seconds: float
  warnings: tuple[str, ...]
  compile_seconds: float = 0.0

  @property
  def stderr(self) -> float | None:
    """What `confidence` asks for, as of a score that is no record yet."""
    return self.score_stderr

  def resampled(self) -> tuple[float, ...]:
    """What the score would be on resampled examples, () where not known."""
    if self.influence is None:
      return self.resamples
    return measures.first_order(
      self.score, np.asarray(self.influence), noise=self.noise
    )


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
    score: as in `Score`, like the next two.
    score_std: see `Score`.
    score_stderr: see `Score`.
    feature_dim: D.
    seconds: by step, such as 'restore', 'extract' and 'score'; of compiling for
      one, as 'extract_compiling', apart.
    cached: whether the features were found in the cache.
    fingerprint: SHA-256 of the features.
    warnings: what a reader should know.
    above_next: the probability that it truly scores above the next; None for
      the last, and where nothing is random.
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


class Ranking(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
  """`ranking.json`: checkpoints in the order in which a measure puts them."""

  schema: Literal[2]
  task: Task
  measure: Measure
  ranking: tuple[Entry, ...]
  order: confidence.Order | None
  skipped: tuple[Skip, ...]
  failed: tuple[Failure, ...]
  environment: Environment


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
  """

  checkpoint: str
  score: Score
  feature_dim: int
  seconds: Mapping[str, float]
  cached: bool
  fingerprint: str
  warnings: tuple[str, ...]


def in_order(
  scored: Sequence[Scored],
) -> tuple[tuple[Entry, ...], confidence.Order | None]:
  """Best first; equal scores stay in the order given, and say so.

  Returns:
    The places, and how sure each pair of them is; None where nothing is random.
  """
  ordered = sorted(scored, key=lambda s: -s.score.score)
  scores = [s.score.score for s in ordered]
  order = confidence.order({s.checkpoint: s.score for s in ordered})
  placed = []
  for place, one in enumerate(ordered):
    above_next = None
    if order is not None and place + 1 < len(ordered):
      above_next = order.above[place][place + 1]
    tied = (_TIED,) if scores.count(one.score.score) > 1 else ()
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


def to_csv(ranking: Ranking) -> str:
  """The places as CSV, with a column for the seconds of each step."""
  # In the order they were taken, each once.
  steps = dict.fromkeys(
    step for entry in ranking.ranking for step in entry.seconds
  )
  return storage.to_csv(
    [*_COLUMNS, *(f'seconds_{step}' for step in steps)],
    (
      [
        *(getattr(entry, column) for column in _COLUMNS),
        *(entry.seconds.get(step) for step in steps),
      ]
      for entry in ranking.ranking
    ),
  )


def write(folder: pathlib.Path, ranking: Ranking) -> None:
  """Writes `ranking.json` and `ranking.csv`."""
  storage.write_json(folder / FILE, ranking)
  storage.write_text(folder / 'ranking.csv', to_csv(ranking))


def score_path(folder: pathlib.Path, checkpoint: str) -> pathlib.Path:
  """Where the score of a checkpoint is, beside its ranking."""
  return folder / 'scores' / f'{storage.file_name(checkpoint)}.json'


def read_score(
  file: pathlib.Path, *, key: str
) -> tuple[Score | None, tuple[str, ...]]:
  """A score that was found before from the same features and settings.

  Returns:
    The score, or None if there is none that can be trusted; and what a reader
    of the ranking should know of that.
  """
  try:
    score = storage.read_sealed(file, Score)
  except FileNotFoundError:
    return None, ()
  except (OSError, storage.DamagedFileError) as error:
    return None, (f'{error} It is made again.',)
  return (score if score.key == key else None), ()


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
    beside = score_path(file.parent, entry.checkpoint)
    if beside.exists():
      try:
        score = storage.read_sealed(beside, Score)
      except storage.DamagedFileError as error:
        raise storage.DamagedFileError(
          f'{error} Rank once more, which makes it again.'
        ) from error
      if score.score == entry.score:
        resamples[entry.checkpoint] = score.resampled()
  return ranking, resamples
