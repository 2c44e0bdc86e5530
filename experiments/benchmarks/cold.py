# SPDX-License-Identifier: Apache-2.0
"""Rankings of files of features as a user waits for them, beside bare NumPy.

    python -m experiments.benchmarks.cold [--features='DIR/*.npz'] [--json=FILE]

Seconds of whole processes, imports and compilation included: ours, with how
sure the order is, from an empty cache of compiled programs and from a warm one;
and one that computes the bare numbers by NumPy and scikit-learn, as is usually
done (`usual`). NLEEP there fits one mixture, ours three. Without `--features`
24 files are made, of 1,000 examples, 43 classes and 64 to 1,280 features.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np

MEASURES = (
  'nleep', 'knn', 'linear', 'logme', 'parc', 'ridge_loo',
  'h_score_regularized', 'transrate',
)  # fmt: skip
_EXAMPLES, _CLASSES = 1_000, 43
_WIDTHS = (64, 64, 160, 256, 512, 576, 768, 1024, 1024, 1280, 1280, 1280)
_ROW = '{:22} {:>8} {:>8} {:>8} {:>8} {:>8}'


def make_files(folder: pathlib.Path) -> str:
  """Two files of each width; the pattern of all."""
  rng = np.random.default_rng(0)
  labels = rng.permutation(np.arange(_EXAMPLES) % _CLASSES)
  for place, width in enumerate(_WIDTHS * 2):
    centres = 0.3 * rng.standard_normal((_CLASSES, width))
    x = centres[labels] + rng.standard_normal((_EXAMPLES, width))
    x *= (1 + np.arange(width)) ** -0.5
    rotation = np.linalg.qr(rng.standard_normal((width, width)))[0]
    features = np.maximum(x @ rotation + 0.1, 0).astype(np.float16)
    np.savez(folder / f'net{place:02}.npz', features=features, labels=labels)
  return str(folder / '*.npz')


_BARE = """
import glob, sys
import numpy as np
from experiments.benchmarks import usual
for file in sorted(glob.glob(sys.argv[2])):
  with np.load(file) as arrays:
    x, labels = arrays['features'].astype(np.float32), arrays['labels']
  print(file, getattr(usual, sys.argv[1])(x, labels))
"""


def _seconds(command: list[str], **environment: str) -> float:
  start = time.perf_counter()
  subprocess.run(
    command,
    check=True,
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
    env={**os.environ, **environment},
  )
  return time.perf_counter() - start


def measure(name: str, pattern: str, folder: pathlib.Path) -> dict:
  """One row: seconds of the three processes."""
  cache = str(folder / f'cache_{name}')

  def ours(workdir: str) -> float:
    return _seconds(
      [
        sys.executable, '-m', 'neucrab_jax.rank',
        f'--config=configs/features.py:{name}', f'--config.features={pattern}',
        f'--workdir={folder / workdir}',
      ],
      XDG_CACHE_HOME=cache,
    )  # fmt: skip

  row = {'measure': name, 'cold': ours(f'{name}_cold')}
  row['warm'] = ours(f'{name}_warm')
  row['bare'] = _seconds([sys.executable, '-c', _BARE, name, pattern])
  return row


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
  parser.add_argument('--features', default='', help='pattern of files')
  parser.add_argument('--measures', default=','.join(MEASURES))
  parser.add_argument('--json', help='a file for the rows')
  options = parser.parse_args()
  rows = []
  with tempfile.TemporaryDirectory() as scratch:
    folder = pathlib.Path(scratch)
    pattern = options.features or make_files(folder)
    print(_ROW.format('seconds', 'cold', 'warm', 'bare', 'cold/', 'warm/'))
    for name in options.measures.split(','):
      row = measure(name, pattern, folder)
      rows.append(row)
      print(
        _ROW.format(
          name,
          *(f'{row[key]:.1f}' for key in ('cold', 'warm', 'bare')),
          *(f'{row[key] / row["bare"]:.2f}' for key in ('cold', 'warm')),
        ),
        flush=True,
      )
      if options.json:
        pathlib.Path(options.json).write_text(json.dumps(rows, indent=1))


if __name__ == '__main__':
  main()
