# SPDX-License-Identifier: Apache-2.0
"""The whole experiment: fine-tune, rank, judge, sweep NLEEP, print the tables.

Each step finds what an earlier run, another machine or a run that was killed
has left in the folder, and does the rest:

    finetune/TASK/accuracies/  a record for each checkpoint and task
    rankings/GROUP/TASK/       scores by each measure
    evaluation.json            the judgement, with report.html
    ablation/GROUP/TASK/       NLEEP under other parameters
    tables.txt, .csv, .tex     the paper's tables
    seconds.txt, .csv, .tex    what each measure and fine-tuning took
"""

import dataclasses
import functools
import pathlib
from collections.abc import Mapping, Sequence

import ml_collections
from absl import logging

from neucrab_jax import parallel, progress, storage
from neucrab_jax.benchmark import ablation, planning, price, record, run
from neucrab_jax.benchmark.alignment import MIN_CHECKPOINTS
from neucrab_jax.features import record as features
from neucrab_jax.finetuning import known_accuracies, sweep
from neucrab_jax.finetuning import run as finetuning_run
from neucrab_jax.ranking import candidates, networks
from neucrab_jax.reports import paper_tables
from neucrab_jax.typing import Config

# What there is to do, in this order; judging ranks what is not ranked yet.
STEPS = ('finetune', 'rank', 'judge', 'ablate')
# Settings that fine-tuning and ranking share, and the experiment has once.
_SHARED = ('checkpoint_dir', 'preprocessing', 'weights', 'cache_dir')


@dataclasses.dataclass(frozen=True)
class Outcome:
  """What a run came to.

  Attributes:
    evaluation: the judgement; None if there is none.
    failed: what was asked for and is not there, a line each.
  """

  evaluation: record.Evaluation | None
  failed: tuple[str, ...]


def _steps(config: Config) -> list[str]:
  chosen = planning.split(config.steps)
  unknown = [step for step in chosen if step not in STEPS]
  if unknown or not chosen:
    raise ValueError(
      f'steps={config.steps!r}: choose of {", ".join(STEPS)}, separated by '
      'commas.'
    )
  return chosen


def _with_shared(config: Config, part: Config) -> Config:
  """A part of the config, with what the experiment has once."""
  made: Config = ml_collections.ConfigDict(part.to_dict())
  for name in _SHARED:
    made[name] = config[name]
  made.task.data_dir = config.data_dir
  return made


def finetuning_config(
  config: Config, names: Sequence[str], task: str
) -> Config:
  """The config of fine-tuning checkpoints on a task."""
  made = _with_shared(config, config.finetune)
  made.checkpoints, made.task.name = ','.join(names), task
  return made


def ranking_config(config: Config, names: Sequence[str], task: str) -> Config:
  """The config of ranking checkpoints on a task."""
  made = _with_shared(config, config.rank)
  made.checkpoints, made.task.name = ','.join(names), task
  return made


def _place(folder: pathlib.Path, task: str) -> pathlib.Path:
  return folder / 'finetune' / pathlib.Path(task).name


def _judging_config(
  config: Config, found: planning.Plan, folder: pathlib.Path
) -> Config:
  accuracies = config.accuracies or str(
    folder / 'finetune' / '*' / 'accuracies' / '*' / '*.json'
  )
  made: Config = ml_collections.ConfigDict()
  made.groups = {
    group: {
      'checkpoints': ','.join(names),
      'accuracies': accuracies,
      'order': found.orders[group],
    }
    for group, names in found.groups.items()
  }
  made.tasks = ','.join(found.tasks)
  made.rank = _with_shared(config, config.rank)
  made.num_resamples, made.seed = config.num_resamples, config.seed
  return made


def _ablate_one(
  config: Config, names: Sequence[str], task: str, folder: pathlib.Path,
  accuracies: Mapping[str, float],
) -> record.Ablation:  # fmt: skip
  """NLEEP's parameters on one group and task, or what is on disk of them."""
  ranked = networks.find(ranking_config(config, names, task))
  key = storage.digest(
    storage.to_builtins(ranked.task),
    storage.settings(config.ablation),
    config.seed,
    dict(accuracies),
    config.preprocessing,
    config.weights,
  )
  file = folder / key[:12] / 'ablation.json'
  if file.exists():
    return storage.read_json(file, record.Ablation)

  def get(candidate: candidates.Candidate) -> features.Features:
    return candidate.compute(lambda count: None).features

  files = {c.name: functools.partial(get, c) for c in ranked.candidates}
  known = {name: accuracies[name] for name in files if name in accuracies}
  total = ablation.num_settings(config.ablation) * len(known)
  with progress.bar(total) as bar:
    made = ablation.judge(
      files, known, swept=config.ablation, seed=config.seed, bar=bar
    )
  if parallel.is_primary():
    storage.write_json(file, made)
  return made


