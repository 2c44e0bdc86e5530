# SPDX-License-Identifier: Apache-2.0
"""Learning curves for TensorBoard. Importing this imports TensorFlow."""

import contextlib
import pathlib
from collections.abc import Callable, Iterator

from clu import metric_writers, periodic_actions

from neucrab_jax import training


@contextlib.contextmanager
def writing(folder: pathlib.Path) -> Iterator[Callable]:
  """Gives what writes a point of a trial's curve; each trial is a run."""
  with contextlib.ExitStack() as stack:
    writers = {}

    def observe(trial: training.Trial, point: dict[str, float]) -> None:
      if trial not in writers:
        name = f'lr{trial.learning_rate}-steps{trial.steps}-seed{trial.seed}'
        writer = metric_writers.SummaryWriter(str(folder / name))
        stack.callback(writer.close)
        speed = periodic_actions.ReportProgress(
          num_train_steps=trial.steps,
          writer=writer,
          every_steps=1,
          every_secs=None,
        )
        writers[trial] = writer, speed
      writer, speed = writers[trial]
      step = int(point['step'])
      writer.write_scalars(
        step, {name: x for name, x in point.items() if name != 'step'}
      )
      speed(step)
      writer.flush()

    yield observe
