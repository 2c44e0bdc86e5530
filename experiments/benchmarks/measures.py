# SPDX-License-Identifier: Apache-2.0
"""Every measure beside its usual NumPy formulation, on this machine.

    python -m experiments.benchmarks.measures [--only=logme,parc] [--json=FILE]

Prints for each measure the seconds of its first call (with compilation), the
fastest of `--repeats` warm calls, the same with how sure the score is,
and of the rival; then which bars are met, and what extracting as many features
would take. Without a bar, a first call of more than half a minute is the only
one. N = 5,000, D = 2,048 and C = 100, features with a decaying spectrum in f32,
source probabilities of 1,000 classes. No compiled program of an earlier run is
used. The JSON has all of it, and is written anew after each row.

LogME misses its bar: it needs f64, and there the product of the features with
themselves and its reduction to a tridiagonal matrix, which LAPACK does slower
on two threads than on one, take more than the fifth of the rival's time by
themselves. kNN meets its bar in some runs and misses it in others: nearly
all of its time is the product of the features with themselves, of which it
computes one half.
"""

import argparse
import functools
import json
import os
import pathlib
import platform
import time
import warnings
from collections.abc import Callable

import jax
import numpy as np

from experiments.benchmarks import usual
from neucrab_jax import measures, models

_EXAMPLES, _DIMS, _CLASSES, _SOURCE_CLASSES = 5_000, 2_048, 100, 1_000
# How far the classes are apart, in standard deviations.
_SEPARATION = 0.45

# Of extraction: the network, its images' side, and how many are timed.
_NETWORK, _SIDE, _BATCH = 'resnet_v1_50', 224, 32

# Seconds after which a call is not repeated, of which compilation is little.
_LONG = 30

# How many times faster than the usual formulation a measure is to be.
BARS = {'logme': 5, 'parc': 5, 'sfda': 3, 'transrate': 5, 'knn': 3}
_RIVALS = {name: getattr(usual, name) for name in (*BARS, 'h_score', 'lfc')}

_ROW = '{:22} {:>8} {:>8} {:>10} {:>8} {:>7} {:>12} {:>12}'


def make_problem() -> dict:
  """What measures are given, but for a checkpoint that could be fine-tuned."""
  rng = np.random.default_rng(0)
  labels = rng.integers(_CLASSES, size=_EXAMPLES).astype(np.int32)
  centres = _SEPARATION * rng.normal(size=(_CLASSES, _DIMS))
  hidden = centres[labels] + rng.normal(size=(_EXAMPLES, _DIMS))
  hidden *= (1 + np.arange(_DIMS)) ** -0.5
  rotation = np.linalg.qr(rng.normal(size=(_DIMS, _DIMS)))[0]
  logits = rng.normal(size=(_EXAMPLES, _SOURCE_CLASSES))
  logits[np.arange(_EXAMPLES), labels] += 4
  probs = np.exp(logits)
  probs /= probs.sum(axis=1, keepdims=True)
  x = (hidden @ rotation + 0.5).astype(np.float32)
  return {
    'features': x,
    'labels': labels,
    'source_probs': probs.astype(np.float32),
    'num_parameters': 1,
    'upstream_accuracy': 0.5,
  }


def _time(function: Callable[[], float]) -> tuple[float, float]:
  start = time.perf_counter()
  found = function()
  return time.perf_counter() - start, found


def measure(name: str, problem: dict, *, repeats: int) -> dict:
  """One record: seconds of a measure, of how sure it is and of its rival."""

  def ours():
    return measures.score(name, **problem)

  def evaluated():
    return measures.evaluate(name, **problem).score

  first, score = _time(ours)
  record = {'measure': name, 'first_seconds': first, 'score': score}
  if first > _LONG and name not in BARS:
    return record
  record['warm_seconds'] = min(_time(ours)[0] for _ in range(repeats))
  record['evaluated_seconds'] = _time(evaluated)[0]
  if name in _RIVALS:
    given = problem['features'], problem['labels']
    timed = [
      _time(lambda: float(_RIVALS[name](*given))) for _ in range(repeats)
    ]
    record['usual_seconds'], record['usual_score'] = min(timed)
    record['ratio'] = record['usual_seconds'] / record['warm_seconds']
  return record


def extraction_seconds() -> float:
  """Of N images, from a few of them by a network of random weights."""
  network = models.build(_NETWORK, num_classes=_SOURCE_CLASSES)
  images = np.zeros((_BATCH, _SIDE, _SIDE, 3), np.float32)
  variables = jax.jit(network.init)(jax.random.key(0), images[:1])
  apply = jax.jit(functools.partial(models.infer, network))
  jax.block_until_ready(apply(variables, images))
  seconds, _ = _time(lambda: jax.block_until_ready(apply(variables, images)))
  return seconds * _EXAMPLES / _BATCH


def _row_of(record: dict) -> str:
  def number(key, form='.3f'):
    return format(record[key], form) if key in record else ''

  return _ROW.format(
    record['measure'],
    number('first_seconds', '.2f'),
    number('warm_seconds'),
    number('evaluated_seconds'),
    number('usual_seconds'),
    number('ratio', '.1f'),
    number('score', '.6g'),
    number('usual_score', '.6g'),
  )


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--only', default='', help='names, comma-separated')
  parser.add_argument('--repeats', type=int, default=2)
  parser.add_argument('--json', type=pathlib.Path)
  arguments = parser.parse_args()
  only = [name for name in arguments.only.split(',') if name]
  warnings.simplefilter('ignore', measures.MeasureWarning)
  columns = 'measure first,s warm,s evaluated,s usual,s × score usual'
  print(_ROW.format(*columns.split()), flush=True)
  problem = make_problem()
  result = {
    'machine': {
      'processor': platform.processor() or platform.machine(),
      'cores': os.cpu_count(),
      'load': os.getloadavg()[0],
    },
    'records': [],
  }
  for name in only or measures.names():
    lack = measures.lacks(name, **problem)
    if lack:
      print(lack)
      continue
    record = measure(name, problem, repeats=arguments.repeats)
    result['records'].append(record)
    print(_row_of(record), flush=True)
    if arguments.json:
      arguments.json.write_text(json.dumps(result, indent=1) + '\n')
  print()
  for record in result['records']:
    bar = BARS.get(record['measure'])
    if bar:
      verdict = 'met' if record['ratio'] >= bar else 'MISSED'
      print(
        f'{record["measure"]:22} {record["ratio"]:5.1f}× of {bar}× {verdict}'
      )
  if not only:
    result['extraction_seconds'] = extraction_seconds()
    print(
      f'Extraction of {_EXAMPLES:,} images at {_SIDE} px by {_NETWORK}, from '
      f'{_BATCH} of them: {result["extraction_seconds"]:.0f} s'
    )
    if arguments.json:
      arguments.json.write_text(json.dumps(result, indent=1) + '\n')


if __name__ == '__main__':
  main()
