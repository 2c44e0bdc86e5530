# SPDX-License-Identifier: Apache-2.0
r"""Fine-tunes checkpoints on a task, and records how well each transfers.

  python -m neucrab_jax.finetune --config=configs/finetune.py
  python -m neucrab_jax.finetune --config=configs/finetune.py:vtab_1k \
      --config.task.name=path/to/images --workdir=runs/mine

With --estimate it says how long that would take on these devices, and ends.
Killed and started again, it goes on from the last state; what is on record is
not done again.

Exit status: 0 if all checkpoints were fine-tuned, 1 if some failed, 2 if the
input was bad, 130 after Ctrl-C.
"""

from neucrab_jax import interruption

interruption.heed_from_start(__name__)

from absl import flags

from neucrab_jax import command_line
from neucrab_jax.finetuning import estimate, run
from neucrab_jax.typing import Config

flags.adopt_module_key_flags(command_line)
_ESTIMATE = flags.DEFINE_bool(
  'estimate',
  False,
  'Measure some steps of each network on these devices, say how long all would '
  'take, and end.',
  # Of `evaluate`, too, where a program uses both.
  allow_override=True,
)


def main(config: Config, workdir: str) -> int:
  if _ESTIMATE.value:
    found = estimate.estimate(config, workdir=workdir)
    return command_line.FAILED if found.failed else 0
  result = run.finetune(config, workdir=workdir)
  return command_line.FAILED if result.failed else 0


def start() -> None:
  command_line.start(main, config='finetune.py', own=[_ESTIMATE])


if __name__ == '__main__':
  start()
