# SPDX-License-Identifier: Apache-2.0
"""The commands, run in this process, and what they leave."""

import json
import pathlib
from typing import Any

from experiments.attack import cases
from neucrab_jax import evaluate, finetune, rank
from tests import in_process

_STARTS = {
  'rank': rank.start,
  'finetune': finetune.start,
  'evaluate': evaluate.start,
}

# Scores without what takes long and is no matter here.
_FEW = ('--config.num_resamples=0',)


def run(command: str, *arguments: str) -> None:
  """Runs a command that may find that some of its work failed.

  Raises:
    cases.RefusedError: if it said that its input is bad.
    cases.FaultError: if it ended in another way than it may.
  """
  status, out, errors = in_process.run(command, _STARTS[command], *arguments)
  if 'Traceback' in out + errors:
    raise cases.FaultError(out + errors)
  if status == 2:
    _, found, line = errors.partition(f'{command}: ')
    if not found:
      raise cases.FaultError(f'Refused without a line: {errors!r}')
    cases.check_line(line)
    raise cases.RefusedError(line)
  if status not in (0, 1):
    raise cases.FaultError(f'Status {status!r}: {errors}')


def _read(file: pathlib.Path) -> Any:
  # As strict as JSON is: NaN is none.
  def refuse(text):
    raise cases.FaultError(f'{file.name} has {text}')

  return json.loads(file.read_text(encoding='utf-8'), parse_constant=refuse)


def _check_failures(failures: list[dict[str, str]]) -> None:
  for failure in failures:
    cases.check_line(failure['error'])


def rank_files(folder: pathlib.Path, workdir: pathlib.Path, *arguments: str):
  """Scores by checkpoint of a folder of feature files."""
  run(
    'rank',
    '--config=configs/features.py:class_separation',
    f'--config.features={folder}',
    f'--workdir={workdir}',
    *_FEW,
    *arguments,
  )
  return scores(workdir)


def scores(workdir: pathlib.Path) -> dict[str, float]:
  """What the ranking in a folder came to."""
  ranking = _read(workdir / 'ranking.json')
  _check_failures(ranking['failed'])
  return {e['checkpoint']: float(e['score']) for e in ranking['ranking']}


def rank_task(
  task: pathlib.Path | str,
  workdir: pathlib.Path,
  cache: pathlib.Path,
  *arguments: str,
) -> dict[str, float]:
  """Scores of a small network on a task."""
  run(
    'rank',
    '--config=configs/measure.py:class_separation',
    '--config.checkpoints=mini_random',
    '--config.batch_size=16',
    f'--config.task.name={task}',
    f'--config.cache_dir={cache}',
    f'--workdir={workdir}',
    *_FEW,
    *arguments,
  )
  return scores(workdir)


def finetune_heads(
  workdir: pathlib.Path, cache: pathlib.Path, *arguments: str
) -> dict[str, Any]:
  """Accuracies of classifiers on a small network's features."""
  run(
    'finetune',
    '--config=configs/finetune.py',
    '--config.protocol.mode=head',
    '--config.checkpoints=mini_random,mini_vae',
    '--config.task.num_examples=40',
    '--config.protocol.steps=(20,)',
    '--config.protocol.learning_rates=(.1,)',
    '--config.protocol.batch_size=8',
    f'--config.cache_dir={cache}',
    f'--workdir={workdir}',
    *arguments,
  )
  return accuracies(workdir)


def accuracies(workdir: pathlib.Path) -> dict[str, Any]:
  """What the accuracies in a folder are, but for the time that they took."""
  found = {}
  for file in sorted(workdir.glob('accuracies/*/*.json')):
    record = _read(file)
    del record['sha256']  # Which is of the seconds, too.
    record.pop('warnings')
    for timed in (record, *record['trials']):
      for key in ('seconds', 'compile_seconds'):
        del timed[key]
    found[file.stem] = json.dumps(record, sort_keys=True)
  return found


def evaluated(
  rankings: pathlib.Path, accuracies: pathlib.Path, workdir: pathlib.Path
) -> dict[str, Any]:
  """Kendall's τ by predictor."""
  run(
    'evaluate',
    '--config=configs/evaluate.py',
    f'--config.rankings={rankings}',
    f'--config.accuracies={accuracies}',
    '--config.num_resamples=20',
    f'--workdir={workdir}',
  )
  result = _read(workdir / 'evaluation.json')
  return {
    row['name']: row['average']['kendall_tau']['value']
    for alignment in result['alignments']
    for row in alignment['rows']
  }
