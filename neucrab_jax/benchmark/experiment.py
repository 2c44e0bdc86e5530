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

from neucrab_jax import checkpoints, parallel, progress, storage, tasks
from neucrab_jax.benchmark import ablation, price, record, run
from neucrab_jax.benchmark.alignment import MIN_CHECKPOINTS
from neucrab_jax.features import record as features
from neucrab_jax.finetuning import known_accuracies
from neucrab_jax.finetuning import run as finetuning_run
from neucrab_jax.ranking import candidates
from neucrab_jax.reports import paper_tables
from neucrab_jax.typing import Config

# What there is to do, in this order; judging ranks what is not ranked yet.
STEPS = ('finetune', 'rank', 'judge', 'ablate')
# Settings that fine-tuning and ranking share, and the experiment has once.
_SHARED = ('checkpoint_dir', 'preprocessing', 'weights', 'cache_dir')


@dataclasses.dataclass(frozen=True)
class Plan:
  """What can be done with what is there.

  Attributes:
    groups: names of checkpoints whose weights are there.
    orders: of each group, the order to beat, or nothing.
    tasks: that could be loaded.
    notes: what is missing, and its remedy.
  """

  groups: Mapping[str, tuple[str, ...]]
  orders: Mapping[str, str]
  tasks: tuple[str, ...]
  notes: tuple[str, ...]

  @property
  def names(self) -> tuple[str, ...]:
    """All checkpoints, each once."""
    of_groups = self.groups.values()
    return tuple(dict.fromkeys(name for names in of_groups for name in names))


def _split(text: str) -> list[str]:
  return [part.strip() for part in text.split(',') if part.strip()]


def _steps(config: Config) -> list[str]:
  chosen = _split(config.steps)
  unknown = [step for step in chosen if step not in STEPS]
  if unknown or not chosen:
    raise ValueError(
      f'steps={config.steps!r}: choose of {", ".join(STEPS)}, separated by '
      'commas.'
    )
  return chosen


def _find_groups(
  config: Config,
) -> tuple[dict[str, tuple[str, ...]], dict[str, str], list[str]]:
  """By group, the checkpoints that are there and their order; and notes."""
  groups, orders, notes = {}, {}, []
  for group, settings in config.groups.items():
    found = checkpoints.select(
      settings.checkpoints,
      config.checkpoint_dir,
      config.preprocessing,
      config.weights,
    )
    lacking = {
      spec.name: why for spec in found if (why := checkpoints.missing(spec))
    }
    groups[group] = tuple(s.name for s in found if s.name not in lacking)
    order = settings.order
    if order in checkpoints.groups():
      known = checkpoints.names(order)
      order = ','.join(name for name in known if name in groups[group])
    orders[group] = order
    if lacking:
      notes.append(
        f'{group}: {len(lacking)} of {len(found)} weights are missing: '
        f'{", ".join(lacking)}. {next(iter(lacking.values()))} To have them: '
        f'python -m neucrab_jax.download --group={",".join(lacking)} '
        f'--dir={config.checkpoint_dir or "rank_ckpt"}'
      )
  if few := [name for name, of in groups.items() if len(of) < MIN_CHECKPOINTS]:
    together = dict.fromkeys(name for group in few for name in groups[group])
    if len(few) > 1 and together:
      groups['+'.join(few)] = tuple(together)
      orders['+'.join(few)] = ''
      notes.append(
        f'{", ".join(few)}: fewer than {MIN_CHECKPOINTS} checkpoints are there '
        'of each: they are judged together.'
      )
    for group in few:
      del groups[group], orders[group]
  groups = {name: found for name, found in groups.items() if found}
  return groups, orders, notes


def plan(config: Config) -> Plan:
  """Finds what is there, before anything runs.

  Raises:
    ValueError: if a setting is none, or neither weights nor data are there.
  """
  groups, orders, notes = _find_groups(config)
  found = []
  for name in _split(config.tasks):
    try:
      tasks.load(name, data_dir=config.data_dir or None)
    except (ValueError, RuntimeError) as error:
      notes.append(f'{name} is missing: {error}')
    else:
      found.append(name)
  if not found or not groups:
    what = 'task' if groups else 'checkpoint'
    raise ValueError(f'There is no {what} to go on with. {" ".join(notes)}')
  return Plan(groups, orders, tuple(found), tuple(notes))


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
  config: Config, found: Plan, folder: pathlib.Path
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
  ranked = candidates.from_checkpoints(ranking_config(config, names, task))
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
  config: Config, found: Plan, folder: pathlib.Path
) -> dict[tuple[str, str], record.Ablation]:
  """By group and task, how NLEEP's agreement depends on its parameters."""
  chosen = _judging_config(config, found, folder).groups
  made = {}
  for group, names in found.groups.items():
    tables = known_accuracies.read_all(chosen[group].accuracies)
    table = next(iter(tables.values()))
    for task in found.tasks:
      row = table.get(task, {})
      known = {name: row[name].value for name in names if name in row}
      if len(known) >= MIN_CHECKPOINTS:
        place = folder / 'ablation' / group / pathlib.Path(task).name
        made[group, task] = _ablate_one(config, names, task, place, known)
  return made


def conduct(
  config: Config, workdir: str, *, estimate: bool = False
) -> record.Evaluation | None:
  """Does what is to be done, and writes the paper's tables.

  Args:
    config: as `configs/neucrab.py`.
    workdir: the folder for the results, which several runs may share.
    estimate: whether to say only what it would cost.

  Returns:
    The judgement; None if none was asked for.

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
  found = plan(config)
  folder = storage.open_workdir(workdir)
  paper_tables.tell(found.notes)
  if estimate:
    price.show(config, found.groups, found.tasks, steps=steps)
    return None
  if 'finetune' in steps:
    for task in found.tasks:
      wanted = finetuning_config(config, found.names, task)
      finetuning_run.finetune(wanted, str(_place(folder, task)))
  judging = _judging_config(config, found, folder)
  evaluation, ablations = None, {}
  if 'judge' in steps:
    evaluation = run.evaluate(judging, workdir)
  elif 'rank' in steps:
    run.make_all_rankings(judging, folder)
  if 'ablate' in steps:
    ablations = _ablate(config, found, folder)
  if parallel.is_primary():
    storage.write_json(folder / 'config.json', storage.settings(config))
    if evaluation or ablations:
      paper_tables.write(folder, evaluation, ablations)
  return evaluation
