# SPDX-License-Identifier: Apache-2.0
"""A ranking run, checked before any long work."""

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

from neucrab_jax import measures, storage
from neucrab_jax.ranking import (
  candidates,
  feature_files,
  racing,
  scoring,
)
from neucrab_jax.typing import Config


def _chosen(config: Config) -> dict[str, dict[str, Any]]:
  """The measures of a run, and all options of each, checked."""
  if 'measures' in config:
    names = [name.strip() for name in config.measures.split(',')]
    given = config.options.to_dict()
  else:
    names = [config.measure.name]
    given = {config.measure.name: config.measure.options.to_dict()}
  chosen = {}
  for name in names:
    options = {**measures.default_options(name), **given.get(name, {})}
    measures.check_options(name, options)
    chosen[name] = options
  return chosen


@dataclasses.dataclass(frozen=True)
class Run:
  """A ranking run that was found sound, and has not started.

  Attributes:
    config: as one of `configs/`.
    folder: for the results.
    candidates: what is ranked.
    scorers: one for each measure.
    num_resamples: of the examples; 0 for an uncertainty to first order.
    race: what is looked for by a race; None without one.
  """

  config: Config
  folder: pathlib.Path
  candidates: candidates.Candidates
  scorers: tuple[scoring.Scorer, ...]
  num_resamples: int
  race: racing.Settings | None = None


def _find(config: Config) -> candidates.Candidates:
  """What the config says."""
  if config.get('features') or 'checkpoints' not in config:
    return feature_files.find(config.features)
  # Files of features need neither networks nor what decodes images.
  from neucrab_jax.ranking import networks

  return networks.find(config)


def prepare(
  config: Config,
  workdir: str,
  find: Callable[[Config], candidates.Candidates] | None = None,
) -> Run:
  """Checks all that can be checked before any long work.

  Args:
    config: as one of `configs/`.
    workdir: the folder for the results.
    find: gives what is ranked, if not what the config says.

  Raises:
    ValueError: if the input is bad.
  """
  chosen = _chosen(config)
  num_resamples = config.get('num_resamples', 0)
  measures.check_num_resamples(num_resamples)
  measures.check_seed(config.seed)
  if config.num_threads < 0:
    raise ValueError(
      f'num_threads must not be negative, but is {config.num_threads}.'
    )
  race = racing.settings(config, tuple(chosen))
  folder = storage.open_workdir(workdir)
  found = (find or _find)(config)
  scorers = tuple(
    scoring.Scorer(
      name,
      options,
      seed=config.seed,
      num_resamples=num_resamples,
      folder=folder / name if len(chosen) > 1 else folder,
    )
    for name, options in chosen.items()
  )
  if race:
    found = racing.sized(found)
  return Run(config, folder, found, scorers, num_resamples, race)
