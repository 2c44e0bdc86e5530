# SPDX-License-Identifier: Apache-2.0
"""Runs checkpoints on few examples, and on more only who may be among the best.

After each round all who are left are scored on the same examples, a stratified
beginning of one order. How sure their order is says who can be dropped, long
before it was run on all of them.

Axes: N examples.
"""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np

from neucrab_jax import features, measures, parallel, progress
from neucrab_jax.ranking import (
  candidates,
  dropping,
  race_record,
  record,
  rounds,
  scoring,
)
from neucrab_jax.typing import Config

_PROBABILITY_DIGITS = 6


@dataclasses.dataclass(frozen=True)
class Settings:
  """What a race looks for.

  Attributes:
    top: how many best.
    confidence: that none of them is dropped.
    seed: of the order of the examples.
  """

  top: int
  confidence: float
  seed: int


def settings(config: Config, chosen: Sequence[str]) -> Settings | None:
  """What the config says of a race, checked; None if there is none.

  Args:
    config: of a ranking.
    chosen: the measures.

  Raises:
    ValueError: if there can be no such race.
  """
  given = config.get('race')
  if given is None or not given.top:
    return None
  if given.top < 0:
    raise ValueError(
      f'race.top must be at least 0, which is no race, and is {given.top}.'
    )
  if not 0.5 <= given.confidence < 1:
    raise ValueError(
      'race.confidence must be at least 0.5 and below 1, but is '
      f'{given.confidence}.'
    )
  measures.check_seed(given.seed)
  if len(chosen) > 1:
    raise ValueError(
      f'A race is by one measure, and not by {", ".join(chosen)}. Take one, '
      'or --config.race.top=0.'
    )
  (name,) = chosen
  if not measures.sees_examples(name) or measures.trains(name):
    raise ValueError(
      f'No race can be by {name}, which does not score features of examples. '
      'Take another measure, or --config.race.top=0.'
    )
  return Settings(given.top, float(given.confidence), int(given.seed))


def sized(found: candidates.Candidates) -> candidates.Candidates:
  """The candidates as a race's bar counts them, in images."""
  return dataclasses.replace(
    found,
    candidates=tuple(
      dataclasses.replace(one, size=len(found.labels))
      for one in found.candidates
    ),
  )


class _Advance:
  """Tells the bar of the images of a round that are not of the one before."""

  def __init__(self, bar: progress.Bar, *, before: int, size: int):
    self._bar = bar
    self._before = before
    self._size = size
    self._seen = 0

  def __call__(self, count: int) -> None:
    seen = min(self._seen + count, self._size)
    new = max(seen, self._before) - max(self._seen, self._before)
    self._seen = seen
    self._bar.advance(new)


def _of_round(
  candidate: candidates.Candidate,
  *,
  part: features.Prefix,
  before: int,
  bar: progress.Bar,
) -> candidates.Candidate:
  """The candidate with the features of a round alone."""

  def compute(
    advance: candidates.Advance, whole: features.Prefix | None = None
  ) -> candidates.Computed:
    del advance, whole  # Of which a round has its own.
    told = _Advance(bar, before=before, size=part.size)
    try:
      return candidate.compute(told, part)
    finally:
      # A file of features tells of itself, not of examples.
      told(part.size)

  return dataclasses.replace(
    candidate, compute=compute, size=part.size - before, part=part
  )


def _with_earlier(
  one: record.Scored, earlier: record.Scored | None
) -> record.Scored:
  """A score with the seconds of the rounds before, too."""
  if earlier is None:
    return one
  seconds = dict(earlier.seconds)
  seconds['earlier_rounds'] = seconds.get('earlier_rounds', 0.0) + (
    earlier.score.seconds + earlier.score.compile_seconds
  )
  for step, value in one.seconds.items():
    seconds[step] = seconds.get(step, 0.0) + value
  warnings = dict.fromkeys((*earlier.warnings, *one.warnings))
  return dataclasses.replace(
    one,
    seconds=seconds,
    cached=one.cached and earlier.cached,
    warnings=tuple(warnings),
  )


@dataclasses.dataclass(frozen=True)
class Outcome:
  """What a race came to.

  Attributes:
    results: the scores of who was left at the end, who failed and why.
    dropped: the scores of the others, those that left last first.
    race: its record.
    interrupted: whether Ctrl-C ended it early.
  """

  results: scoring.Results
  dropped: tuple[record.Scored, ...]
  race: race_record.Race
  interrupted: bool

  @property
  def num_examples(self) -> dict[str, int]:
    """By checkpoint that was dropped, how many it was scored on."""
    return {one.checkpoint: one.num_examples for one in self.race.dropped}


