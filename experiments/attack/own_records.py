# SPDX-License-Identifier: Apache-2.0
"""Routes: damage to what earlier runs left, which the next one reads back."""

import pathlib
import shutil
from collections.abc import Callable
from typing import Any

import numpy as np

from experiments.attack import cases, commands, feature_files


def _damage(rng: np.random.Generator, file: pathlib.Path) -> str:
  """Flips a bit, or cuts, empties or replaces the file."""
  content = bytearray(file.read_bytes())
  kind = rng.choice(['flip', 'flip', 'flip', 'cut', 'empty', 'noise', 'digit'])
  if kind == 'digit':
    digits = [i for i, byte in enumerate(content) if chr(byte) in '0123456789']
    if digits:
      content[digits[rng.integers(len(digits))]] = ord('7')
  elif kind == 'cut':
    del content[rng.integers(max(len(content), 1)) :]
  elif kind == 'empty':
    content.clear()
  elif kind == 'noise' or not content:
    content = bytearray(rng.bytes(100))
  else:
    content[rng.integers(len(content))] ^= 1 << rng.integers(8)
  file.write_bytes(content)
  return str(kind)


def _case(
  rng: np.random.Generator,
  folder: pathlib.Path,
  *,
  run: Callable[[pathlib.Path], Any],
  kept: str,
  sound: pathlib.Path,
) -> cases.Case:
  """Damages a copy of what a sound run left.

  Args:
    rng: what damages.
    folder: of the case.
    run: runs in a folder, anew or again.
    kept: pattern of the files that it reads back.
    sound: where a sound run is, or will be.
  """
  if not sound.exists():
    run(sound)
  right = run(sound)
  stormy = folder / 'stormy'
  shutil.copytree(sound, stormy)
  files = sorted(file for file in stormy.glob(kept) if file.is_file())
  file = files[rng.integers(len(files))]
  kind = _damage(rng, file)
  about = f'{kind} in {file.relative_to(stormy)}'
  return cases.Case(about, lambda: run(stormy), right, may_refuse=False)


def make_scores(rng: np.random.Generator, folder: pathlib.Path) -> cases.Case:
  """Damages the score of a checkpoint."""
  files = folder.parent / 'features_of_scores' / 'flowers'
  feature_files.write(files)
  return _case(
    rng,
    folder,
    run=lambda workdir: commands.rank_files(files, workdir),
    kept='scores/**/*.json',
    sound=folder.parent / 'sound_scores',
  )


def make_cache(rng: np.random.Generator, folder: pathlib.Path) -> cases.Case:
  """Damages features in the cache."""

  def run(workdir: pathlib.Path) -> Any:
    for left in ('scores', 'ranking.json'):
      shutil.rmtree(workdir / left, ignore_errors=True)
    few = '--config.task.num_examples=40'
    return commands.rank_task('digits', workdir, workdir / 'cache', few)

  return _case(
    rng,
    folder,
    run=run,
    kept='cache/**/*.npz',
    sound=folder.parent / 'sound_cache',
  )


def make_accuracies(
  rng: np.random.Generator, folder: pathlib.Path
) -> cases.Case:
  """Damages an accuracy."""
  return _case(
    rng,
    folder,
    run=lambda workdir: commands.finetune_heads(workdir, workdir / 'cache'),
    kept='accuracies/**/*.json',
    sound=folder.parent / 'sound_accuracies',
  )
