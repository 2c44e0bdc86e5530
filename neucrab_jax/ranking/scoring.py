# SPDX-License-Identifier: Apache-2.0
"""From features to a score by each measure, with its record on disk."""

import contextlib
import dataclasses
import functools
import itertools
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent import futures
from typing import Any, Protocol

import numpy as np
from absl import logging

from neucrab_jax import (
  compiling,
  environment,
  interruption,
  measures,
  ops,
  parallel,
  progress,
  storage,
)
from neucrab_jax.ops import blas
from neucrab_jax.ranking import candidates, record, score_record


class Scorer:
  """Scores features by one measure; each score is a record on disk.

  Attributes:
    measure: its name.
    options: all of the measure's.
    folder: for the measure's results.
  """

  def __init__(
    self,
    measure: str,
    options: Mapping[str, Any],
    *,
    seed: int,
    num_resamples: int,
    folder: pathlib.Path,
  ):
    self.measure = measure
    self.options = dict(options)
    self.folder = folder
    self._seed = seed
    self._num_resamples = num_resamples
    self._key = storage.digest(
      measure,
      self.options,
      num_resamples,
      storage.to_builtins(environment.current(seed=seed)),
      storage.digest_sources(measures, ops),
    )

  def __call__(self, name: str, computed: candidates.Computed) -> record.Scored:
    """The score of a checkpoint: found on disk, or made and put there."""
    fingerprint = computed.features.fingerprint()
    key = storage.digest(self._key, fingerprint)
    file = score_record.path(self.folder, name)
    score, told = score_record.read(file, key=key)
    if score is None:
      score = self._score(computed, key=key)
      storage.write_sealed(file, score)
    return record.Scored(
      checkpoint=name,
      score=score,
      feature_dim=int(computed.features.features.shape[1]),
      seconds=computed.seconds,
      cached=computed.cached,
      fingerprint=fingerprint,
      warnings=(*computed.warnings, *told),
      source=computed.source,
      network=computed.network,
    )

  def trains(self, computed: candidates.Computed) -> bool:
    """Whether it will train the checkpoint, which takes all of the devices."""
    return measures.trains(self.measure) and not measures.lacks(
      self.measure, **computed.inputs()
    )

  def _score(
    self, computed: candidates.Computed, *, key: str
  ) -> score_record.Score:
    with compiling.watched() as watch:
      evaluation = measures.evaluate(
        self.measure,
        **computed.inputs(),
        seed=self._seed,
        num_resamples=self._num_resamples,
        **self.options,
      )
    return score_record.Score(
      key=key,
      score=evaluation.score,
      score_std=evaluation.std,
      score_stderr=evaluation.stderr,
      influence=_rounded(evaluation.influence),
      noise=evaluation.noise,
      resamples=evaluation.resamples,
      seconds=watch.running,
      compile_seconds=watch.compiling,
      warnings=evaluation.warnings,
    )


def _rounded(influence: np.ndarray | None) -> tuple[float, ...] | None:
  """As many digits as a standard error needs: there is one per example."""
  if influence is None:
    return None
  return tuple(float(f'{value:.6g}') for value in influence)


# What comes of one candidate by one measure.
Result = record.Scored | record.Skip | record.Failure


@dataclasses.dataclass
class Results:
  """What came out for one measure: scores, and who has none and why."""

  scored: list[record.Scored] = dataclasses.field(default_factory=list)
  skipped: list[record.Skip] = dataclasses.field(default_factory=list)
  failed: list[record.Failure] = dataclasses.field(default_factory=list)

  def add(self, result: Result) -> None:
    kinds = {record.Scored: self.scored, record.Skip: self.skipped}
    kinds.get(type(result), self.failed).append(result)


# By measure, what came out; and whether Ctrl-C ended it early.
Scores = tuple[dict[str, Results], bool]


class ScoreAll(Protocol):
  """Scores every candidate that can be, here or on a cluster."""

  def __call__(
    self,
    chosen: Sequence[candidates.Candidate],
    scorers: Sequence[Scorer],
    bar: progress.Bar,
  ) -> Scores: ...


def _failure(name: str, error: Exception) -> record.Failure:
  logging.debug('%s failed', name, exc_info=error)
  return record.Failure(name, f'{type(error).__name__}: {error}')


def _result(
  scorer: Scorer,
  *,
  name: str,
  computed: candidates.Computed,
  alone: bool,
  bar: progress.Bar,
) -> Result:
  bar.describe(f'{name}: {scorer.measure}')
  # Where it is one measure of several, not to apply is no failure.
  lacks = measures.lacks(scorer.measure, **computed.inputs())
  if lacks and not alone:
    return record.Skip(name, lacks)
  try:
    return scorer(name, computed)
  except Exception as error:
    return _failure(name, error)


