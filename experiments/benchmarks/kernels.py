# SPDX-License-Identifier: Apache-2.0
"""The kernels beside scikit-learn, gmmx and faiss, on this machine.

    python -m experiments.benchmarks.kernels [--only=em,pca] [--json=FILE]

Prints one table: for each piece of work and each contestant the first call
(with compilation), the median of `--repeats` warm calls, the peak resident
memory, and what it found: log-likelihood in nats per example, NLEEP, inertia
or kept dimensions. Every contestant runs in a process of its own, one after
another, on the same arrays and, for EM, from the same initial means.

gmmx and faiss-cpu are optional, and in no requirements file: install them to
see them; they are reported as absent if they aren't. What was measured where
is said in the JSON, of which the table is a view.
"""

import argparse
import json
import os
import pathlib
import platform
import subprocess
import sys
import tempfile
import time

import numpy as np
import rich.console
import rich.table

from experiments.benchmarks import contestants

# Calls of scikit-learn on the larger works take tens of seconds.
_SLOW_REPEATS = 1

# A contestant that takes longer has lost.
_TIMEOUT_SECONDS = 600


def _measure(work: str, contestant: str, repeats: int) -> dict:
  """Runs one contestant in a process of its own."""
  with tempfile.TemporaryDirectory() as folder:
    out = pathlib.Path(folder) / 'out.json'
    command = [sys.executable, '-m', 'experiments.benchmarks.contestants']
    command += [work, contestant, str(repeats), str(out)]
    started = time.perf_counter()
    try:
      done = subprocess.run(
        command,
        timeout=_TIMEOUT_SECONDS,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
      )
    except subprocess.TimeoutExpired:
      return {'absent': f'over {_TIMEOUT_SECONDS} s'}
    seconds = time.perf_counter() - started
    if done.returncode:
      return {'absent': done.stderr.strip().splitlines()[-1][:60]}
    return {**json.loads(out.read_text()), 'process_seconds': seconds}


def measure_all(only: list[str], repeats: int) -> list[dict]:
  """One record for each work and contestant."""
  records = []
  for work, names in contestants.WORKS.items():
    if only and not any(work.startswith(prefix) for prefix in only):
      continue
    for contestant in names:
      slow = contestant.startswith('scikit-learn')
      found = _measure(work, contestant, _SLOW_REPEATS if slow else repeats)
      records.append({'work': work, 'contestant': contestant, **found})
      print(f'{work}, {contestant}: done', file=sys.stderr)
  return records


def fit_exponents(records: list[dict]) -> dict[str, float]:
  """The slope of log time over log size, in N and in K."""
  warm = {
    record['work']: record['warm_seconds']
    for record in records
    if record['contestant'] == 'ours' and 'warm_seconds' in record
  }
  exponents = {}
  for axis, sizes in contestants.GROWTH.items():
    points = [
      (size, warm[f'growth_{axis}_{size}'])
      for size in sizes
      if f'growth_{axis}_{size}' in warm
    ]
    if len(points) > 1:
      x, y = np.log(np.transpose(points))
      exponents[axis] = float(np.polyfit(x, y, 1)[0])
  return exponents


def table_of(records: list[dict]) -> rich.table.Table:
  table = rich.table.Table(
    'work', 'contestant', 'first, s', 'warm, s', 'ours is', 'peak, MB', 'found'
  )
  warm_of_ours = {}
  for record in records:
    if 'absent' in record:
      table.add_row(
        record['work'], record['contestant'], record['absent'], *[''] * 4
      )
      continue
    if record['contestant'] == 'ours':
      warm_of_ours[record['work']] = record['warm_seconds']
    ratio = ''
    if record['work'] in warm_of_ours:
      ratio = f'{record["warm_seconds"] / warm_of_ours[record["work"]]:.1f}×'
    table.add_row(
      record['work'],
      record['contestant'],
      f'{record["first_seconds"]:.2f}',
      f'{record["warm_seconds"]:.3f}',
      ratio,
      f'{record["peak_mb"]:.0f}',
      ', '.join(f'{k} {v:.6g}' for k, v in record['found'].items()),
    )
  return table


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--only', default='', help='prefixes of works')
  parser.add_argument('--repeats', type=int, default=5)
  parser.add_argument('--json', type=pathlib.Path)
  arguments = parser.parse_args()
  only = [prefix for prefix in arguments.only.split(',') if prefix]
  load = os.getloadavg()[0]
  records = measure_all(only, arguments.repeats)
  result = {
    'machine': {
      'processor': platform.processor() or platform.machine(),
      'cores': os.cpu_count(),
      'load_before': load,
    },
    'records': records,
    'growth_exponents': fit_exponents(records),
  }
  rich.console.Console(width=120).print(table_of(records))
  for axis, exponent in result['growth_exponents'].items():
    print(f'EM grows as {axis}^{exponent:.2f}')
  if arguments.json:
    arguments.json.write_text(json.dumps(result, indent=1) + '\n')


if __name__ == '__main__':
  main()
