# SPDX-License-Identifier: Apache-2.0
"""How long a fine-tuning run would take, by some steps that are measured."""

import time
from collections.abc import Sequence

import msgspec
from absl import logging

from neucrab_jax import checkpoints, environment, parallel, progress, storage
from neucrab_jax.finetuning import record, sweep, trainer
from neucrab_jax.finetuning.protocol import Trial
from neucrab_jax.reports import estimate_table
from neucrab_jax.typing import Config

FILE = 'estimate.json'
# Steps of the shortest trials that are measured: the fewer are taken off the
# more, and with them what a start and a validation cost.
_FEWER, _MORE = 2, 8


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
  """What one checkpoint would take.

  Attributes:
    checkpoint: its name.
    trials: of its sweep.
    steps: of all of them.
    step_seconds: of one step of one trial.
    compile_seconds: of the programs that it needs, if they are not kept.
    other_seconds: of restoring, preparing images, and validations.
    measured: the checkpoint whose steps these are, of an equal network.
  """

  checkpoint: str
  trials: int
  steps: int
  step_seconds: float
  compile_seconds: float
  other_seconds: float
  measured: str

  @property
  def seconds(self) -> float:
    """Of all."""
    return (
      self.steps * self.step_seconds + self.compile_seconds + self.other_seconds
    )


class Estimate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
  """`estimate.json`: what a run would take on these devices."""

  task: record.Task
  rows: tuple[Row, ...]
  failed: tuple[record.Failure, ...]
  environment: environment.Environment

  @property
  def seconds(self) -> float:
    """Of all checkpoints, one after the other."""
    return sum(row.seconds for row in self.rows)


def _measure(
  engine: trainer.Trainer, trials: Sequence[Trial]
) -> tuple[float, float, float]:
  """Runs the beginnings of all trials, in the groups that they would have.

  Returns:
    Seconds of one step of one trial, of compiling, and of all validations.
  """
  shortest = min(trial.steps for trial in trials)
  counts, seconds, compiling, ends = [], [], 0.0, 0
  for wanted in (_FEWER, _MORE):
    share = min(wanted / shortest, 1.0)
    results = engine.run(trials, share=share)
    counts.append(sum(max(round(share * t.steps), 1) for t in trials))
    seconds.append(sum(result.seconds for result in results))
    compiling += sum(result.compile_seconds for result in results)
    ends = sum(len(result.curve) for result in results)
  more = counts[1] - counts[0]
  if more <= 0:
    # A trial of so few steps was run whole.
    return seconds[1] / counts[1], compiling, 0.0
  step = max(seconds[1] - seconds[0], 0.0) / more
  validation = max(seconds[1] - counts[1] * step, 0.0) / max(ends, 1)
  points = len(trials) * engine.protocol.curve_points
  return step, compiling, points * validation


def _rows(
  swept: sweep.Sweep,
  chosen: Sequence[checkpoints.Checkpoint],
  bars: progress.NestedBars,
) -> tuple[list[Row], list[record.Failure]]:
  trials = swept.protocol.trials()
  steps = sum(trial.steps for trial in trials)
  rows, failed, known = [], [], {}
  for checkpoint in chosen:
    try:
      start = time.perf_counter()
      backbone = checkpoints.restore(checkpoint)
      engine = swept.trainer(backbone)
      prepared = time.perf_counter() - start
      alike = engine.network, engine.train.inputs.shape
      compiling = 0.0
      if alike not in known:
        bars.begin(checkpoint.name, steps=1)
        step, compiling, validation = _measure(engine, trials)
        known[alike] = checkpoint.name, step, validation
      measured, step, validation = known[alike]
      rows.append(
        Row(
          checkpoint.name,
          trials=len(trials),
          steps=steps,
          step_seconds=step,
          compile_seconds=compiling,
          other_seconds=prepared + validation,
          measured=measured,
        )
      )
    except Exception as error:
      logging.debug('%s failed', checkpoint.name, exc_info=True)
      message = f'{type(error).__name__}: {error}'
      failed.append(record.Failure(checkpoint.name, message))
    bars.finish(checkpoint.name)
  return rows, failed


def estimate(config: Config, workdir: str) -> Estimate:
  """Measures, shows and writes how long a run would take.

  Equal networks are measured once.

  Args:
    config: as `configs/finetune.py`.
    workdir: the folder for the results.

  Raises:
    ValueError: if the input is bad; before any long work starts.
  """
  folder = storage.open_workdir(workdir)
  swept = sweep.Sweep(config, folder)
  swept.check()
  chosen = swept.chosen()
  bars = progress.NestedBars(
    description='measuring', names=len(chosen), steps=1
  )
  with bars.showing():
    rows, failed = _rows(swept, chosen, bars)
  found = Estimate(
    swept.task.describe(),
    tuple(rows),
    tuple(failed),
    environment.current(seed=swept.protocol.seeds[0]),
  )
  if parallel.is_primary():
    storage.write_json(folder / FILE, found)
    estimate_table.show(found, folder)
  return found
