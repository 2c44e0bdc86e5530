# SPDX-License-Identifier: Apache-2.0
"""Newer measures beside ours: how well each orders checkpoints.

    python -m experiments.newer_measures [--num_examples=1000]
    python -m experiments.newer_measures --features='DIR/*.npz' \
        --accuracies=FILE.csv --random=NAME

The first takes the tasks, groups and accuracies of NeuCRaB-mini, the second
files of features of one task, of which that called NAME is of random weights.
Printed is Kendall's τ with the accuracies, by group its mean over the tasks.
What is no measure of ours is written here as its authors' code has it, in NumPy
and scikit-learn, f64:

- NCTI (Wang et al., ICCV 2023), whose three parts are brought to [0, 1] over
  the checkpoints of a group before they are added;
- Kite (2024, arXiv 2405.01603), by linear kernels: alignment with the labels'
  kernel over that with the features of a network of random weights;
- Spread and Attract (2025, arXiv 2502.16471), which move features before a
  measure of ours sees them. The released code spreads them and then goes on
  with those that it had not; `attract` is that, `spread, attract` is both.

Axes: N examples, D features, K components, C classes, M checkpoints.
"""

import argparse
import collections
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from sklearn import decomposition, discriminant_analysis

from configs import neucrab_mini
from neucrab_jax import checkpoints, features, input_files, measures
from neucrab_jax.benchmark import metrics
from neucrab_jax.finetuning import known_accuracies
from neucrab_jax.ranking import networks
from neucrab_jax.typing import Config

OURS = (
  'linear', 'ridge_loo', 'gbc', 'nleep', 'logme', 'h_score_regularized',
  'lfc', 'sfda', 'interclass_distance', 'concept_variance',
)  # fmt: skip
MOVED = ('nleep', 'gbc', 'logme', 'sfda')
RANDOM = 'mini_random'

_COMPONENTS = 64
# Of NCTI: variances that decide the shrinkage, and its least value.
_NUM_VARIANCES, _SMALLEST_SHRINKAGE = 32, 1e-10
# Of Attract: features of which exp(−5 times the mean of the two largest
# variances) is more are left as they are; how far a class moves towards
# another, and how much of their widths keeps them from it.
_DECAY, _LARGEST = 5.0, 1e-9
_STEP, _WIDTHS = 0.005, 0.6

Matrix = Float[np.ndarray, 'N D']
Labels = Int[np.ndarray, 'N']


def _components(x: Matrix) -> tuple[np.ndarray, np.ndarray]:
  """The first coordinates [N, K] on the principal axes, and variances [K]."""
  pca = decomposition.PCA(min(_COMPONENTS, *x.shape), svd_solver='full')
  z = pca.fit_transform(x)
  return z, pca.explained_variance_


class Ncti(NamedTuple):
  """The parts of NCTI: larger is better, but for the last."""

  seli: float
  ncc: float
  vc: float


def ncti(x: Matrix, labels: Labels) -> Ncti:
  """What NCTI says of one checkpoint."""
  z, variances = _components(x)
  shrinkage = np.exp(-variances[:_NUM_VARIANCES].sum())
  if shrinkage <= _SMALLEST_SHRINKAGE:
    lda = discriminant_analysis.LinearDiscriminantAnalysis(solver='svd')
  else:
    lda = discriminant_analysis.LinearDiscriminantAnalysis(
      solver='eigen', shrinkage=float(shrinkage)
    )
  low = lda.fit_transform(z, labels)
  posterior = lda.predict_proba(z)
  by_class = [posterior[labels == c] for c in np.unique(labels)]
  return Ncti(
    seli=float(np.linalg.norm(low - low.mean(axis=0), 'nuc')),
    ncc=float(posterior[np.arange(len(labels)), labels].mean()),
    vc=float(np.log(sum(np.linalg.norm(p, 'nuc') for p in by_class))),
  )


def _to_unit(values: Sequence[float]) -> Float[np.ndarray, 'M']:
  found = np.asarray(values)
  spread = np.ptp(found)
  return (found - found.min()) / (spread if spread > 0 else 1)


