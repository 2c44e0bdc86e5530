# SPDX-License-Identifier: Apache-2.0
r"""Ranks checkpoints by how well they will transfer to a task.

  python -m neucrab_jax.rank --config=configs/nleep.py
  python -m neucrab_jax.rank --config=configs/measure.py:knn \
      --config.task.name=path/to/images --workdir=runs/mine

Exit status: 0 if all checkpoints were ranked, 1 if some failed, 2 if the input
was bad, 130 after Ctrl-C.
"""

from neucrab_jax import interruption

interruption.heed_from_start(__name__)

from absl import flags

from neucrab_jax import command_line, parallel, storage
from neucrab_jax.ranking import run
from neucrab_jax.typing import Config

flags.adopt_module_key_flags(command_line)


def main(config: Config, workdir: str) -> int:
  known = None
  if config.get('known'):
    # Few ask for it, and it imports SciPy's statistics.
    from neucrab_jax.benchmark import elsewhere

    known = elsewhere.read(config.known)
  rankings = run.rank(config, workdir=workdir)
  if known is not None and parallel.is_primary():
    found = [ranking for ranking in rankings.values() if ranking.ranking]
    if found:
      elsewhere.tell(known, found, storage.open_workdir(workdir))
  failed = any(ranking.failed for ranking in rankings.values())
  return command_line.FAILED if failed else 0


def start() -> None:
  command_line.start(main, config='nleep.py')


if __name__ == '__main__':
  start()