def _ablate(
  config: Config, found: planning.Plan, folder: pathlib.Path
) -> tuple[dict[tuple[str, str], record.Ablation], list[str]]:
  """By group and task, how NLEEP's agreement depends on its parameters.

  Returns:
    The records, and what failed: all of a group on a task, if one checkpoint
    did, as the sweep compares the same ones under each setting.
  """
  chosen = _judging_config(config, found, folder).groups
  made, failed = {}, []
  for group, names in found.groups.items():
    tables = known_accuracies.read_all(chosen[group].accuracies)
    table = next(iter(tables.values()))
    for task in found.tasks:
      row = table.get(task, {})
      known = {name: row[name].value for name in names if name in row}
      if len(known) < MIN_CHECKPOINTS:
        continue
      place = folder / 'ablation' / group / pathlib.Path(task).name
      try:
        made[group, task] = _ablate_one(config, names, task, place, known)
      except Exception as error:
        logging.debug('%s on %s failed', group, task, exc_info=True)
        failed.append(f'sweep of {group} on {task}: {error}')
  return made, failed


def _finetune(
  config: Config, found: planning.Plan, folder: pathlib.Path
) -> list[str]:
  """Fine-tunes all on all tasks, and says what failed."""
  failed = []
  for task in found.tasks:
    wanted = finetuning_config(config, found.names, task)
    result = finetuning_run.finetune(wanted, str(_place(folder, task)))
    failed += [
      f'fine-tuning {failure.checkpoint} on {task}: {failure.error}'
      for failure in result.failed
    ]
  return failed


def _with_accuracies(
  config: Config, found: planning.Plan, folder: pathlib.Path
) -> tuple[planning.Plan, list[str]]:
  """The plan without the groups that fine-tuning left too few accuracies of.

  Returns:
    The rest, and a line on each that is left out.
  """
  try:
    chosen = _judging_config(config, found, folder).groups
    read = {
      group: known_accuracies.read_all(settings.accuracies)
      for group, settings in chosen.items()
    }
  except ValueError as error:
    return dataclasses.replace(found, groups={}), [str(error)]
  kept, told = {}, []
  for group, names in found.groups.items():
    rows = [row for table in read[group].values() for row in table.values()]
    having = {name for row in rows for name in row} & set(names)
    if len(having) >= MIN_CHECKPOINTS:
      kept[group] = names
    else:
      told.append(
        f'judging {group}: {len(having)} of its {len(names)} checkpoints have '
        f'an accuracy; at least {MIN_CHECKPOINTS} must.'
      )
  return dataclasses.replace(found, groups=kept), told


def _check(
  config: Config,
  found: planning.Plan,
  folder: pathlib.Path,
  steps: Sequence[str],
) -> None:
  """Refuses what would fail after long work, a step or a task later.

  Raises:
    ValueError: if a setting, or a split of a task, is not what it should be.
  """
  if 'finetune' in steps:
    for task in found.tasks:
      wanted = finetuning_config(config, found.names, task)
      sweep.Sweep(wanted, _place(folder, task)).check()
  if {'rank', 'judge'} & set(steps):
    run.check_rankings(_judging_config(config, found, folder), folder)


def conduct(config: Config, workdir: str, *, estimate: bool = False) -> Outcome:
  """Does what is to be done, and writes the paper's tables.

  What fails takes nothing else down: the tables are of what is there.

  Args:
    config: as `configs/neucrab.py`.
    workdir: the folder for the results, which several runs may share.
    estimate: whether to say only what it would cost.

  Raises:
    ValueError: if the input is bad; before any long work starts.
    interruption.Interrupted: on Ctrl-C; the next run goes on.
  """
  steps = _steps(config)
  ablation.check(
    ml_collections.ConfigDict({'sweep': config.ablation, 'seed': config.seed})
  )
  if config.accuracies:
    # What they are is not to be found out after the rankings.
    known_accuracies.read_all(config.accuracies)
    steps = [step for step in steps if step != 'finetune']
  found = planning.plan(config)
  folder = storage.open_workdir(workdir)
  paper_tables.tell('note', found.notes)
  if estimate:
    price.show(config, found.groups, found.tasks, steps=steps)
    return Outcome(None, ())
  _check(config, found, folder, steps)
  failed = _finetune(config, found, folder) if 'finetune' in steps else []
  evaluation, ablations = None, {}
  if 'judge' not in steps and 'rank' in steps:
    failed += run.make_all_rankings(
      _judging_config(config, found, folder), folder
    )
  judged = found
  if {'judge', 'ablate'} & set(steps):
    judged, told = _with_accuracies(config, found, folder)
    if not (judged.groups or failed):
      raise ValueError(' '.join(told))
    failed += told
  if 'judge' in steps and judged.groups:
    evaluation = run.evaluate(_judging_config(config, judged, folder), workdir)
    failed += evaluation.failed
  if 'ablate' in steps and judged.groups:
    ablations, told = _ablate(config, judged, folder)
    failed += told
  if parallel.is_primary():
    storage.write_json(folder / 'config.json', storage.settings(config))
    if evaluation or ablations:
      paper_tables.write(folder, evaluation, ablations)
    paper_tables.tell('failed', failed)
  return Outcome(evaluation, tuple(failed))