def combine(parts: Sequence[Ncti]) -> Float[np.ndarray, 'M']:
  """NCTI of the checkpoints that are ranked together."""
  seli, ncc, vc = (_to_unit(part) for part in zip(*parts, strict=True))
  return seli + ncc - vc


def alignment(x: Matrix, y: Float[np.ndarray, 'N K']) -> float:
  """The centred alignment of two linear kernels."""
  x, y = x - x.mean(axis=0), y - y.mean(axis=0)
  norms = np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)
  return float(np.linalg.norm(x.T @ y) ** 2 / norms)


def kite(x: Matrix, labels: Labels, random: Matrix) -> float:
  """Alignment with the labels, over that with random features."""
  one_hot = np.eye(labels.max() + 1)[labels]
  return alignment(x, one_hot) / alignment(x, random)


def _means(x: Matrix, labels: Labels) -> Float[np.ndarray, 'C D']:
  return np.stack([x[labels == c].mean(axis=0) for c in np.unique(labels)])


def is_moved(x: Matrix) -> bool:
  """Whether Spread and Attract change anything."""
  singular = np.linalg.svd(x - x.mean(axis=0), compute_uv=False)
  mean = np.mean(singular[:2] ** 2) / len(x)
  return bool(np.exp(-_DECAY * mean) < _LARGEST)


def spread(x: Matrix, labels: Labels) -> Matrix:
  """Moves each example away from the mean of its class, by one."""
  away = x - _means(x, labels)[labels]
  norms = np.linalg.norm(away, axis=1, keepdims=True)
  return x + away / np.where(norms > 0, norms, 1)


def attract(x: Matrix, labels: Labels) -> Matrix:
  """Moves each class a little towards the others."""
  means = _means(x, labels)
  away = (x - means[labels]) ** 2
  widths = np.sqrt(_means(away, labels).sum(axis=1))
  between = means - means[:, None]  # From the first to the second.
  distances = np.linalg.norm(between, axis=2)
  step = _STEP * (distances - _WIDTHS * (widths + widths[:, None]))
  share = step / np.where(distances > 0, distances, 1)
  return x + np.einsum('ab,abd->ad', share, between)[labels]


def _both(x: Matrix, labels: Labels) -> Matrix:
  return attract(spread(x, labels), labels)


MOVES: Mapping[str, Callable[[Matrix, Labels], Matrix]] = {
  'attract': attract,
  'spread, attract': _both,
}


class Scores(NamedTuple):
  """What there is of one checkpoint on one task.

  Attributes:
    values: by measure.
    parts: of NCTI, whose value only the others' parts give.
  """

  values: dict[str, float]
  parts: Ncti


def _score(name: str, x: np.ndarray, labels: Labels) -> float:
  with warnings.catch_warnings():
    warnings.simplefilter('ignore', measures.MeasureWarning)
    return measures.score(name, features=x, labels=labels)


def score(found: features.Features, random: Matrix | None) -> Scores:
  """Scores one checkpoint by all measures."""
  labels = np.asarray(found.labels)
  x = np.asarray(found.features, np.float64)
  values = {name: _score(name, found.features, labels) for name in OURS}
  if random is not None:
    values['Kite'] = kite(x, labels, random)
  moves = is_moved(x)
  z = _components(x)[0] if moves else x
  for move, change in MOVES.items():
    moved = change(z, labels) if moves else x
    for name in MOVED:
      values[f'{name}, after {move}'] = _score(name, moved, labels)
  with warnings.catch_warnings():
    warnings.simplefilter('ignore', UserWarning)  # Of collinear features.
    return Scores(values, ncti(x, labels))


