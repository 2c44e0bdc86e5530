# SPDX-License-Identifier: Apache-2.0
"""Learning curves for TensorBoard. Importing this imports TensorFlow."""

import contextlib
import pathlib
from collections.abc import Callable, Iterator

import msgspec
from clu import metric_writers

from neucrab_jax.finetuning import protocol, record


@contextlib.contextmanager
def writing(folder: pathlib.Path) -> Iterator[Callable]:
  """Gives what writes a point of a trial's curve; each trial is a run."""
  with contextlib.ExitStack() as stack:
    writers = {}

    def observe(trial: protocol.Trial, point: record.Point) -> None:
      if trial not in writers:
        name = f'lr{trial.learning_rate}-steps{trial.steps}-seed{trial.seed}'
        writer = metric_writers.SummaryWriter(str(folder / name))
        stack.callback(writer.close)
        writers[trial] = writer
      scalars = msgspec.structs.asdict(point)
      step = scalars.pop('step')
      writers[trial].write_scalars(step, scalars)
      writers[trial].flush()

    yield observe
