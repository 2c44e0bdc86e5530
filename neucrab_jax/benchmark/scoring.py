# SPDX-License-Identifier: Apache-2.0
"""From features to a score, and the score's record on disk."""

import contextlib
import dataclasses
import functools
import json
import pathlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent import futures
from typing import Any

import jax
from absl import logging

import neucrab_jax
from neucrab_jax import measures, ops, parallel, records
from neucrab_jax.benchmark import candidates, terminal
from neucrab_jax.ops import pca

Record = dict[str, Any]

# Seconds are for people: a millisecond is as fine as anyone reads.
_SECONDS_DIGITS = 3


def environment(*, seed: int) -> dict[str, Any]:
  """What a result depends on beside its inputs."""
  return {
    'neucrab_jax': neucrab_jax.__version__,
    'jax': jax.__version__,
    'backend': jax.default_backend(),
    'devices': jax.device_count(),
    'processes': jax.process_count(),
    'seed': seed,
  }


class Judge:
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
    self.options = options
    self.folder = folder
    self._seed = seed
    self._num_resamples = num_resamples
    self._key = records.digest(
      measure,
      dict(options),
      num_resamples,
      environment(seed=seed),
      records.digest_sources(measures, ops),
    )

  def __call__(
    self, name: str, computed: candidates.Computed
  ) -> dict[str, Any]:
    """The entry of `ranking.json` for a checkpoint, without its place.

    It has its scores on resampled examples beside it, as `resamples`.
    """
    found = computed.features
    fingerprint = found.fingerprint()
    key = records.digest(self._key, fingerprint)
    file = self.folder / 'scores' / f'{name}.json'
    score = self._load(file, key=key)
    if score is None:
      start = time.perf_counter()
      evaluation = measures.evaluate(
        self.measure,
        **computed.inputs(),
        seed=self._seed,
        num_resamples=self._num_resamples,
        **self.options,
      )
      score = {
        'key': key,
        'score': evaluation.score,
        'score_std': evaluation.std,
        'score_stderr': evaluation.stderr,
        'resamples': list(evaluation.resamples),
        'seconds': time.perf_counter() - start,
        'warnings': list(evaluation.warnings),
      }
      records.write_json(file, score)
    seconds = {**computed.seconds, 'score': score['seconds']}
    return {
      'checkpoint': name,
      'score': score['score'],
      'score_std': score['score_std'],
      'score_stderr': score['score_stderr'],
      'resamples': score['resamples'],
      'feature_dim': int(found.features.shape[1]),
      'seconds': {
        step: round(value, _SECONDS_DIGITS) for step, value in seconds.items()
      },
      'cached': computed.cached,
      'fingerprint': fingerprint,
      'warnings': [*computed.warnings, *score['warnings']],
    }

  def _load(self, file: pathlib.Path, *, key: str) -> dict[str, Any] | None:
    """A score that was found before from the same features and settings."""
    with contextlib.suppress(OSError, ValueError):
      score = json.loads(file.read_text(encoding='utf-8'))
      if isinstance(score, dict) and score.get('key') == key:
        return score
    return None


@dataclasses.dataclass
class Found:
  """What came out for one measure: entries, and who has none and why."""

  entries: list[Record] = dataclasses.field(default_factory=list)
  skipped: list[Record] = dataclasses.field(default_factory=list)
  failed: list[Record] = dataclasses.field(default_factory=list)


# Of one candidate by one measure: where it goes in `Found`, and the record.
_Outcome = tuple[str, Record]


def _outcome(
  judge: Judge,
  *,
  name: str,
  computed: candidates.Computed,
  alone: bool,
  bar: terminal.Bar,
) -> _Outcome:
  bar.describe(f'{name}: {judge.measure}')
  # Where it is one measure of several, not to apply is no failure.
  lacks = measures.lacks(judge.measure, **computed.inputs())
  if lacks and not alone:
    return 'skipped', {'checkpoint': name, 'reason': lacks}
  try:
    return 'entries', judge(name, computed)
  except Exception as error:
    return _failure(name, error)


def _failure(name: str, error: Exception) -> _Outcome:
  logging.debug('%s failed', name, exc_info=error)
  message = f'{type(error).__name__}: {error}'
  return 'failed', {'checkpoint': name, 'error': message}


@contextlib.contextmanager
def _mapping(num_threads: int) -> Iterator[Callable[..., Iterator]]:
  """`map`, or one that works on several items at once."""
  if num_threads == 1:
    yield map
    return
  pool = futures.ThreadPoolExecutor(num_threads, 'score')
  try:
    # For all threads, or the first to end would set it back for the others.
    with pca.one_lapack_thread():
      yield pool.map
  finally:
    pool.shutdown(cancel_futures=True)


def score_all(
  field: candidates.Field,
  judges: Sequence[Judge],
  bar: terminal.Bar,
  *,
  num_threads: int,
) -> tuple[dict[str, Found], bool]:
  """Scores every candidate that can be; the others don't take it down.

  Args:
    field: who competes.
    judges: by which measures.
    bar: advanced by the size of each candidate.
    num_threads: measures that score a candidate at once.

  Returns:
    What was found by each measure, and whether Ctrl-C ended it early.
  """
  found = {judge.measure: Found() for judge in judges}
  waiting = [
    (candidate.name, judge)
    for candidate in field.candidates
    for judge in judges
  ]

  def put(name: str, judge: Judge, outcome: _Outcome) -> None:
    where, record = outcome
    getattr(found[judge.measure], where).append(record)
    waiting.remove((name, judge))

  try:
    with _mapping(num_threads) as mapped:
      for candidate in field.candidates:
        name = candidate.name
        bar.describe(name)
        try:
          computed = candidate.compute(bar.advance)
        except Exception as error:
          for judge in judges:
            put(name, judge, _failure(name, error))
          continue
        # The features are the same on every process; one of them scores.
        if not parallel.is_primary():
          continue
        outcomes = mapped(
          functools.partial(
            _outcome,
            name=name,
            computed=computed,
            alone=len(judges) == 1,
            bar=bar,
          ),
          judges,
        )
        for judge, outcome in zip(judges, outcomes, strict=True):
          put(name, judge, outcome)
  except KeyboardInterrupt:
    for name, judge in waiting:
      message = 'Interrupted before it was scored.'
      found[judge.measure].failed.append({'checkpoint': name, 'error': message})
    return found, True
  return found, False
