# SPDX-License-Identifier: Apache-2.0
"""Kills at random moments, after which a run comes to the same."""

import os
import pathlib
import signal
import subprocess
import sys
import time
from typing import Any

import numpy as np

from experiments.attack import cases, commands
from tests import interruptible

_SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
# One that says so itself ends with this.
_INTERRUPTED = 130

_MOST_SECONDS = 300.0
# Before that, Python itself is starting and no line of ours has run.
_LEAST_SECONDS = 0.5
# After so many kills a run may come to its end.
_KILLS_A_RUN = 3

_RUNS = {
  'rank': (
    '--config=configs/measure.py:class_separation',
    '--config.checkpoints=mini_random,mini_vae',
    '--config.task.num_examples=40',
    '--config.num_resamples=4',
    '--config.batch_size=20',
  ),
  'finetune': (
    '--config=configs/finetune.py',
    '--config.protocol.mode=head',
    '--config.checkpoints=mini_random,mini_vae',
    '--config.task.num_examples=40',
    '--config.protocol.steps=(60,)',
    '--config.protocol.learning_rates=(.1,.01)',
    '--config.protocol.batch_size=8',
    '--config.save_steps=5',
  ),
}
ROUTES = tuple(_RUNS)


def _start(command: str, workdir: pathlib.Path) -> subprocess.Popen:
  return interruptible.start(
    [
      *(sys.executable, '-m', f'neucrab_jax.{command}'),
      *_RUNS[command],
      f'--workdir={workdir}',
      f'--config.cache_dir={workdir / "cache"}',
    ],
    env={**os.environ, 'XDG_CACHE_HOME': str(workdir.parent / 'home')},
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )


def _left(command: str, workdir: pathlib.Path) -> dict[str, Any]:
  """The records, but for seconds."""
  read = commands.scores if command == 'rank' else commands.accuracies
  return read(workdir)


class Storm:
  """Runs of a command that are killed, and the calm one beside them."""

  def __init__(self, command: str, folder: pathlib.Path):
    self._command = command
    self._folder = folder
    self._count = 0
    # It compiles what the others have, and is the slowest.
    self._right = self._finish(folder / 'calm')

  def _finish(self, workdir: pathlib.Path) -> dict[str, Any]:
    """Runs to the end, and notes how long that takes."""
    start = time.monotonic()
    process = _start(self._command, workdir)
    out, _ = process.communicate(timeout=_MOST_SECONDS)
    if process.returncode or 'Traceback' in out:
      raise cases.FaultError(f'Status {process.returncode}: {out}')
    self._seconds = time.monotonic() - start
    return _left(self._command, workdir)

  def kill(self, rng: np.random.Generator, *, last: bool) -> cases.Outcome:
    """Kills a run once.

    Args:
      rng: when, and by which signal.
      last: whether it has to come to its end now, to the same as the calm one.
        After some kills it has to, anyway.
    """
    number = _SIGNALS[rng.integers(len(_SIGNALS))]
    delay = rng.uniform(_LEAST_SECONDS, self._seconds)
    about = f'{signal.Signals(number).name} after {delay:.2f} s'
    workdir = self._folder / f'stormy{self._count // _KILLS_A_RUN}'
    self._count += 1
    process = _start(self._command, workdir)
    try:
      process.wait(delay)
    except subprocess.TimeoutExpired:
      process.send_signal(number)
    try:
      out, _ = process.communicate(timeout=_MOST_SECONDS)
      # It may have been done already.
      ends = {0, -number, _INTERRUPTED if number != signal.SIGKILL else 0}
      if process.returncode not in ends or 'Traceback' in out:
        details = f'status {process.returncode}: {out}'
        return cases.Outcome('traceback', about, details)
      last = last or self._count % _KILLS_A_RUN == 0
      found = self._finish(workdir) if last else None
    except subprocess.TimeoutExpired:
      process.kill()
      return cases.Outcome('hang', about)
    except cases.FaultError as error:
      return cases.Outcome('traceback', about, str(error))
    if found is not None and not cases.same(found, self._right):
      details = f'{found} is not {self._right}'
      return cases.Outcome('wrong', about, details)
    return cases.Outcome('right', about)
