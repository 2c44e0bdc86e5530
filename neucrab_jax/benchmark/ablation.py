# SPDX-License-Identifier: Apache-2.0
"""NLEEP's own parameters, swept: which of them does its agreement hang on?

A run leaves `ablation.json`, `ablation.csv`, `report.html` and `config.json`.

Axes: N examples, K components, S seeds, M checkpoints.
"""

import csv
import io
import itertools
import json
import pathlib
import statistics
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import ml_collections
import numpy as np
from rich import console as rich_console
from rich import progress, table

from neucrab_jax import features, measures, parallel, records, spelling
from neucrab_jax.benchmark import (
  ablation_report,
  contest,
  evidence,
  metrics,
  scoring,
  truth,
)
from neucrab_jax.ops import covariances, gmm, leep, pca

SCHEMA = 1
# EM as `measures.nleep` has it by default.
_EM = {
  option: measures.default_options('nleep')[option]
  for option in ('max_iterations', 'tolerance')
}

Record = dict[str, Any]


def scores(
  x: np.ndarray,
  labels: np.ndarray,
  *,
  energies: Sequence[float],
  components_per_class: Sequence[int],
  kinds: Sequence[str],
  num_seeds: int,
  seed: int,
  advance: Callable[[], None] = lambda: None,
) -> Iterator[tuple[float, int, str, np.ndarray]]:
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
  projection = pca.fit(x, energy=max(energies))
  z = pca.transform(projection, x)
  kept = np.cumsum(np.asarray(projection.explained_energy, np.float64))
  keys = jax.random.split(jax.random.key(seed), num_seeds)
  for energy, per_class, covariance in itertools.product(
    energies, components_per_class, kinds
  ):
    enough = np.searchsorted(kept, energy - pca.ENERGY_ROUNDING) + 1
    columns = z[:, : min(enough, z.shape[1])]
    mixtures = gmm.fit_many(
      keys,
      columns,
      num_components=max(1, min(num_classes * per_class, len(labels))),
      covariance=covariance,
      **_EM,
    )
    p = leep.predictions(mixtures, columns, labels, num_classes=num_classes)
    p = np.maximum(np.asarray(p, np.float64), np.finfo(np.float32).tiny)
    yield energy, per_class, covariance, np.log(p).mean(axis=1)
    advance()


def _check(config: ml_collections.ConfigDict) -> None:
  sweep = config.sweep
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


def _accuracies(
  config: ml_collections.ConfigDict, names: Sequence[str]
) -> dict[str, float]:
  """The one truth that the files of features have in common with a table."""
  if not config.accuracies:
    raise ValueError('Give --config.accuracies, a CSV or a folder of records.')
  tables = {
    (name, task): found
    for name, by_task in truth.read(config.accuracies).items()
    for task, found in by_task.items()
    if config.task in ('', task) and config.truth in ('', name)
  }
  if len(tables) != 1:
    raise ValueError(
      f'There are {len(tables)} tables of accuracies to judge by'
      + ''.join(f'; {name} of {task}' for name, task in tables)
      + '. Name one by --config.truth and --config.task.'
    )
  (found,) = tables.values()
  known = {name: found[name].value for name in names if name in found}
  if len(known) < contest.MIN_CHECKPOINTS:
    raise ValueError(
      f'{len(known)} checkpoints have both features and an accuracy; at least '
      f'{contest.MIN_CHECKPOINTS} must. Features: {", ".join(names)}. '
      f'Accuracies: {", ".join(found)}.'
    )
  return known


def _agreements(
  by_setting: dict[tuple[float, int, str], list[np.ndarray]],
  accuracies: Sequence[float],
) -> list[Record]:
  """For each setting, the τ of each seed and of the mean over seeds."""
  rows = []
  for (energy, per_class, covariance), found in by_setting.items():
    matrix = np.stack(found, axis=1)  # [S, M]
    taus = [metrics.kendall_tau(row, accuracies) for row in matrix]
    mean = metrics.kendall_tau(matrix.mean(axis=0), accuracies)
    defined = [tau for tau in taus if not np.isnan(tau)]
    rows.append(
      {
        'energy': energy,
        'components_per_class': per_class,
        'covariance': covariance,
        'tau': None if np.isnan(mean) else mean,
        'tau_by_seed': [None if np.isnan(tau) else tau for tau in taus],
        'tau_std': statistics.stdev(defined) if len(defined) > 1 else None,
        'scores': matrix.mean(axis=0).tolist(),
      }
    )
  return rows


