# SPDX-License-Identifier: Apache-2.0
"""The state of training on disk, by orbax: the last one, whole, after any kill.

What orbax writes appears under its final name when it is complete, and the one
before goes only then. The order of the data is a function of seed and step, so
no state of a random generator is kept.
"""

import pathlib
import shutil

import jax
import msgspec
import numpy as np
from absl import logging
from orbax import checkpoint as ocp

from neucrab_jax import interruption, parallel, storage, stores
from neucrab_jax.finetuning import steps
from neucrab_jax.finetuning.record import Point


class Seen(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
  """What lies beside a state.

  Attributes:
    curves: of each trial, its points until then.
    seconds: of training and validation until then.
    compile_seconds: of compiling for these.
    finished: whether no step is left to take.
    sha256: of the state and of the above, as `Store` puts it there.
  """

  curves: tuple[tuple[Point, ...], ...]
  seconds: float
  finished: bool
  sha256: str = ''
  compile_seconds: float = 0.0


def _digest(step: int, state: steps.State, seen: Seen) -> str:
  """Of all that a run goes on from: orbax does not notice a flipped bit."""
  arrays = jax.tree.leaves(parallel.fetch(state))
  about = msgspec.structs.replace(seen, sha256='')
  return storage.digest(
    step, repr(msgspec.to_builtins(about)), *map(np.asarray, arrays)
  )


class Store:
  """Keeps the last state of some trials, and what was seen until then.

  Every process of a run uses it at the same time, on a folder they share.
  """

  def __init__(self, folder: pathlib.Path):
    self._folder = folder.absolute()
    if parallel.is_primary():
      stores.pull_folder(self._folder)
    self._manager = self._open()

  def _open(self) -> ocp.CheckpointManager:
    return ocp.CheckpointManager(
      self._folder,
      options=ocp.CheckpointManagerOptions(
        max_to_keep=1,
        cleanup_tmp_directories=True,
        enable_async_checkpointing=False,
      ),
    )

  def save(self, step: int, state: steps.State, seen: Seen) -> None:
    """Saves the state after a step, and what was seen until then."""
    sealed = msgspec.structs.replace(seen, sha256=_digest(step, state, seen))
    with interruption.deferred():
      self._manager.save(
        step,
        args=ocp.args.Composite(
          state=ocp.args.StandardSave(state),
          seen=ocp.args.JsonSave(msgspec.to_builtins(sealed)),
        ),
      )
      if parallel.is_primary():
        stores.push_folder(self._folder)

  @interruption.deferred()
  def restore(self, like: steps.State) -> tuple[int, steps.State, Seen] | None:
    """The last step, its state and what was seen; None if there is none.

    Args:
      like: a state of the same shapes, on the host.

    Returns:
      The state as it was saved, replicated on all devices. A damaged one is as
      good as none.
    """
    step = self._manager.latest_step()
    if step is None:
      return None
    placed = parallel.replicate(like, devices=jax.devices())
    try:
      found = self._manager.restore(
        step,
        args=ocp.args.Composite(
          state=ocp.args.StandardRestore(placed), seen=ocp.args.JsonRestore()
        ),
      )
      state, seen = found['state'], msgspec.convert(found['seen'], Seen)
      if seen.sha256 != _digest(step, state, seen):
        raise storage.DamagedFileError('it does not match its own digest.')
      return step, state, seen
    except Exception as error:
      logging.warning(
        'The state in %s is damaged, so that training starts again: %s',
        self._folder, error,
      )  # fmt: skip
      self._manager.close()
      if parallel.is_primary():
        shutil.rmtree(self._folder, ignore_errors=True)
      self._manager = self._open()
      return None

  def close(self) -> None:
    with interruption.deferred():
      self._manager.close()


def forget(folder: pathlib.Path) -> None:
  """Removes the states of trials whose result is on record."""
  if parallel.is_primary():
    stores.remove_folder(folder)
