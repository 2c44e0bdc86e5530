# SPDX-License-Identifier: Apache-2.0
"""From features to a score, and the score's record on disk."""

import contextlib
import json
import pathlib
import time
from collections.abc import Mapping
from typing import Any

import jax

import neucrab_jax
from neucrab_jax import measures, ops, records
from neucrab_jax.benchmark import candidates

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
