# SPDX-License-Identifier: Apache-2.0
"""Measures at a large task's size: seconds, and memory beside the features.

    python -m experiments.benchmarks.large [--examples=87003] [--dims=1024] \\
        [--classes=397] [--measures=nleep]

One call of each, compiling included, on features that are made: their classes'
means, and noise of one variance in all dimensions. Memory is what the process
has at most beyond what it had before, in multiples of the features'; before
the first it has compiled nothing. The default size is SUN397's.
"""

import argparse
import pathlib
import resource
import threading
import time
import warnings

import numpy as np

from neucrab_jax import measures

_SEPARATION = 0.3  # of the classes' means, in standard deviations
_ROWS = 4096  # made at once
_ROW = '{:22} {:>12} {:>9} {:>9} {:>9}'


def make_problem(
  num_examples: int, num_dims: int, num_classes: int
) -> tuple[np.ndarray, np.ndarray]:
  """Features [N, D] f32 and labels [N]."""
  rng = np.random.default_rng(0)
  labels = np.arange(num_examples, dtype=np.int32) % num_classes
  means = _SEPARATION * rng.standard_normal((num_classes, num_dims), np.float32)
  features = np.empty((num_examples, num_dims), np.float32)
  for start in range(0, num_examples, _ROWS):
    rows = slice(start, min(start + _ROWS, num_examples))
    shape = rows.stop - rows.start, num_dims
    features[rows] = (
      rng.standard_normal(shape, np.float32) + means[labels[rows]]
    )
  return features, labels


def _resident() -> int:
  """Bytes of memory that the process has, as Linux tells."""
  pages = pathlib.Path('/proc/self/statm').read_text().split()[1]
  return int(pages) * resource.getpagesize()


class _Peak:
  """The most memory that the process has while it is watched, in bytes."""

  def __init__(self):
    self._done = threading.Event()
    self.before = self.most = _resident()

  def _watch(self):
    while not self._done.wait(0.01):
      self.most = max(self.most, _resident())

  def __enter__(self):
    self._thread = threading.Thread(target=self._watch)
    self._thread.start()
    return self

  def __exit__(self, *unused):
    self._done.set()
    self._thread.join()


def main():
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--examples', type=int, default=87_003)
  parser.add_argument('--dims', type=int, default=1_024)
  parser.add_argument('--classes', type=int, default=397)
  parser.add_argument('--measures', default='nleep')
  arguments = parser.parse_args()
  features, labels = make_problem(
    arguments.examples, arguments.dims, arguments.classes
  )
  print(_ROW.format('', 'score', '±', 'seconds', 'memory'))
  for name in arguments.measures.split(','):
    start = time.perf_counter()
    with warnings.catch_warnings(), _Peak() as peak:
      warnings.simplefilter('ignore')
      found = measures.evaluate(name, features=features, labels=labels)
    print(
      _ROW.format(
        name,
        f'{found.score:.6g}',
        f'{found.stderr:.2g}',
        f'{time.perf_counter() - start:.1f}',
        f'{(peak.most - peak.before) / features.nbytes:.1f}',
      ),
      flush=True,
    )


if __name__ == '__main__':
  main()
