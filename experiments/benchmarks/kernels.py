# SPDX-License-Identifier: Apache-2.0
"""The kernels beside scikit-learn, gmmx and faiss, on this machine.

    python -m experiments.benchmarks.kernels [--only=em,pca] [--json=FILE]

Prints a row for each piece of work and each peer as it is measured: the
first call (with compilation), the median of `--repeats` warm calls, the peak
resident memory, and what it found: log-likelihood in nats per example, NLEEP,
inertia or kept dimensions. Then which bars are met, how the time grows, and how
much of the machine's matmul ceiling EM reaches. Every peer runs in a
process of its own, one after another, on the same arrays and, for EM, from the
same initial means. Whatever was cached by earlier runs is not used.

gmmx and faiss-cpu are optional, and in no requirements file: install them to
see them; they are reported as absent if they aren't. The JSON has all of it,
and is written anew after each row.
"""

import argparse
import json
import os
import pathlib
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator

import numpy as np

from experiments.benchmarks import peers, works

# Judged from cold, so that no peer is asked again.
_COLD_FOR_ALL = ('nleep_16_checkpoints',)

# A peer that takes longer has lost.
_TIMEOUT_SECONDS = 600

# By how much a score may fall short of that of another random initialisation,
# and an inertia, as a share, exceed it.
_NLEEP_NOISE = 0.02
_LOG_LIKELIHOOD_NOISE = 0.5
_INERTIA_NOISE = 0.01

_ROW = '{:24} {:17} {:>8} {:>8} {:>7} {:>8}  {}'

# (work, peer) to what was measured.
Measured = dict[tuple[str, str], dict]


def _ratio(work: str, rival: str, quantity: str) -> Callable:
  """How many times the rival's quantity is ours."""
  return lambda m: m[work, rival][quantity] / m[work, 'ours'][quantity]


def _gain(work: str, rival: str, name: str) -> Callable:
  """By how much ours found more."""
  return lambda m: (
    m[work, 'ours']['found'][name] - m[work, rival]['found'][name]
  )


def _excess_mb(measured: Measured) -> float:
  """Peak memory of EM beyond three times its features."""
  work = 'memory_200000x128_2000'
  n, d, _, _ = works.EM[work]
  return measured[work, 'ours']['peak_mb'] - 3 * n * d * 4 / 2**20


def _growth(axis: str) -> Callable:
  """The slope of log time over log size."""

  def exponent(measured: Measured) -> float:
    sizes = works.GROWTH[axis]
    seconds = [
      measured[f'growth_{axis}_{size}', 'ours']['warm_seconds']
      for size in sizes
    ]
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])

  return exponent


def _share_of_ceiling(work: str) -> Callable:
  def share(measured: Measured) -> float:
    speed = works.em_flops(work) / measured[work, 'ours']['warm_seconds']
    ceiling = works.ceiling_flops()
    return speed / (ceiling / measured['ceiling', 'ours']['warm_seconds'])

  return share


_EM_SMALL, _EM_LARGE = 'em_5000x128_500', 'em_20000x200_1000'
_NLEEP, _KMEANS = 'nleep_5000x2048_500', 'kmeans_20000x200_1000'
_F64 = 'scikit-learn f64'

# What is asked: its value, and the least or the most it may be, if any.
BARS = {
  'EM 5,000: scikit-learn f64 / ours, s': (
    _ratio(_EM_SMALL, _F64, 'warm_seconds'), '>=', 8,
  ),
  'EM 5,000: gmmx / ours, s': (
    _ratio(_EM_SMALL, 'gmmx', 'warm_seconds'), '>=', 8,
  ),
  'EM 20,000: scikit-learn f64 / ours, s': (
    _ratio(_EM_LARGE, _F64, 'warm_seconds'), '>=', 8,
  ),
  'EM 20,000: scikit-learn f64 / ours, MB': (
    _ratio(_EM_LARGE, _F64, 'peak_mb'), '>=', 2,
  ),
  'NLEEP 5,000: scikit-learn / ours, s': (
    _ratio(_NLEEP, _F64, 'warm_seconds'), '>=', 8,
  ),
  'NLEEP 5,000: gain in NLEEP': (
    _gain(_NLEEP, _F64, 'NLEEP'), '>=', -_NLEEP_NOISE,
  ),
  'NLEEP 5,000: gain in log-likelihood': (
    _gain(_NLEEP, _F64, 'log-likelihood'), '>=', -_LOG_LIKELIHOOD_NOISE,
  ),
  '16 checkpoints, cold: scikit-learn / ours, s': (
    _ratio('nleep_16_checkpoints', _F64, 'cold_seconds'), '>=', 4,
  ),
  'k-means: faiss / ours, s': (
    _ratio(_KMEANS, 'faiss', 'warm_seconds'), '>=', 0.5,
  ),
  'k-means: inertia, ours / faiss': (
    lambda m: m[_KMEANS, 'ours']['found']['inertia']
    / m[_KMEANS, 'faiss']['found']['inertia'],
    '<=', 1 + _INERTIA_NOISE,
  ),
  'PCA 5,000: scikit-learn f64 / ours, s': (
    _ratio('pca_5000x2048', _F64, 'warm_seconds'), '>=', 3,
  ),
  'PCA 5,000: scikit-learn f32 / ours, s': (
    _ratio('pca_5000x2048', 'scikit-learn f32', 'warm_seconds'), '>=', 3,
  ),
  'PCA 1,500: scikit-learn f64 / ours, s': (
    _ratio('pca_1500x2048', _F64, 'warm_seconds'), '>=', 3,
  ),
  'PCA 1,500: scikit-learn f32 / ours, s': (
    _ratio('pca_1500x2048', 'scikit-learn f32', 'warm_seconds'), '>=', 3,
  ),
  'peak of EM at 200,000 less 3 × features, MB': (_excess_mb, '<=', 500),
  'five seeds: together / one after another, s': (
    lambda m: m['seeds_together', 'ours']['warm_seconds']
    / m['seeds_apart', 'ours']['warm_seconds'], '<=', 1,
  ),
  'EM grows with N to the power of': (_growth('N'), '<=', 1.1),
  'EM grows with K to the power of': (_growth('K'), '<=', 1.1),
  'matmul ceiling, GFLOP/s': (
    lambda m: works.ceiling_flops()
    / m['ceiling', 'ours']['warm_seconds'] / 1e9,
    '', None,
  ),
  'EM 5,000: share of the ceiling': (_share_of_ceiling(_EM_SMALL), '', None),
  'EM 20,000: share of the ceiling': (_share_of_ceiling(_EM_LARGE), '', None),
}  # fmt: skip


