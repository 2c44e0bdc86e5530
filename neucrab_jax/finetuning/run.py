# SPDX-License-Identifier: Apache-2.0
"""Fine-tunes checkpoints on a task, and records how well each transfers.

A run leaves one `Accuracy` record per checkpoint under `accuracies/<task>/` in
its folder, a table of all of them as `accuracies.csv`, and `report.html`,
`config.json`. Under `states/` is what an interrupted run goes on from. Several
runs may share a folder: each checkpoint is one run's at a time.
"""

from collections.abc import Sequence

import msgspec
from absl import logging

from neucrab_jax import (
  checkpoints,
  cluster,
  interruption,
  parallel,
  progress,
  storage,
)
from neucrab_jax.finetuning import record, remote, sweep
from neucrab_jax.finetuning.protocol import Protocol
from neucrab_jax.reports import finetuning_page, finetuning_table
from neucrab_jax.typing import Config


class Result(msgspec.Struct, frozen=True):
  """What a run came to.

  Attributes:
    task: what was fine-tuned on.
    protocol: how.
    accuracies: in the order of the checkpoints.
    failed: the other checkpoints.
  """

  task: record.Task
  protocol: Protocol
  accuracies: tuple[record.Accuracy, ...]
  failed: tuple[record.Failure, ...]


def _finetune_all(
  swept: sweep.Sweep,
  chosen: Sequence[checkpoints.Checkpoint],
  bars: progress.NestedBars,
) -> tuple[list[record.Accuracy], list[record.Failure]]:
  """Fine-tunes every checkpoint that can be; the others are not taken down.

  Those that another run is at come last, when it may be done with them.

  Returns:
    The records in the order given, and what failed and why.
  """
  done, failed = {}, []
  waiting: list[checkpoints.Checkpoint] = []
  for wait, todo in ((False, chosen), (True, waiting)):
    for checkpoint in todo:
      try:
        made = swept.accuracy(checkpoint, bars=bars, wait=wait)
      except Exception as error:
        logging.debug('%s failed', checkpoint.name, exc_info=True)
        message = f'{type(error).__name__}: {error}'
        failed.append(record.Failure(checkpoint.name, message))
        bars.finish(checkpoint.name)
        continue
      if made is None:
        bars.say(f'{checkpoint.name}: another run is at it; it comes last.')
        waiting.append(checkpoint)
        continue
      done[checkpoint.name] = made
      bars.finish(checkpoint.name)
  return [done[spec.name] for spec in chosen if spec.name in done], failed


def finetune(config: Config, workdir: str) -> Result:
  """Fine-tunes, shows the accuracies, and writes them.

  Args:
    config: as `configs/finetune.py`.
    workdir: the folder for the results, which several runs may share.

  Raises:
    ValueError: if the input is bad; before any long work starts.
    interruption.Interrupted: on Ctrl-C.
  """
  chosen = checkpoints.select(
    config.checkpoints,
    config.checkpoint_dir,
    config.preprocessing,
    config.get('weights', 'raw'),
  )
  folder = storage.open_workdir(workdir)
  swept = sweep.Sweep(config, folder)
  swept.check()
  settings = storage.settings(config)
  if parallel.is_primary():
    storage.write_json(folder / 'config.json', settings)
  bars = progress.NestedBars(
    description='all trials, steps',
    names=len(chosen),
    steps=sum(trial.steps for trial in swept.protocol.trials()),
  )
  try:
    with bars.showing():
      pool = cluster.current()
      done, failed = (
        _finetune_all(swept, chosen, bars)
        if pool is None
        else remote.finetune_all(config, swept, folder, chosen, bars, pool=pool)
      )
  except KeyboardInterrupt as interrupt:
    raise interruption.Interrupted from interrupt
  result = Result(
    swept.task.describe(), swept.protocol, tuple(done), tuple(failed)
  )
  if parallel.is_primary():
    storage.write_text(
      folder / 'accuracies.csv', record.to_csv(folder / 'accuracies')
    )
    storage.write_text(
      folder / 'report.html', finetuning_page.render(result, config=settings)
    )
    finetuning_table.show(result, folder)
  return result
