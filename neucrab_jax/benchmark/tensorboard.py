# SPDX-License-Identifier: Apache-2.0
"""Learning curves for TensorBoard. Importing this imports TensorFlow."""

import contextlib
import pathlib
from collections.abc import Callable, Iterator

from clu import metric_writers

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
        writers[trial] = writer
      scalars = {name: x for name, x in point.items() if name != 'step'}
      writers[trial].write_scalars(int(point['step']), scalars)
      writers[trial].flush()

    yield observe