def taus(
  scored: Mapping[str, Scores], accuracies: Mapping[str, float]
) -> dict[str, float]:
  """By measure, τ over the checkpoints."""
  names = [name for name in scored if name in accuracies]
  if len(names) < 2:
    raise ValueError(
      f'{len(names)} of {len(scored)} checkpoints have an accuracy. Name them '
      f'in the accuracies as their files are: {", ".join(scored)}.'
    )
  known = [accuracies[name] for name in names]
  found = {
    measure: metrics.kendall_tau(
      [scored[name].values[measure] for name in names], known
    )
    for measure in scored[names[0]].values
  }
  together = combine([scored[name].parts for name in names])
  found['NCTI'] = metrics.kendall_tau(together, known)
  for part in Ncti._fields:
    sign = -1 if part == 'vc' else 1
    values = [sign * getattr(scored[name].parts, part) for name in names]
    found[f'NCTI, {part} alone'] = metrics.kendall_tau(values, known)
  return found


def _score_all(
  found: Iterable[tuple[str, features.Features]], random: str
) -> dict[str, Scores]:
  given = dict(found)
  other = given.get(random)
  x = None if other is None else np.asarray(other.features, np.float64)
  return {name: score(one, x) for name, one in given.items()}


def _values(
  table: Mapping[str, known_accuracies.KnownAccuracy],
) -> dict[str, float]:
  return {name: known.value for name, known in table.items()}


def on_mini(num_examples: int) -> dict[str, dict[str, float]]:
  """By group of NeuCRaB-mini and measure, the mean τ over the tasks."""
  config: Config = neucrab_mini.get_config()
  found: dict[str, dict[str, list[float]]] = {
    group: collections.defaultdict(list) for group in config.groups
  }
  for task in config.tasks.split(','):
    wanted = config.rank.copy_and_resolve_references()
    wanted.task.name, wanted.task.num_examples = task, num_examples
    wanted.checkpoints = ','.join((*config.groups, RANDOM))
    scored = _score_all(
      (
        (one.name, one.compute(lambda count: None).features)
        for one in networks.find(wanted).candidates
      ),
      RANDOM,
    )
    for group, of_group in config.groups.items():
      (known,) = known_accuracies.read_all(of_group.accuracies).values()
      members = {name: scored[name] for name in checkpoints.names(group)}
      for name, tau in taus(members, _values(known[task])).items():
        found[group][name].append(tau)
  return {
    group: {name: float(np.mean(values)) for name, values in row.items()}
    for group, row in found.items()
  }


def on_files(
  patterns: str, accuracies: str, random: str
) -> dict[str, dict[str, float]]:
  """By measure, τ over files of features of one task."""
  paths = input_files.find(patterns, setting='features', inside=('*.npz',))
  if random and random not in {path.stem for path in paths}:
    raise ValueError(
      f'There are no features of {random!r}. Give --random the name of a file '
      'without its ending.'
    )
  scored = _score_all(
    ((path.stem, features.read(path)) for path in paths), random
  )
  scored.pop(random, None)
  found = {}
  for kind, tables in known_accuracies.read_all(accuracies).items():
    for task, known in tables.items():
      found[f'{task}, {kind}'] = taus(scored, _values(known))
  return found


def show(columns: Mapping[str, Mapping[str, float]]) -> None:
  """Prints a table, by the last column."""
  names = next(iter(columns.values()))
  rows = {name: [column[name] for column in columns.values()] for name in names}
  header = list(columns)
  if len(header) > 1:
    header.append('mean')
    rows = {name: [*row, float(np.mean(row))] for name, row in rows.items()}
  print(f'| τ | {" | ".join(header)} |')
  print('|---' * (len(header) + 1) + '|')
  for name, row in sorted(rows.items(), key=lambda item: -item[1][-1]):
    cells = ' | '.join(f'{tau:.2f}'.replace('-', '−') for tau in row)
    print(f'| {name} | {cells} |')


def main(arguments: Sequence[str] | None = None) -> None:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--num_examples', type=int, default=200)
  parser.add_argument('--features', default='', help='pattern of files')
  parser.add_argument('--accuracies', default='')
  parser.add_argument('--random', default='', help='one of the files')
  options = parser.parse_args(arguments)
  if options.features:
    show(on_files(options.features, options.accuracies, options.random))
  else:
    show(on_mini(options.num_examples))


if __name__ == '__main__':
  main()