class _Race:
  """A race that is being run."""

  def __init__(
    self,
    found: candidates.Candidates,
    wanted: Settings,
    *,
    whole: features.Prefix,
    num_rounds: int,
  ):
    self.left = list(found.candidates)
    self.failed: list[record.Failure] = []
    self.last: dict[str, record.Scored] = {}
    self.dropped: list[record.Scored] = []
    self.rounds: list[race_record.Round] = []
    self._wanted = wanted
    self._whole = whole
    # That one of the best is lost, at any of the looks: each may add as much,
    # and what those before it left. The last needs no dropping.
    self._risk_of_look = (1 - wanted.confidence) / max(num_rounds - 1, 1)
    self._risk_taken = 0.0
    self._departures: list[race_record.Departure] = []
    self._passes = 0
    self._all_passes = whole.size * len(found.candidates)

  def take(self, outcome: scoring.Results, *, size: int, before: int) -> None:
    """Takes the scores of a round, and drops whom it leaves without a chance.

    Args:
      outcome: of the round.
      size: examples of the round.
      before: examples of the one before.
    """
    self.failed += outcome.failed
    self._passes += len(self.left) * (size - before)
    self.last = {
      one.checkpoint: _with_earlier(one, self.last.get(one.checkpoint))
      for one in outcome.scored
    }
    going = {} if size == self._whole.size else self._going(size)
    goes = [one.name in going or one.name not in self.last for one in self.left]
    # The same on every process, of which the first alone has the scores.
    goes = parallel.from_primary(np.array(goes))
    self.left = [
      one for one, gone in zip(self.left, goes, strict=True) if not gone
    ]
    self.rounds.append(
      race_record.Round(size, len(self.last), len(self.last) - len(going))
    )
    leaving = sorted(
      (self.last.pop(name) for name in going), key=lambda s: s.score.score
    )
    self.dropped = leaving[::-1] + self.dropped
    self._departures += [
      race_record.Departure(
        one.checkpoint,
        num_examples=size,
        in_top=round(going[one.checkpoint], _PROBABILITY_DIGITS),
      )
      for one in leaving
    ]

  def _going(self, size: int) -> dict[str, float]:
    """Who is dropped, and how likely each is among the best."""
    scored = list(self.last.values())
    share = size / self._whole.size
    chances = dropping.chances(scored, share=share, top=self._wanted.top)
    if chances is None:
      return {}
    gone = dropping.dropped(
      chances,
      [one.score.score for one in scored],
      top=self._wanted.top,
      risk=(len(self.rounds) + 1) * self._risk_of_look - self._risk_taken,
    )
    self._risk_taken += float(chances[gone].sum())
    return {
      one.checkpoint: float(chance)
      for one, chance, goes in zip(scored, chances, gone, strict=True)
      if goes
    }

  def record(self) -> race_record.Race:
    return race_record.Race(
      top=self._wanted.top,
      confidence=self._wanted.confidence,
      rounds=tuple(self.rounds),
      dropped=tuple(self._departures),
      passes=self._passes,
      all_passes=self._all_passes,
    )


def race(
  found: candidates.Candidates,
  scorer: scoring.Scorer,
  bar: progress.Bar,
  *,
  wanted: Settings,
  score_all: scoring.ScoreAll,
) -> Outcome:
  """Races candidates against each other.

  Args:
    found: who takes part.
    scorer: of the measure.
    bar: advanced by images.
    wanted: what is looked for.
    score_all: scores the candidates of a round.
  """
  whole = features.whole(found.labels, seed=wanted.seed)
  sizes = rounds.sizes(whole.size, num_classes=found.task.num_classes)
  running = _Race(found, wanted, whole=whole, num_rounds=len(sizes))
  before, interrupted = 0, False
  for size in sizes:
    of_round = functools.partial(
      _of_round,
      part=dataclasses.replace(whole, size=size),
      before=before,
      bar=bar,
    )
    heading = f'{len(running.left)} checkpoints, {size}/{whole.size} examples'
    results, interrupted = score_all(
      list(map(of_round, running.left)),
      [scorer],
      progress.headed(bar, heading),
    )
    if interrupted and running.last:
      # Scores of some on more examples can't be compared with the others'.
      break
    running.take(results[scorer.measure], size=size, before=before)
    before = size
    done = running.rounds[-1]
    bar.say(
      f'{size} of {whole.size} examples: {done.left} of {done.checkpoints} '
      'checkpoints are left'
    )
    if interrupted or len(running.left) <= wanted.top:
      break
  return Outcome(
    scoring.Results(scored=list(running.last.values()), failed=running.failed),
    dropped=tuple(running.dropped),
    race=running.record(),
    interrupted=interrupted,
  )
