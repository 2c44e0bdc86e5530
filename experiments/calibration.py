# SPDX-License-Identifier: Apache-2.0
"""Whether rankings are as sure as they say, on files of features.

    python -m experiments.calibration --features='DIR/*.npz' [--measures=knn]

Splits the examples in two, class by class, ranks all files on one half, and
looks up on the other which pairs hold. A pair that truly holds with Φ(z) holds
on as many other examples, which have their own error, with Φ(z/√2): that is
compared with the share that did. Both halves state, over `--repeats` splits.

The two halves of one sample err to opposite sides: the few pairs that are tied
on all of it hold less often than that, which tells nothing of other samples. So
it is said how many different pairs a number is of.

Axes: M checkpoints.
"""

import argparse
import itertools
from collections.abc import Sequence

import numpy as np
from scipy import special

from neucrab_jax import features, input_files, measures
from neucrab_jax.ranking import confidence

MEASURES = (
  'nleep', 'knn', 'ridge_loo', 'linear', 'logme', 'h_score_regularized',
)  # fmt: skip
BINS = ((0.5, 0.7), (0.7, 0.9), (0.9, 0.99), (0.99, 1.0))
_ROW = '{:20} {:>22} {:>20} {:>20} {:>20} {:>22}'


def halve(
  labels: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
  """Indices of two halves; of odd classes every other has its last in either.

  Where D is near N, a score may hang on N itself.
  """
  first = np.zeros(len(labels), bool)
  extra = rng.integers(2)
  for label in rng.permutation(np.unique(labels)):
    members = rng.permutation(np.flatnonzero(labels == label))
    first[members[: (len(members) + extra) // 2]] = True
    extra ^= len(members) % 2
  return np.flatnonzero(first), np.flatnonzero(~first)


def _scores(
  files: Sequence[features.Features], rows: np.ndarray, measure: str
) -> tuple[np.ndarray, np.ndarray]:
  """Scores [M] on some of the examples, and their covariance [M, M]."""
  found = [
    measures.evaluate(
      measure,
      features=file.features[rows],
      labels=np.unique(file.labels[rows], return_inverse=True)[1],
    )
    for file in files
  ]
  covariance = confidence.covariance(found)
  assert covariance is not None, f'{measure} does not say how sure it is.'
  return np.array([one.score for one in found]), covariance


def pairs(
  files: Sequence[features.Features], measure: str, *, repeats: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Of all pairs, as they were stated, how sure, whether it held, and which."""
  stated, held, which = [], [], []
  labels = np.asarray(files[0].labels)
  for repeat in range(repeats):
    halves = halve(labels, np.random.default_rng(repeat))
    found = [_scores(files, rows, measure) for rows in halves]
    for (scores, covariance), (others, _) in (found, found[::-1]):
      above = confidence.above(scores, covariance)
      for i, j in itertools.permutations(range(len(files)), 2):
        if scores[i] > scores[j] and others[i] != others[j]:
          stated.append(special.ndtr(special.ndtri(above[i, j]) / np.sqrt(2)))
          held.append(others[i] > others[j])
          which.append(min(i, j) * len(files) + max(i, j))
  return np.array(stated), np.array(held), np.array(which)


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
  parser.add_argument('--features', required=True, help='pattern of files')
  parser.add_argument('--measures', default=','.join(MEASURES))
  parser.add_argument('--repeats', type=int, default=5)
  options = parser.parse_args()
  paths = input_files.find(options.features, setting='features')
  files = [features.read(path) for path in paths]
  print(f'{len(files)} files, {len(files[0].labels)} examples.')
  print('Stated and held / how often (of how many pairs), by what was stated:')
  print(_ROW.format('', 'all', *(f'{low}-{high}' for low, high in BINS)))
  for measure in options.measures.split(','):
    stated, held, which = pairs(files, measure, repeats=options.repeats)
    cells = []
    for low, high in ((0.0, 1.0), *BINS):
      chosen = (stated >= low) & ((stated < high) | (high == 1))
      cells.append(
        f'{stated[chosen].mean():.3f} {held[chosen].mean():.3f}/{chosen.sum()} '
        f'({len(np.unique(which[chosen]))})'
        if chosen.any()
        else '-'
      )
    print(_ROW.format(measure, *cells), flush=True)


if __name__ == '__main__':
  main()
