# SPDX-License-Identifier: Apache-2.0
"""The `Score` records beside a ranking: an interrupted run goes on by them."""

import pathlib

import msgspec
import numpy as np

from neucrab_jax import measures, storage


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


def path(folder: pathlib.Path, checkpoint: str) -> pathlib.Path:
  """Where the score of a checkpoint is, beside its ranking."""
  return folder / 'scores' / f'{storage.file_name(checkpoint)}.json'


def read(
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
