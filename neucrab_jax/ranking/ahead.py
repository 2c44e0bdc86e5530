# SPDX-License-Identifier: Apache-2.0
"""Restores checkpoints ahead of their use, while another one runs."""

from concurrent import futures

from neucrab_jax import checkpoints

# Bytes of weights up to which a network is kept: hundreds have room.
_FEW_BYTES = 1 << 22
# Networks that are begun and not taken.
_AT_ONCE = 2


class Restorer:
  """Restores checkpoints in a thread, each when it is told to or asked for."""

  def __init__(self):
    self._pool = futures.ThreadPoolExecutor(1, 'restore')
    # By name.
    self._jobs: dict[str, futures.Future[checkpoints.Backbone]] = {}
    self._kept: dict[str, checkpoints.Backbone] = {}

  def start(self, checkpoint: checkpoints.Checkpoint) -> None:
    """Has a checkpoint restored that will be taken soon, or is asked again."""
    known = self._kept.keys() | self._jobs.keys()
    # Beside the next one: the networks of more could fill the memory.
    if checkpoint.name not in known and len(self._jobs) < _AT_ONCE:
      job = self._pool.submit(checkpoints.restore, checkpoint)
      self._jobs[checkpoint.name] = job

  def take(self, checkpoint: checkpoints.Checkpoint) -> checkpoints.Backbone:
    """Gives a checkpoint, which is kept for the next task only if it is small.

    Raises:
      Exception: what `checkpoints.restore` does.
    """
    name = checkpoint.name
    if name in self._kept:
      return self._kept[name]
    job = self._jobs.pop(name, None)
    found = checkpoints.restore(checkpoint) if job is None else job.result()
    if found.num_bytes <= _FEW_BYTES:
      self._kept[name] = found
    return found