def _csv(ablation: Record) -> str:
  text = io.StringIO()
  columns = (
    'energy', 'components_per_class', 'covariance', 'tau', 'tau_std',
  )  # fmt: skip
  writer = csv.DictWriter(
    text, columns, extrasaction='ignore', lineterminator='\n'
  )
  writer.writeheader()
  writer.writerows(ablation['rows'])
  return text.getvalue()


def sweep(config: ml_collections.ConfigDict, workdir: str) -> Record:
  """Sweeps, shows the agreement under each setting, and writes it.

  Args:
    config: as `configs/ablation.py`.
    workdir: the folder for the results.

  Returns:
    The record that `ablation.json` holds.

  Raises:
    ValueError: if the input is bad; before any long work starts.
  """
  _check(config)
  folder = pathlib.Path(workdir).expanduser()
  records.check_writable(folder)
  files = {
    file.stem: file
    for file in evidence.find(config.features, setting='features')
  }
  if not files:
    raise ValueError("Give --config.features='DIR/*.npz'.")
  accuracies = _accuracies(config, list(files))
  options = config.sweep.to_dict()
  options['kinds'] = options.pop('covariances')
  settings = (
    len(options['energies'])
    * len(options['components_per_class'])
    * len(options['kinds'])
  )
  by_setting: dict[tuple[float, int, str], list[np.ndarray]] = {}
  bars = progress.Progress(
    *progress.Progress.get_default_columns(),
    console=rich_console.Console(stderr=True),
  )
  with bars:
    bar = bars.add_task('', total=settings * len(accuracies))
    for name in accuracies:
      bars.update(bar, description=name)
      found = features.read(files[name])
      checked = measures.check_inputs(
        'nleep', features=found.features, labels=found.labels
      ).arguments
      for *setting, values in scores(
        checked['features'],
        checked['labels'],
        **options,
        seed=config.seed,
        advance=lambda: bars.advance(bar),
      ):
        by_setting.setdefault(tuple(setting), []).append(values)
  ablation = {
    'schema': SCHEMA,
    'checkpoints': list(accuracies),
    'accuracies': list(accuracies.values()),
    'left_out': sorted(set(files) - set(accuracies)),
    'rows': _agreements(by_setting, list(accuracies.values())),
    'environment': scoring.environment(seed=config.seed),
  }
  if parallel.is_primary():
    given = json.loads(config.to_json_best_effort())
    records.write_json(folder / 'config.json', given)
    records.write_json(folder / 'ablation.json', ablation)
    records.write_text(folder / 'ablation.csv', _csv(ablation))
    page = ablation_report.render(ablation, config=given)
    records.write_text(folder / 'report.html', page)
    _show(ablation, folder)
  return ablation


def _show(ablation: Record, folder: pathlib.Path) -> None:
  console = rich_console.Console(highlight=False)
  rows = table.Table(
    title=f"Kendall's τ of NLEEP, {len(ablation['checkpoints'])} checkpoints",
    caption='of the mean over seeds; ± is one standard deviation of a seed',
  )
  for column in ('energy', 'components per class', 'covariance', 'τ', '±'):
    rows.add_column(column, justify='right')
  for row in ablation['rows']:
    rows.add_row(
      f'{row["energy"]:g}',
      str(row['components_per_class']),
      row['covariance'],
      *(
        '–' if row[key] is None else f'{row[key]:.3f}'
        for key in ('tau', 'tau_std')
      ),
    )
  console.print(rows)
  if ablation['left_out']:
    console.print(
      'No accuracy for, and left out: ' + ', '.join(ablation['left_out']),
      soft_wrap=True,
      markup=False,
    )
  console.print(
    f'Written to {folder}: report.html, ablation.json, ablation.csv',
    soft_wrap=True,
  )
