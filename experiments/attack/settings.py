# SPDX-License-Identifier: Apache-2.0
"""Route: flags and settings of the commands."""

import pathlib

import numpy as np

from experiments.attack import cases, commands, feature_files

_VALUES = (
  '', 'x', '-1', '0', '1', '1.5', 'nan', 'inf', '-inf', '1e999', 'None', 'True',
  str(2**31), str(2**63), str(2**70), '9' * 5000, '[]', '(1,)', '(', '{}',
  "__import__('os')", 'a,b', ',', ', ,', 'é', '\x00', 'gs://bucket/x',
  's3://b/x', 'http://h/x', 'hdfs://h/x', '/dev/null', '/dev/null/x',
  '~nobody/x', '/', '.', '..', '*', '[', '$(x)', '%s', '{0}', '[red]',
  'x' * 5000,
)  # fmt: skip

_RANK = (
  'seed', 'num_resamples', 'features', 'measure.name', 'measure.options.k',
  'measure', 'unheard', 'features.x', 'measure.options', 'measure.options.x',
)  # fmt: skip
_TASK = (
  'seed', 'num_resamples', 'task.name', 'task.split', 'task.data_dir',
  'task.num_examples', 'task.sample_seed', 'checkpoints', 'checkpoint_dir',
  'preprocessing', 'batch_size', 'cache_dir', 'measure.name',
  'measure.options.x', 'task', 'unheard',
)  # fmt: skip
_FINETUNE = (
  'task.name', 'task.train', 'task.validation', 'task.test', 'checkpoints',
  'task.num_examples', 'task.sample_seed', 'protocol.mode', 'protocol.seeds',
  'protocol.momentum', 'protocol.weight_decay', 'protocol.drops',
  'protocol.augmentation', 'protocol.batch_norm_decay', 'protocol.curve_points',
  'protocol.learning_rates', 'protocol.batch_size', 'protocol.warmup_steps',
  'save_steps', 'together', 'tensorboard', 'cache_dir', 'protocol.unheard',
)  # fmt: skip
_EVALUATE = (
  'group',
  'rankings',
  'accuracies',
  'order',
  'num_resamples',
  'seed',
  'unheard',
)

# Words that no setting takes.
_WORDS = (
  'b.npz', 'mini_random', 'config.seed=1', 'seed=1', '-', '--', '--config',
  '--config.seed', '--noconfig', '--workdir', '--x', '--config=', '-h=1',
  '--config.', '--config.seed=1=2', '--config=configs/nowhere.py',
  '--config=configs/features.py:nowhere', '--config=configs', '--flagfile=x',
  '--config=/dev/null', '--config=README.md', '--workdir=', '--workdir=\x00',
  '--workdir=/dev/null', '--workdir=gs://b/x', '--workdir=/proc/x',
)  # fmt: skip


def _draw(rng: np.random.Generator, settings: tuple[str, ...]) -> str:
  name = settings[rng.integers(len(settings))]
  value = _VALUES[rng.integers(len(_VALUES))]
  return f'--config.{name}={value}'


def make(rng: np.random.Generator, folder: pathlib.Path) -> cases.Case:
  """Makes a flag that is odd."""
  files = folder / 'flowers'
  feature_files.write(files)
  run, cache = folder / 'run', folder / 'cache'
  kind = rng.choice(['word', 'rank', 'task', 'finetune', 'evaluate'])
  if kind == 'word':
    odd = _WORDS[rng.integers(len(_WORDS))]
    return cases.Case(odd, lambda: commands.rank_files(files, run, odd))
  if kind == 'rank':
    odd = _draw(rng, _RANK)
    return cases.Case(odd, lambda: commands.rank_files(files, run, odd))
  if kind == 'task':
    odd, few = _draw(rng, _TASK), '--config.task.num_examples=40'
    return cases.Case(
      odd, lambda: commands.rank_task('digits', run, cache, few, odd)
    )
  if kind == 'finetune':
    odd = _draw(rng, _FINETUNE)
    return cases.Case(
      f'finetune {odd}', lambda: commands.finetune_heads(run, cache, odd)
    )
  odd = _draw(rng, _EVALUATE)
  return cases.Case(
    f'evaluate {odd}',
    lambda: commands.run(
      'evaluate', '--config=configs/evaluate.py', f'--workdir={run}', odd
    ),
  )
