# SPDX-License-Identifier: Apache-2.0
"""Rankings that an evaluation makes itself: of a group, on several tasks."""

import pathlib
from collections.abc import Sequence

import ml_collections

from neucrab_jax import checkpoints
from neucrab_jax.benchmark import (
  contest,
  joining,
  predictions,
  ranking,
  terminal,
  truth,
)


def prepare(
  config: ml_collections.ConfigDict, chosen: str, folder: pathlib.Path
) -> list[ranking.Run]:
  """A run for each task, whose rankings will be in a folder of its name.

  Args:
    config: with `tasks`, separated by commas, and `rank`, which is as
      `configs/measures.py` but for the task's name and the checkpoints.
    chosen: a group, or names separated by commas.
    folder: for the rankings.

  Raises:
    ValueError: if the input is bad.
  """
  tasks = [name.strip() for name in config.tasks.split(',') if name.strip()]
  if not tasks:
    raise ValueError("No task is chosen. Give --config.tasks='digits,photos'.")
  runs = []
  for name in tasks:
    wanted = ml_collections.ConfigDict(config.rank.to_dict())
    wanted.checkpoints = chosen
    wanted.task.name = name
    runs.append(ranking.prepare(wanted, str(folder / pathlib.Path(name).name)))
  return runs


def known_truths(
  group: str, chosen: str, runs: Sequence[ranking.Run], truths: truth.Truths
) -> truth.Truths:
  """The accuracies of the chosen checkpoints alone.

  Raises:
    ValueError: if there won't be enough to judge the rankings by.
  """
  names = checkpoints.expand(chosen)
  known = {
    name: {
      task: {name: table[name] for name in names if name in table}
      for task, table in tables.items()
    }
    for name, tables in truths.items()
  }
  # For who can be joined with what, any scores will do.
  scores = [
    predictions.Scores(
      contest.FIXED_ORDER,
      run.field.task['name'],
      joining.fixed_order(','.join(names)),
    )
    for run in runs
  ]
  joining.join(group, scores=scores, truths=known)
  return known


def score(
  runs: Sequence[ranking.Run], bar: terminal.Bar
) -> tuple[list[pathlib.Path], list[str]]:
  """Makes the rankings, or finds that they are made already.

  Returns:
    Their files, and a note on each checkpoint that failed.

  Raises:
    ranking.Interrupted: on Ctrl-C; what was done is written.
  """
  files, failures = [], {}
  for run in runs:
    for record in ranking.score(run, bar).values():
      for entry in record['failed']:
        why = entry['checkpoint'], entry['error']
        failures.setdefault(why, {})[run.field.task['name']] = None
    files += [judge.folder / 'ranking.json' for judge in run.judges]
  notes = [
    f'{name} failed on {", ".join(tasks)}: {error}'
    for (name, error), tasks in failures.items()
  ]
  return files, notes
