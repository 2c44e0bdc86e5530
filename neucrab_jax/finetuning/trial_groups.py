# SPDX-License-Identifier: Apache-2.0
"""Which trials of a sweep run together, as one program."""

import collections
from collections.abc import Callable, Sequence

import jax

from neucrab_jax.finetuning.protocol import Trial

# Of a device's memory, what trials together may take. The rest is for
# fragmentation and the next batches.
_MEMORY_SHARE = 0.8


def _limit() -> int | None:
  """Bytes of a device's memory, or None if nobody knows.

  The limit, not what is free of it: the groups must not depend on what else is
  in memory when a run goes on.
  """
  limit = (jax.local_devices()[0].memory_stats() or {}).get('bytes_limit')
  return None if limit is None else int(_MEMORY_SHARE * limit)


def _size(
  num_trials: int, *, together: int, needs: Callable[[int], int]
) -> int:
  """How many of some trials run together."""
  if together:
    return min(together, num_trials)
  if jax.default_backend() == 'cpu':
    # A trial alone keeps all cores busy, and convolutions of several kernels at
    # once are slow there: `experiments.benchmarks.finetune` has the ratio.
    return 1
  limit = _limit()
  while limit and num_trials > 1 and needs(num_trials) > limit:
    num_trials = -(-num_trials // 2)
  return num_trials


def groups(
  trials: Sequence[Trial], *, together: int, needs: Callable[[int], int]
) -> list[tuple[Trial, ...]]:
  """Groups trials of as many steps.

  Args:
    trials: of a sweep.
    together: how many at most; 0 for as many as is fast and fits.
    needs: how many bytes a step of so many trials takes on a device.
  """
  by_steps = collections.defaultdict(list)
  for trial in trials:
    by_steps[trial.steps].append(trial)
  found = []
  for alike in by_steps.values():
    size = _size(len(alike), together=together, needs=needs)
    found += [
      tuple(alike[start : start + size]) for start in range(0, len(alike), size)
    ]
  return found
