# SPDX-License-Identifier: Apache-2.0
"""The tables of docs/which_measure.md, from evaluations and published figures.

    python -m experiments.which_measure --evaluations='runs/*/evaluation.json'
    python -m experiments.which_measure --ceilings

The first prints, for each evaluation, how far each predictor agrees with the
accuracies, whether that is beyond chance after correction for the number of
predictors, what the best of one and of three picks is worth, and which of two
is better after correction. The second prints how far accuracies agree with
themselves: after 800 examples with those after 70 % of the data; on 200
validation examples with those on the test set; and one run with another, by the
networks that are in a table twice.

Axes: M checkpoints.
"""

import argparse
import collections
import pathlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from configs import published
from neucrab_jax import benchmark, input_files, storage
from neucrab_jax.benchmark import exclusion, metrics, record, significance
from neucrab_jax.finetuning import known_accuracies

FOLDER = pathlib.Path(benchmark.__file__).parent / 'published'
LEVEL = 0.05
# The tasks of the small table that the large one has under another name.
NAMES = {
  'oxford_flowers102': 'flowers',
  'oxford_iiit_pet': 'pets',
  'svhn_cropped': 'svhn',
}
# Who publishes weights, and who uploads the same ones again.
AGAIN, FIRST = 'nielsr', ('facebook', 'google', 'microsoft')
NUM_DRAWS = 200


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
  lines = [header, ['---'] * len(header), *rows]
  return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def _number(value: float | None) -> str:
  if value is None or np.isnan(value):
    return '–'
  return f'{value:.2f}'.replace('-', '−')


def _row(row: record.Row, beyond: bool) -> list[str]:
  tau = row.average['kendall_tau']
  span = ''
  if tau.low is not None:
    span = f' ({_number(tau.low)} … {_number(tau.high)})'
  picks = (
    _number(row.average[name].value)
    for name in ('weighted_kendall_tau', 'rel_at_1', 'rel_at_3', 'recall_at_3')
  )
  return [row.name, f'{_number(tau.value)}{"*" * beyond}{span}', *picks]


def tell(aligned: record.Alignment) -> None:
  """Prints one group and kind of accuracies."""
  print(
    f'\n{aligned.group}, {aligned.accuracy}: {len(aligned.checkpoints)} '
    f'checkpoints, {len(aligned.tasks)} tasks\n'
  )
  tested = [row for row in aligned.rows if row.p_value is not None]
  adjusted = significance.holm([row.p_value or 1.0 for row in tested])
  beyond = {
    row.name: bool(p < LEVEL) for row, p in zip(tested, adjusted, strict=True)
  }
  print(
    markdown(
      ['', 'τ', 'weighted τ', 'Rel@1', 'Rel@3', 'Recall@3'],
      [_row(row, beyond.get(row.name, False)) for row in aligned.rows],
    )
  )
  holding = [c for c in aligned.comparisons if c.p_holm < LEVEL]
  print(
    f'\n{len(holding)} of {len(aligned.comparisons)} differences hold: '
    + (', '.join(f'{c.better} > {c.worse}' for c in holding) or 'none')
  )
  told = aligned.comparisons[:3]
  told += tuple(c for c in aligned.comparisons[3:] if c.better == 'combined')
  for c in told:
    print(
      f'  {c.better} − {c.worse}: {c.difference:.3f} ({c.low:.3f} … '
      f'{c.high:.3f}), p {c.p:.3f}, corrected {c.p_holm:.3f}'
    )


def tell_means(evaluations: Sequence[record.Evaluation]) -> None:
  """Prints the mean τ over an evaluation's groups, beside other evaluations."""
  columns: list[dict[str, list[float]]] = []
  for evaluation in evaluations:
    taus: dict[str, list[float]] = {}
    for aligned in evaluation.alignments:
      for row in aligned.rows:
        value = row.average['kendall_tau'].value
        taus.setdefault(row.name, []).append(np.nan if value is None else value)
    columns.append(taus)
  names = dict.fromkeys(name for column in columns for name in column)
  rows = [
    [name, *(_number(float(np.mean(c[name]))) for c in columns)]
    for name in names
    if all(name in column for column in columns)
  ]
  header = ['mean τ over groups', *map(str, range(1, len(columns) + 1))]
  print(f'\n{markdown(header, rows)}')


Table = Mapping[str, Mapping[str, float]]


