# SPDX-License-Identifier: Apache-2.0
"""Judges measures by how well they predict accuracies.

A run leaves `evaluation.json`, `evaluation.csv`, `report.html` and
`config.json` in its folder; all but the last are views of the first.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import ml_collections

from neucrab_jax import (
  checkpoints,
  environment,
  input_files,
  interruption,
  measures,
  parallel,
  progress,
  storage,
)
from neucrab_jax.benchmark import (
  alignment,
  analysis,
  bootstrap,
  exclusion,
  fixed_order,
  joining,
  known_controls,
  metrics,
  record,
)
from neucrab_jax.finetuning import known_accuracies
from neucrab_jax.ops import blas
from neucrab_jax.ranking import ahead, networks, predictions
from neucrab_jax.ranking import run as ranking_run
from neucrab_jax.reports import evaluation_page, evaluation_table
from neucrab_jax.typing import Config

SCHEMA = 1

# More would fill the memory, and tell no more.
_MAX_RESAMPLES = 1_000_000

_GROUP = ('checkpoints', 'rankings', 'accuracies', 'order', 'history_alone')


def _groups(config: Config) -> Mapping[str, Any]:
  """By name; one alone may stand in the config itself."""
  given = config.to_dict()
  groups = given.get('groups', {given.get('group'): given})
  return {
    name: {key: group.get(key, '') for key in _GROUP}
    for name, group in groups.items()
  }


def _read_accuracies(
  name: str, group: Mapping[str, Any]
) -> known_accuracies.KnownAccuracies:
  if not group['accuracies']:
    raise ValueError(
      f'{name}: there are no accuracies to judge by. Give '
      '--config.accuracies, the folder that fine-tuning left or a CSV.'
    )
  return known_accuracies.read_all(group['accuracies'])


def _prepare_rankings(
  config: Config, chosen: str, folder: pathlib.Path
) -> list[ranking_run.Run]:
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
  runs: dict[str, ranking_run.Run] = {}
  find = functools.partial(networks.find, restorer=ahead.Restorer())
  for name in tasks:
    wanted: Config = ml_collections.ConfigDict(config.rank.to_dict())
    wanted.checkpoints = chosen
    wanted.task.name = name
    place = folder / pathlib.Path(name).name
    run = ranking_run.prepare(wanted, str(place), find)
    task = run.candidates.task
    same = runs.setdefault(task.name, run)
    # The same task, written in two ways, is ranked once.
    if same.candidates.task.data.isdisjoint(task.data):
      raise ValueError(
        f'{same.config.task.name!r} and {name!r} are different tasks of one '
        f'name, {task.name!r}. Rename one of them.'
      )
  return list(runs.values())


def _restrict(
  accuracies: known_accuracies.KnownAccuracies, names: Sequence[str]
) -> known_accuracies.KnownAccuracies:
  """The accuracies of some checkpoints alone."""
  return {
    kind: {
      task: {name: table[name] for name in names if name in table}
      for task, table in tables.items()
    }
    for kind, tables in accuracies.items()
  }


def _make_rankings(
  runs: Sequence[ranking_run.Run], bar: progress.Bar
) -> tuple[list[predictions.Predictions], list[str]]:
  """Makes rankings, or finds that they are made already.

  Returns:
    What they predict, and a note on each checkpoint that failed.

  Raises:
    interruption.Interrupted: on Ctrl-C; what was done is written.
  """
  predicted, failures = [], {}
  for run in runs:
    ranked = ranking_run.score(run, bar)
    if ranked.interrupted:
      raise interruption.Interrupted
    predicted += ranked.predictions
    for ranking in ranked.rankings.values():
      for failure in ranking.failed:
        why = failure.checkpoint, failure.error
        failures.setdefault(why, {})[ranking.task.name] = None
  notes = [
    f'{name} failed on {", ".join(tasks)}: {error}'
    for (name, error), tasks in failures.items()
  ]
  return predicted, notes


def check_rankings(
  config: Config, folder: pathlib.Path
) -> list[ranking_run.Run]:
  """The rankings of all groups on all tasks, found sound and not started.

  Args:
    config: with `groups`, each with `checkpoints`; `tasks`; and `rank`.
    folder: of the run.

  Raises:
    ValueError: if the input is bad.
  """
  return [
    run
    for name, group in _groups(config).items()
    for run in _prepare_rankings(
      config, group['checkpoints'], folder / 'rankings' / name
    )
  ]


def make_all_rankings(config: Config, folder: pathlib.Path) -> list[str]:
  """Ranks all groups on all tasks; returns what failed, a line each."""
  runs = check_rankings(config, folder)
  with progress.bar(sum(run.candidates.size for run in runs)) as bar:
    return _make_rankings(runs, bar)[1]


# Scores with their accuracies, and the predictions that they were made from.
_Pair = tuple[alignment.AlignedScores, list[predictions.Predictions]]


def _align(
  config: Config, folder: pathlib.Path
) -> tuple[list[_Pair], list[str]]:
  """Aligns each group; rankings of those with `checkpoints` are made first.

  Returns:
    What is aligned, and a line on each checkpoint that could not be ranked.
  """
  groups = _groups(config)
  rule = exclusion.read(config.to_dict().get('leave_out', {}))
  accuracies, told = {}, {}
  for name, group in groups.items():
    accuracies[name], told[name] = exclusion.apply(
      _read_accuracies(name, group), rule
    )
  runs = {}
  for name, group in groups.items():
    if chosen := group['checkpoints']:
      runs[name] = _prepare_rankings(config, chosen, folder / 'rankings' / name)
      names = checkpoints.expand(chosen)
      accuracies[name] = _restrict(accuracies[name], names)
      alignment.check(
        name,
        tasks=[
          joining.counterpart(
            run.candidates.task.name,
            run.candidates.task.data,
            known=joining.known_tasks(accuracies[name]),
          )
          for run in runs[name]
        ],
        names=names,
        accuracies=accuracies[name],
      )
  found = {
    name: (
      predictions.read(input_files.find(group['rankings'], setting='rankings')),
      [],
    )
    for name, group in groups.items()
    if name not in runs
  }
  if runs:
    total = sum(run.candidates.size for all_ in runs.values() for run in all_)
    with progress.bar(total) as bar:
      for name, of_group in runs.items():
        found[name] = _make_rankings(of_group, bar)
  pairs = []
  for name, group in groups.items():
    predicted, notes = found[name]
    predicted, joined = joining.join(predicted, accuracies[name])
    notes = [*told[name], *joined, *notes]
    aligned = alignment.align(
      name,
      predicted=predicted,
      accuracies=accuracies[name],
      order=group['order'],
      alone=bool(group['history_alone']),
    )
    for one in aligned:
      one = dataclasses.replace(one, notes=(*one.notes, *notes))
      with blas.one_thread():
        pairs.append((known_controls.add(one), predicted))
  failed = dict.fromkeys(line for _, lines in found.values() for line in lines)
  return pairs, list(failed)


def _csv(evaluation: record.Evaluation) -> str:
  """One row for each predictor, task and metric; 'average' is over tasks."""
  rows = []
  for aligned in evaluation.alignments:
    for row in aligned.rows:
      parts = {'average': row.average} | {
        task: found.metrics for task, found in row.tasks.items()
      }
      for task, found in parts.items():
        for metric, cell in found.items():
          whose = aligned.group, aligned.accuracy, task, row.name, row.role
          rows.append((*whose, metric, cell.value, cell.low, cell.high))
  header = (
    'group', 'accuracy', 'task', 'name', 'role', 'metric', 'value', 'low',
    'high',
  )  # fmt: skip
  return storage.to_csv(header, rows)


def _sources(
  alignments: Sequence[record.Alignment],
) -> tuple[record.Source, ...]:
  files = dict.fromkeys(
    source
    for aligned in alignments
    for source in (
      *(
        source
        for row in aligned.rows
        for task in row.tasks.values()
        for source in task.sources
      ),
      *(point.source for task in aligned.points.values() for point in task),
    )
  )
  return tuple(
    record.Source(file, storage.digest(pathlib.Path(file).read_bytes()))
    for file in files
    if file != fixed_order.FROM_CONFIG
  )


def evaluate(config: Config, workdir: str) -> record.Evaluation:
  """Judges, shows the judgement, and writes it.

  Args:
    config: as `configs/evaluate.py`; or with `groups`, each with `rankings`,
      `accuracies` and `order`; or as `configs/neucrab_mini.py`, whose groups
      have `checkpoints` that are to be ranked first; with `leave_out`, as
      `exclusion.read` takes it, for what is not to be judged by.
    workdir: the folder for the results.

  Returns:
    The record that `evaluation.json` holds.

  Raises:
    ValueError: if the input is bad.
    interruption.Interrupted: on Ctrl-C while ranking; the next run goes on.
  """
  measures.check_seed(config.seed)
  if not 1 <= config.num_resamples <= _MAX_RESAMPLES:
    raise ValueError(
      f'num_resamples must be from 1 to {_MAX_RESAMPLES:,}, not '
      f'{config.num_resamples:,}.'
    )
  folder = storage.open_workdir(workdir)
  pairs, failed = _align(config, folder)
  alignments = []
  total = sum(len(aligned.predictors) for aligned, _ in pairs)
  # The products are small: threads would wait longer than they work.
  with progress.bar(total) as bar, blas.one_thread():
    for aligned, predicted in pairs:
      bar.describe(f'{aligned.group}, {aligned.accuracy}')
      alignments.append(
        analysis.analyse(
          aligned,
          predicted,
          num_resamples=config.num_resamples,
          seed=config.seed,
          advance=bar.advance,
        )
      )
  evaluation = record.Evaluation(
    schema=SCHEMA,
    alignments=tuple(alignments),
    num_resamples=config.num_resamples,
    confidence=bootstrap.CONFIDENCE,
    sources=_sources(alignments),
    environment=environment.current(seed=config.seed),
    failed=tuple(failed),
  )
  if parallel.is_primary():
    settings = storage.settings(config)
    labels = {name: label for name, (label, _) in metrics.METRICS.items()}
    storage.write_json(folder / 'config.json', settings)
    storage.write_json(folder / 'evaluation.json', evaluation)
    storage.write_text(folder / 'evaluation.csv', _csv(evaluation))
    page = evaluation_page.render(evaluation, labels=labels, config=settings)
    storage.write_text(folder / 'report.html', page)
    evaluation_table.show(evaluation, folder, labels=labels)
  return evaluation