def score_one(
  candidate: candidates.Candidate, scorers: Sequence[Scorer], bar: progress.Bar
) -> dict[str, Result]:
  """What comes of one candidate by each measure."""
  try:
    computed = candidate.compute(bar.advance, candidate.part)
  except Exception as error:
    failure = _failure(candidate.name, error)
    return {scorer.measure: failure for scorer in scorers}
  return {
    scorer.measure: _result(
      scorer,
      name=candidate.name,
      computed=computed,
      alone=len(scorers) == 1,
      bar=bar,
    )
    for scorer in scorers
  }


class _Here(futures.Executor):
  """Does what is submitted at once, in this thread."""

  def submit(self, fn, /, *args, **kwargs):
    done = futures.Future()
    done.set_result(fn(*args, **kwargs))
    return done


@contextlib.contextmanager
def _executor(num_threads: int) -> Iterator[futures.Executor]:
  """What works on several scores at once, or on one after the other."""
  if num_threads == 1:
    yield _Here()
    return
  pool = futures.ThreadPoolExecutor(num_threads, 'score')
  try:
    # For all threads, or the first to end would set it back for the others.
    with blas.one_thread():
      yield pool
  finally:
    pool.shutdown(cancel_futures=True)


# Each has the features of a checkpoint in memory, and some times as much.
_MOST_THREADS = 8
# Candidates that begin what they need, while those before them are scored.
_AHEAD = 2


def _num_threads(asked: int) -> int:
  """How many scores are made at once."""
  # Processes have to come to what they do together in one order.
  if parallel.num_processes() > 1:
    return 1
  return asked or min(os.cpu_count() or 1, _MOST_THREADS)


def collect(
  chosen: Sequence[candidates.Candidate],
  scorers: Sequence[Scorer],
  done: Mapping[tuple[str, str], Result],
  *,
  interrupted: bool,
) -> dict[str, Results]:
  """Puts what came out in the order given.

  Args:
    chosen: what was to be scored.
    scorers: one for each measure.
    done: what came out, by candidate and measure.
    interrupted: whether the others were not reached.
  """
  results = {scorer.measure: Results() for scorer in scorers}
  for candidate, scorer in itertools.product(chosen, scorers):
    result = done.get((candidate.name, scorer.measure))
    if result is not None:
      results[scorer.measure].add(result)
    elif interrupted:
      results[scorer.measure].add(
        record.Failure(candidate.name, 'Interrupted before it was scored.')
      )
  return results


# Bytes of features from which on scores of one checkpoint alone are made at a
# time: each measure takes some times as much.
_MANY_BYTES = 1 << 28


def score_all(
  chosen: Sequence[candidates.Candidate],
  scorers: Sequence[Scorer],
  bar: progress.Bar,
  *,
  num_threads: int,
) -> Scores:
  """Scores every candidate that can be; the others don't take it down.

  Args:
    chosen: what is ranked.
    scorers: one for each measure.
    bar: advanced by the size of each candidate.
    num_threads: scores that are made at once; 0 for one on each core.

  Returns:
    What came out by each measure, and whether Ctrl-C ended it early.
  """
  jobs: dict[tuple[str, str], futures.Future[Result]] = {}
  under_way: set[futures.Future[Result]] = set()

  def wait(*, most: int) -> None:
    """Until so many are under way."""
    while len(under_way) > most:
      done, _ = futures.wait(under_way, return_when=futures.FIRST_COMPLETED)
      under_way.difference_update(done)
      for job in done:
        job.result()
      interruption.check()

  threads = _num_threads(num_threads)
  # Or a thread would score what is in no list.
  unbroken = interruption.deferred if threads > 1 else contextlib.nullcontext
  interrupted = False
  try:
    with _executor(threads) as executor:
      for place, candidate in enumerate(chosen, start=1):
        name = candidate.name
        bar.describe(name)
        wait(most=threads - 1)
        for following in chosen[place : place + _AHEAD]:
          following.prepare()
        try:
          computed = candidate.compute(bar.advance)
        except Exception as error:
          failed = _Here().submit(_failure, name, error)
          jobs |= {(name, scorer.measure): failed for scorer in scorers}
          continue
        # The features are the same on every process; one of them scores.
        if not parallel.is_primary():
          continue
        is_large = computed.features.features.nbytes > _MANY_BYTES
        if is_large:
          wait(most=0)
        for scorer in scorers:
          score = functools.partial(
            _result,
            scorer,
            name=name,
            computed=computed,
            alone=len(scorers) == 1,
            bar=bar,
          )
          if scorer.trains(computed):
            wait(most=0)
            jobs[name, scorer.measure] = _Here().submit(score)
            continue
          with unbroken():
            jobs[name, scorer.measure] = executor.submit(score)
            under_way.add(jobs[name, scorer.measure])
          wait(most=(threads - 1) * len(scorers))
        if is_large:
          wait(most=0)
      wait(most=0)
  except KeyboardInterrupt:
    interrupted = True
  # What was under way came to its end before the threads did.
  done = {
    key: job.result()
    for key, job in jobs.items()
    if not job.cancelled() and not job.exception()
  }
  return collect(chosen, scorers, done, interrupted=interrupted), interrupted
