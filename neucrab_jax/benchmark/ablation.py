# SPDX-License-Identifier: Apache-2.0
"""NLEEP's own parameters, swept: which of them does its agreement hang on?

A run leaves `ablation.json`, `ablation.csv`, `report.html` and `config.json`.

Axes: N examples, K components, S seeds, M checkpoints.
"""

import functools
import itertools
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence

import jax
import numpy as np
from jaxtyping import Float, Int

from neucrab_jax import (
  environment,
  features,
  input_files,
  measures,
  parallel,
  progress,
  spelling,
  storage,
)
from neucrab_jax.benchmark import metrics, record
from neucrab_jax.benchmark.alignment import MIN_CHECKPOINTS
from neucrab_jax.finetuning import known_accuracies
from neucrab_jax.measures import nleep
from neucrab_jax.ops import covariances, float64, pca
from neucrab_jax.reports import ablation_page, ablation_table
from neucrab_jax.typing import Config

SCHEMA = 1
# EM as `measures.nleep` has it by default.
_EM = {
  option: measures.default_options('nleep')[option]
  for option in ('max_iterations', 'tolerance')
}


def sweep_scores(
  x: Float[np.ndarray, 'N D'],
  labels: Int[np.ndarray, 'N'],
  *,
  energies: Sequence[float],
  components_per_class: Sequence[int],
  kinds: Sequence[str],
  num_seeds: int,
  seed: int,
  advance: Callable[[int], None] = lambda count: None,
) -> Iterator[tuple[float, int, str, Float[np.ndarray, 'S']]]:
  """NLEEP of one checkpoint under every combination of its parameters.

  One PCA, with the most energy, serves all; less of it is fewer of its columns.

  Args:
    x: [N, D] features.
    labels: [N], integers from 0 to C − 1.
    energies: shares of the variance that PCA keeps.
    components_per_class: K / C.
    kinds: of the mixture's covariance.
    num_seeds: S.
    seed: of the mixtures' initialisations.
    advance: called after each combination.

  Yields:
    The energy, the components per class, the covariance, and [S] scores, nats.
  """
  num_classes = int(labels.max()) + 1
  x = float64.standard(x)
  projection = pca.fit(x, energy=max(energies))
  z = pca.transform(projection, x)
  kept = np.cumsum(np.asarray(projection.explained_energy, np.float64))
  keys = jax.random.split(jax.random.key(seed), num_seeds)
  for energy, per_class, covariance in itertools.product(
    energies, components_per_class, kinds
  ):
    enough = np.searchsorted(kept, energy - pca.ENERGY_ROUNDING) + 1
    columns = z[:, : min(enough, z.shape[1])]
    by_example, _ = nleep.score_projected(
      columns,
      labels,
      keys,
      num_components=max(1, min(num_classes * per_class, len(labels))),
      covariance=covariance,
      **_EM,
    )
    yield energy, per_class, covariance, by_example.mean(axis=1)
    advance(1)


def check(config: Config) -> None:
  """Raises ValueError if `sweep` or `seed` of a config cannot be."""
  sweep = config.sweep
  measures.check_seed(config.seed)
  for name in ('energies', 'components_per_class', 'covariances'):
    if not len(sweep[name]):
      raise ValueError(f'sweep.{name} is empty. Give at least one value.')
  for energy in sweep.energies:
    if not 0 < energy <= 1:
      raise ValueError(f'An energy must be from 0 to 1, not {energy}.')
  for count in sweep.components_per_class:
    if count < 1:
      raise ValueError(
        f'There must be at least 1 component per class, not {count}.'
      )
  for covariance in sweep.covariances:
    if covariance not in covariances.KINDS:
      raise spelling.unknown('covariance', covariance, covariances.KINDS)
  if sweep.num_seeds < 1:
    raise ValueError(f'There must be at least 1 seed, not {sweep.num_seeds}.')


def _accuracies(config: Config, names: Sequence[str]) -> dict[str, float]:
  """The one kind of accuracies on one task that features are judged by."""
  if not config.accuracies:
    raise ValueError('Give --config.accuracies, a CSV or a folder of records.')
  tables = {
    (name, task): found
    for name, by_task in known_accuracies.read_all(config.accuracies).items()
    for task, found in by_task.items()
    if config.task in ('', task) and config.accuracy in ('', name)
  }
  if len(tables) != 1:
    raise ValueError(
      f'There are {len(tables)} tables of accuracies to judge by'
      + ''.join(f'; {name} of {task}' for name, task in tables)
      + '. Name one by --config.accuracy and --config.task.'
    )
  (found,) = tables.values()
  known = {name: found[name].value for name in names if name in found}
  if len(known) < MIN_CHECKPOINTS:
    raise ValueError(
      f'{len(known)} checkpoints have both features and an accuracy; at least '
      f'{MIN_CHECKPOINTS} must. Features: {", ".join(names)}. '
      f'Accuracies: {", ".join(found)}.'
    )
  return known


