# SPDX-License-Identifier: Apache-2.0
"""Finds which weights and data an experiment has, before anything runs."""

import dataclasses
from collections.abc import Mapping

from neucrab_jax import checkpoints, tasks
from neucrab_jax.benchmark.alignment import MIN_CHECKPOINTS
from neucrab_jax.typing import Config


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


def split(text: str) -> list[str]:
  """The parts of a setting that commas separate."""
  return [part.strip() for part in text.split(',') if part.strip()]


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
  for name in split(config.tasks):
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
