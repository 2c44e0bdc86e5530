# SPDX-License-Identifier: Apache-2.0
r"""Judges measures by how well they predict which checkpoints transfer best.

  python -m neucrab_jax.evaluate --config=configs/neucrab_mini.py
  python -m neucrab_jax.evaluate --config=configs/published.py
  python -m neucrab_jax.evaluate --config=configs/neucrab.py \
      --config.checkpoint_dir=rank_ckpt --estimate
  python -m neucrab_jax.evaluate --config=configs/evaluate.py \
      --config.rankings='runs/*/ranking.json' --config.accuracies=runs/finetune

Exit status: 0; 1 if a fine-tuning or a score of its own failed, of which the
tables are without; 2 if the input was bad, 130 after Ctrl-C.
"""

from neucrab_jax import interruption

interruption.heed_from_start(__name__)

from absl import flags

from neucrab_jax import command_line
from neucrab_jax.benchmark import run
from neucrab_jax.typing import Config

flags.adopt_module_key_flags(command_line)
_ESTIMATE = flags.DEFINE_bool(
  'estimate', False, 'Say what neucrab.py would cost, and start nothing.'
)


def main(config: Config, workdir: str) -> int:
  # Tests call it without a command line.
  estimate = flags.FLAGS.is_parsed() and _ESTIMATE.value
  if 'finetune' in config:
    # What training needs takes seconds to import.
    from neucrab_jax.benchmark import experiment

    outcome = experiment.conduct(config, workdir=workdir, estimate=estimate)
    return command_line.FAILED if outcome.failed else 0
  if estimate:
    raise ValueError('--estimate is for --config=configs/neucrab.py.')
  if 'sweep' in config:
    # What its plots need does, too.
    from neucrab_jax.benchmark import ablation

    ablation.sweep(config, workdir=workdir)
    return 0
  evaluation = run.evaluate(config, workdir=workdir)
  return command_line.FAILED if evaluation.failed else 0


def start() -> None:
  command_line.start(main, config='neucrab_mini.py', own=[_ESTIMATE])


if __name__ == '__main__':
  start()