def _agreements(
  by_setting: dict[tuple[float, int, str], list[np.ndarray]],
  accuracies: Sequence[float],
) -> tuple[record.Setting, ...]:
  """For each setting, the τ of each seed and of the mean over seeds."""
  rows = []
  for (energy, per_class, covariance), found in by_setting.items():
    matrix = np.stack(found, axis=1)  # [S, M]
    taus = [metrics.kendall_tau(row, accuracies) for row in matrix]
    known = [tau for tau in taus if not np.isnan(tau)]
    mean = matrix.mean(axis=0)
    rows.append(
      record.Setting(
        energy=energy,
        components_per_class=per_class,
        covariance=covariance,
        tau=record.defined(metrics.kendall_tau(mean, accuracies)),
        tau_by_seed=tuple(map(record.defined, taus)),
        tau_std=statistics.stdev(known) if len(known) > 1 else None,
        scores=tuple(mean.tolist()),
      )
    )
  return tuple(rows)


_COLUMNS = ('energy', 'components_per_class', 'covariance', 'tau', 'tau_std')


def _csv(ablation: record.Ablation) -> str:
  return storage.to_csv(
    _COLUMNS,
    ([getattr(row, column) for column in _COLUMNS] for row in ablation.rows),
  )


def num_settings(swept: Config) -> int:
  """How many combinations of parameters a sweep has."""
  return (
    len(swept.energies)
    * len(swept.components_per_class)
    * len(swept.covariances)
  )


def judge(
  files: Mapping[str, Callable[[], features.Features]],
  accuracies: Mapping[str, float],
  *,
  swept: Config,
  seed: int,
  bar: progress.Bar,
) -> record.Ablation:
  """Scores checkpoints under each setting, and judges each by the accuracies.

  Args:
    files: by checkpoint, what gets its features.
    accuracies: of those of them that have one.
    swept: which settings, as `sweep` of `configs/ablation.py`.
    seed: of the mixtures' initialisations.
    bar: advanced by each checkpoint under each setting.
  """
  options = swept.to_dict()
  options['kinds'] = options.pop('covariances')
  by_setting: dict[tuple[float, int, str], list[np.ndarray]] = {}
  for name in accuracies:
    bar.describe(name)
    found = files[name]()
    checked = measures.check_inputs(
      'nleep', features=found.features, labels=found.labels
    ).arguments
    for energy, per_class, covariance, values in sweep_scores(
      checked['features'],
      checked['labels'],
      **options,
      seed=seed,
      advance=bar.advance,
    ):
      setting = energy, per_class, covariance
      by_setting.setdefault(setting, []).append(values)
  return record.Ablation(
    schema=SCHEMA,
    checkpoints=tuple(accuracies),
    accuracies=tuple(accuracies.values()),
    left_out=tuple(sorted(set(files) - set(accuracies))),
    rows=_agreements(by_setting, list(accuracies.values())),
    environment=environment.current(seed=seed),
  )


def sweep(config: Config, workdir: str) -> record.Ablation:
  """Sweeps, shows the agreement under each setting, and writes it.

  Args:
    config: as `configs/ablation.py`.
    workdir: the folder for the results.

  Returns:
    The record that `ablation.json` holds.

  Raises:
    ValueError: if the input is bad; before any long work starts.
  """
  check(config)
  folder = storage.open_workdir(workdir)
  files = {
    file.stem: file
    for file in input_files.find(
      config.features, setting='features', inside=('*.npz',)
    )
  }
  if not files:
    raise ValueError("Give --config.features='DIR/*.npz'.")
  accuracies = _accuracies(config, list(files))
  settings = num_settings(config.sweep)
  with progress.bar(settings * len(accuracies)) as bar:
    ablation = judge(
      {name: functools.partial(features.read, files[name]) for name in files},
      accuracies,
      swept=config.sweep,
      seed=config.seed,
      bar=bar,
    )
  if parallel.is_primary():
    given = storage.settings(config)
    storage.write_json(folder / 'config.json', given)
    storage.write_json(folder / 'ablation.json', ablation)
    storage.write_text(folder / 'ablation.csv', _csv(ablation))
    page = ablation_page.render(ablation, config=given)
    storage.write_text(folder / 'report.html', page)
    ablation_table.show(ablation, folder)
  return ablation
