# SPDX-License-Identifier: Apache-2.0
"""Scores checkpoints on the nodes of a cluster, each a piece of work.

A node restores, extracts and scores by the same config and the same code, so
that the numbers are those of one machine. What it came to is sent back, and the
records of scores are written where the command runs.
"""

import dataclasses
import functools
import json
import os
import tempfile
from collections.abc import Sequence

import ml_collections

from neucrab_jax import cluster, features, progress, storage
from neucrab_jax.ranking import (
  candidates,
  preparation,
  record,
  score_record,
  scoring,
)

_SILENT = progress.Bar(*[lambda _: None] * 3)


@functools.cache
def _prepare(config: str, folder: str) -> preparation.Run:
  """The same run, once in each process of a node."""
  os.environ.setdefault('KERAS_BACKEND', 'jax')
  if os.path.isdir(folder):
    os.chdir(folder)
  # Records of a node are its own: the command writes what it is sent.
  workdir = tempfile.mkdtemp(prefix='neucrab-')
  return preparation.prepare(
    ml_collections.ConfigDict(json.loads(config)), workdir
  )


def score(
  config: str, folder: str, name: str, part: features.Prefix | None
) -> dict[str, scoring.Result]:
  """What comes of one candidate, by each measure.

  Args:
    config: of the run, as JSON.
    folder: where the command was started, if it is there.
    name: of the candidate.
    part: of the examples; None for all.
  """
  run = _prepare(config, folder)
  (candidate,) = (c for c in run.candidates.candidates if c.name == name)
  candidate = dataclasses.replace(candidate, part=part)
  return scoring.score_one(candidate, run.scorers, _SILENT)


def score_all(
  chosen: Sequence[candidates.Candidate],
  scorers: Sequence[scoring.Scorer],
  bar: progress.Bar,
  *,
  pool: cluster.Cluster,
  run: preparation.Run,
) -> scoring.Scores:
  """Scores every candidate that can be, on a cluster.

  Args:
    chosen: what is ranked, of the run's candidates.
    scorers: one for each measure.
    bar: advanced by the size of each candidate.
    pool: the cluster.
    run: of the command.
  """
  config = json.dumps(storage.settings(run.config))
  calls = [(config, os.getcwd(), one.name, one.part) for one in chosen]
  done: dict[tuple[str, str], scoring.Result] = {}
  interrupted = False
  bar.describe(f'{len(chosen)} checkpoints on the cluster')
  try:
    for number, found in pool.map(score, calls):
      name = chosen[number].name
      for scorer in scorers:
        result = (
          record.Failure(name, str(found))
          if isinstance(found, Exception)
          else found[scorer.measure]
        )
        done[name, scorer.measure] = result
        if isinstance(result, record.Scored):
          file = score_record.path(scorer.folder, name)
          storage.write_sealed(file, result.score)
      bar.advance(chosen[number].size)
      bar.describe(f'{name} is done')
  except KeyboardInterrupt:
    interrupted = True
  found = scoring.collect(chosen, scorers, done, interrupted=interrupted)
  return found, interrupted
