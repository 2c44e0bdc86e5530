# SPDX-License-Identifier: Apache-2.0
r"""Ranks checkpoints by how well they will transfer to a task.

  python -m neucrab_jax.rank --config=configs/nleep.py
  python -m neucrab_jax.rank --config=configs/measure.py:knn \
      --config.task.name=path/to/images --workdir=runs/mine

Exit status: 0 if all checkpoints were ranked, 1 if some failed, 2 if the input
was bad, 130 after Ctrl-C.
"""

import ml_collections
from absl import flags

from neucrab_jax import command_line
from neucrab_jax.benchmark import ranking

flags.adopt_module_key_flags(command_line)


def main(config: ml_collections.ConfigDict, workdir: str) -> int:
  try:
    result = ranking.rank(config, workdir=workdir)
  except ranking.Interrupted:
    return command_line.INTERRUPTED
  return command_line.FAILED if result['failed'] else 0


if __name__ == '__main__':
  command_line.start(main)