def _read(name: str) -> Table:
  """A published table by task and checkpoint, after its rule."""
  config = published.get_config(name)
  accuracies = known_accuracies.read_all(str(FOLDER / f'{name}.csv'))
  kept, _ = exclusion.apply(
    accuracies, exclusion.read(config.leave_out.to_dict())
  )
  (table,) = kept.values()
  return {
    NAMES.get(task, task): {name: known.value for name, known in row.items()}
    for task, row in table.items()
  }


def _agreement(
  one: Mapping[str, float], other: Mapping[str, float]
) -> tuple[float, int]:
  names = [name for name in one if name in other]
  tau = metrics.kendall_tau(
    [one[name] for name in names], [other[name] for name in names]
  )
  return tau, len(names)


def _column(name: str, column: str) -> Table:
  found: dict[str, dict[str, float]] = collections.defaultdict(dict)
  for where, row in input_files.rows(FOLDER / f'{name}.csv'):
    value = input_files.number(where, column, row[column])
    if value is not None:
      task = NAMES.get(row['task'], row['task'])
      found[task][row['checkpoint']] = value
  return found


def run_noise(name: str) -> dict[str, tuple[float, int]]:
  """By task, the standard deviation of a run, and of how many pairs.

  The same weights that are in a table twice were fine-tuned twice; what differs
  is chance.
  """
  found = {}
  config = published.get_config(name)
  chance = config.leave_out.chance
  for task, row in _column(name, 'accuracy').items():
    original = next(t for t in (task, *NAMES) if NAMES.get(t, t) == task)
    pairs = []
    for checkpoint, value in row.items():
      owner, _, rest = checkpoint.partition('/')
      others = [f'{first}/{rest}' for first in FIRST]
      if owner == AGAIN:
        pairs += [(value, row[other]) for other in others if other in row]
    least = chance[original if original in chance else task] + 0.01
    pairs = [pair for pair in pairs if min(pair) > least]
    if pairs:
      differences = np.array([one - other for one, other in pairs])
      found[task] = float(np.sqrt(np.mean(differences**2) / 2)), len(pairs)
  return found


def run_ceilings(name: str) -> list[list[str]]:
  """What τ another run of all fine-tuning would have, by the noise of a run."""
  rng = np.random.default_rng(0)
  table, rows, taus = _read(name), [], []
  for task, (std, pairs) in run_noise(name).items():
    values = np.array(list(table[task].values()))
    noise = np.sqrt(2) * std * rng.standard_normal((NUM_DRAWS, len(values)))
    tau = np.mean([metrics.kendall_tau(values + e, values) for e in noise])
    taus.append(tau)
    rows.append([task, f'{std:.4f}', str(pairs), _number(tau)])
  return [*rows, ['mean', '', '', _number(float(np.mean(taus)))]]


def ceilings() -> None:
  """Prints how far accuracies agree with themselves."""
  few, full = _read('huggingface_1k'), _read('huggingface_full')
  validation = _column('huggingface_1k', 'validation_accuracy')
  header = ['task', 'τ', 'checkpoints']
  for title, one, other in (
    ('800 examples against 70 % of the data', few, full),
    ('200 validation examples against the test set', validation, few),
  ):
    rows, taus = [], []
    for task in (task for task in other if task in one):
      tau, count = _agreement(other[task], one[task])
      taus.append(tau)
      rows.append([task, _number(tau), str(count)])
    rows.append(['mean', _number(float(np.mean(taus))), ''])
    print(f'\n{title}\n\n{markdown(header, rows)}')
  for name in ('huggingface_1k', 'huggingface_full'):
    print(f'\none run against another, {name}\n')
    print(
      markdown(
        ['task', 'std of a run', 'pairs', 'τ of two runs'], run_ceilings(name)
      )
    )


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--evaluations', default='')
  parser.add_argument('--ceilings', action='store_true')
  arguments = parser.parse_args()
  files = input_files.find(
    arguments.evaluations, setting='evaluations', inside=('evaluation.json',)
  )
  evaluations = [storage.read_json(file, record.Evaluation) for file in files]
  for evaluation in evaluations:
    for aligned in evaluation.alignments:
      tell(aligned)
  if any(len(evaluation.alignments) > 1 for evaluation in evaluations):
    tell_means(evaluations)
  if arguments.ceilings:
    ceilings()


if __name__ == '__main__':
  main()
