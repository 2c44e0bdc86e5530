# SPDX-License-Identifier: Apache-2.0
"""Fine-tunes checkpoints on the nodes of a cluster, each a piece of work.

Where nodes see the folder of the results, a piece that moves to another node
goes on from the last state, and groups of trials that run together are pieces
of their own, if the config says how many run so. Elsewhere a piece begins
again, and what it came to is sent back.
"""

import functools
import json
import os
import pathlib
import tempfile
from collections.abc import Sequence

import ml_collections
from absl import logging

from neucrab_jax import checkpoints, cluster, progress, storage
from neucrab_jax.finetuning import protocol, record, sweep, trial_groups
from neucrab_jax.typing import Config


@functools.cache
def _prepare(config: str, folder: str, workdir: str) -> sweep.Sweep:
  """The same sweep, once in each process of a node."""
  os.environ.setdefault('KERAS_BACKEND', 'jax')
  if os.path.isdir(folder):
    os.chdir(folder)
  if not os.path.isdir(workdir):
    workdir = tempfile.mkdtemp(prefix='neucrab-')
  return sweep.Sweep(
    ml_collections.ConfigDict(json.loads(config)), pathlib.Path(workdir)
  )


def _silent() -> progress.NestedBars:
  """Bars for the steps of a node, which nobody sees."""
  return progress.NestedBars(description='', names=1, steps=1)


def train(
  config: str,
  folder: str,
  workdir: str,
  name: str,
  trials: tuple[protocol.Trial, ...],
) -> None:
  """Trains a group of trials, for `finetune` to go on from their states.

  What fails here fails there again, and is told there.

  Args:
    config: of the run, as JSON.
    folder: where the command was started, if it is there.
    workdir: for the states; nothing is done where it is not.
    name: of the checkpoint.
    trials: that run together.
  """
  if not os.path.isdir(workdir):
    return
  try:
    swept = _prepare(config, folder, workdir)
    (checkpoint,) = (c for c in swept.chosen() if c.name == name)
    swept.train(checkpoint, trials, bars=_silent())
  except Exception:
    logging.debug('%s failed', name, exc_info=True)


def finetune(
  config: str, folder: str, workdir: str, name: str
) -> record.Accuracy | record.Failure:
  """What comes of one checkpoint.

  Args:
    config: of the run, as JSON.
    folder: where the command was started, if it is there.
    workdir: for the results, if it is there.
    name: of the checkpoint.
  """
  try:
    swept = _prepare(config, folder, workdir)
    (checkpoint,) = (c for c in swept.chosen() if c.name == name)
    made = swept.accuracy(checkpoint, bars=_silent(), wait=True)
    assert made is not None  # It was waited for.
  except Exception as error:
    return record.Failure(name, f'{type(error).__name__}: {error}')
  return made


def _groups(
  config: Config, swept: sweep.Sweep
) -> list[tuple[protocol.Trial, ...]]:
  """The groups of trials that are pieces of their own, if any are.

  How many fit into memory only a node knows.
  """
  if not config.together:
    return []
  groups = trial_groups.groups(
    swept.protocol.trials(), together=config.together, needs=lambda count: 0
  )
  return groups if len(groups) > 1 else []


def finetune_all(
  config: Config,
  swept: sweep.Sweep,
  workdir: pathlib.Path,
  chosen: Sequence[checkpoints.Checkpoint],
  bars: progress.NestedBars,
  *,
  pool: cluster.Cluster,
) -> tuple[list[record.Accuracy], list[record.Failure]]:
  """Fine-tunes every checkpoint that can be, on a cluster.

  Returns:
    The records in the order given, and what failed and why.
  """
  settings = json.dumps(storage.settings(config))
  calls = [
    (settings, os.getcwd(), str(workdir.resolve()), checkpoint.name)
    for checkpoint in chosen
  ]
  pieces = [
    (*call, trials) for call in calls for trials in _groups(config, swept)
  ]
  if pieces:
    total = len(chosen) * sum(t.steps for t in swept.protocol.trials())
    bars.begin(f'{len(pieces)} groups of trials', steps=total)
  for number, _ in pool.map(train, pieces):
    *_, trials = pieces[number]
    bars.advance(sum(trial.steps for trial in trials))
  done, failed = {}, []
  for number, found in pool.map(finetune, calls):
    name = chosen[number].name
    if isinstance(found, record.Accuracy):
      file = record.path(
        workdir / 'accuracies', checkpoint=name, task=found.task.name
      )
      storage.write_sealed(file, found)
      done[name] = found
    elif isinstance(found, record.Failure):
      failed.append(found)
    else:
      failed.append(record.Failure(name, str(found)))
    bars.finish(name)
  return [done[spec.name] for spec in chosen if spec.name in done], failed