def _measure(work: str, peer: str, repeats: int) -> dict:
  """Runs one peer in a process of its own."""
  environment = {
    k: v for k, v in os.environ.items() if k != 'JAX_COMPILATION_CACHE_DIR'
  }
  with tempfile.TemporaryDirectory() as folder:
    out = pathlib.Path(folder) / 'out.json'
    command = [sys.executable, '-m', 'experiments.benchmarks.peers']
    command += [work, peer, str(repeats), str(out)]
    try:
      done = subprocess.run(
        command,
        env=environment,
        timeout=_TIMEOUT_SECONDS,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
      )
    except subprocess.TimeoutExpired:
      return {'absent': f'over {_TIMEOUT_SECONDS} s'}
    if done.returncode:
      return {'absent': (done.stderr.strip().splitlines() or ['killed'])[-1]}
    return json.loads(out.read_text())


def measure_all(only: list[str], repeats: int) -> Iterator[dict]:
  """One record for each work and peer, as it is made."""
  for work, names in peers.WORKS.items():
    if only and not any(work.startswith(prefix) for prefix in only):
      continue
    for peer in names:
      warm = 0 if work in _COLD_FOR_ALL else repeats
      found = _measure(work, peer, warm)
      yield {'work': work, 'peer': peer, **found}


def row_of(record: dict, ours: dict) -> str:
  """A line of the table, beside `ours` at the same work."""
  names = record['work'], record['peer']
  if 'absent' in record:
    return _ROW.format(*names, '', '', '', '', record['absent'])
  quantity = 'warm_seconds'
  if record['work'] in _COLD_FOR_ALL:
    quantity = 'cold_seconds'
  ratio = ''
  if quantity in ours:
    ratio = f'{record[quantity] / ours[quantity]:.1f}×'
  return _ROW.format(
    *names,
    f'{record["first_seconds"]:.2f}',
    f'{record["warm_seconds"]:.3f}',
    ratio,
    f'{record["peak_mb"]:.0f}',
    ', '.join(f'{k} {v:.6g}' for k, v in record['found'].items()),
  )


def judge(measured: Measured) -> list[dict]:
  """Each bar whose peers have all been measured."""
  verdicts = []
  for name, (value_of, sign, bound) in BARS.items():
    try:
      value = value_of(measured)
    except KeyError:  # left out by --only, or absent
      continue
    met = {'>=': value >= (bound or 0), '<=': value <= (bound or 0), '': None}
    verdicts.append(
      {'bar': name, 'value': value, 'bound': bound, 'met': met[sign]}
    )
  return verdicts


def _print_verdicts(verdicts: list[dict]) -> None:
  for verdict in verdicts:
    asked = ''
    if verdict['met'] is not None:
      sign = BARS[verdict['bar']][1]
      asked = f'{sign} {verdict["bound"]:<6g} '
      asked += 'met' if verdict['met'] else 'MISSED'
    print(f'{verdict["bar"]:46} {verdict["value"]:9.3f}  {asked}', flush=True)


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--only', default='', help='prefixes of works')
  parser.add_argument('--repeats', type=int, default=5)
  parser.add_argument('--json', type=pathlib.Path)
  arguments = parser.parse_args()
  only = [prefix for prefix in arguments.only.split(',') if prefix]
  machine = {
    'processor': platform.processor() or platform.machine(),
    'cores': os.cpu_count(),
  }
  columns = 'work peer first,s warm,s ours× peak,MB found'
  print(_ROW.format(*columns.split()), flush=True)
  records = []
  for record in measure_all(only, arguments.repeats):
    # Whoever else was at work on the machine is part of the measurement.
    records.append({**record, 'load': os.getloadavg()[0]})
    measured = {(r['work'], r['peer']): r for r in records}
    ours = measured.get((record['work'], 'ours'), {})
    print(row_of(record, ours), flush=True)
    verdicts = judge(measured)
    if arguments.json:
      result = {'machine': machine, 'records': records, 'bars': verdicts}
      arguments.json.write_text(json.dumps(result, indent=1) + '\n')
  if records:
    print()
    _print_verdicts(verdicts)


if __name__ == '__main__':
  main()
