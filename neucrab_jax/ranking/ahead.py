# SPDX-License-Identifier: Apache-2.0
"""Restores checkpoints ahead of their use, while another one runs."""

from concurrent import futures

from neucrab_jax import checkpoints


class Restorer:
  """Restores checkpoints in a thread, each when it is told to or asked for."""

  def __init__(self):
    self._pool = futures.ThreadPoolExecutor(1, 'restore')
    # By name.
    self._jobs: dict[str, futures.Future[checkpoints.Backbone]] = {}

  def start(self, checkpoint: checkpoints.Checkpoint) -> None:
    """Has a checkpoint restored that will be taken soon."""
    if checkpoint.name not in self._jobs:
      job = self._pool.submit(checkpoints.restore, checkpoint)
      self._jobs[checkpoint.name] = job

  def take(self, checkpoint: checkpoints.Checkpoint) -> checkpoints.Backbone:
    """Gives a checkpoint, which is not kept.

    Raises:
      Exception: what `checkpoints.restore` does.
    """
    job = self._jobs.pop(checkpoint.name, None)
    return checkpoints.restore(checkpoint) if job is None else job.result()
