# SPDX-License-Identifier: Apache-2.0
"""A process that runs cases, one after another, so that none can hang us.

It writes a line of JSON before and after each case.
"""

import json
import os
import pathlib
import select
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator

import numpy as np

from experiments.attack import cases

# Generous: what takes so long on a slow machine is waiting for something.
_MOST_SECONDS = 180.0

# By how often each comes.
_ROUTES = {
  'arrays': 6,
  'feature files': 4,
  'image folders': 2,
  'image arrays': 2,
  'csv': 2,
  'ranking.json': 3,
  'scores': 2,
  'cache': 1,
  'accuracies': 1,
  'settings': 4,
  'weights': 2,
  'archives': 1,
  'onnx': 1,
  'exported': 1,
}
_ORDER = [name for name, share in _ROUTES.items() for _ in range(share)]


def route_of(number: int) -> str:
  """The route of a case: all of them come soon, each as often as it should."""
  return _ORDER[number * 7 % len(_ORDER)]


def _make(route: str, rng: np.random.Generator, folder: pathlib.Path):
  """Makes a case of a route; what it needs is imported late."""
  from experiments.attack import (
    arrays,
    feature_files,
    graphs,
    images,
    own_records,
    records,
    settings,
    weights,
  )

  makers = {
    'arrays': arrays.make,
    'feature files': feature_files.make,
    'image folders': images.make_folder,
    'image arrays': images.make_arrays,
    'csv': records.make_csv,
    'ranking.json': records.make_ranking,
    'scores': own_records.make_scores,
    'cache': own_records.make_cache,
    'accuracies': own_records.make_accuracies,
    'settings': settings.make,
    'weights': weights.make,
    'archives': weights.make_archive,
    'onnx': graphs.make,
    'exported': graphs.make_exported,
  }
  return makers[route](rng, folder)


def run_one(seed: int, number: int, folder: pathlib.Path) -> cases.Outcome:
  """Makes a case and runs it."""
  route = route_of(number)
  own = folder / str(number)
  own.mkdir()
  try:
    case = _make(route, np.random.default_rng([seed, number]), own)
  except Exception:  # The sound input did not go through, or we are at fault.
    return cases.Outcome('traceback', 'a sound input', traceback.format_exc())
  return cases.run(case)


def serve(seed: int, first: int, last: int, folder: pathlib.Path) -> None:
  """Runs cases, and says what came of them on the standard output."""
  # What is written beside a case, by whatever name, goes with its folder.
  (folder / 'work').mkdir()
  os.chdir(folder / 'work')
  say = os.fdopen(os.dup(1), 'w')
  quiet = os.open(os.devnull, os.O_WRONLY)
  os.dup2(quiet, 1)

  def write(*what):
    print(json.dumps(what), file=say, flush=True)

  for number in range(first, last):
    write('begin', number)
    found = run_one(seed, number, folder)
    write('end', number, found.kind, found.about, found.details)


def _start(
  seed: int, first: int, last: int, folder: str, log
) -> subprocess.Popen:
  home = {'HOME': folder, 'XDG_CACHE_HOME': f'{folder}/cache'}
  home['PYTHONPATH'] = os.pathsep.join(filter(None, sys.path))
  return subprocess.Popen(
    [
      *(sys.executable, '-m', 'experiments.attack'),
      f'--serve={seed}:{first}:{last}:{folder}',
    ],
    env={'JAX_PLATFORMS': 'cpu', **os.environ, **home, 'COLUMNS': '160'},
    stdin=subprocess.DEVNULL,
    stdout=subprocess.PIPE,
    stderr=log,
  )


def _lines(process: subprocess.Popen) -> Iterator[list | None]:
  """What a worker says; None if it says nothing for too long."""
  assert process.stdout is not None
  buffer = b''
  while True:
    ready, _, _ = select.select([process.stdout], [], [], _MOST_SECONDS)
    if not ready:
      yield None
      return
    read = os.read(process.stdout.fileno(), 1 << 16)
    if not read:
      return
    *whole, buffer = (buffer + read).split(b'\n')
    yield from map(json.loads, whole)


def run(seed: int, count: int) -> Iterator[tuple[int, cases.Outcome]]:
  """Runs cases in workers, a new one where the last was hung or crashed."""
  number = 0
  while number < count:
    with (
      tempfile.TemporaryDirectory(prefix='attack-') as folder,
      tempfile.TemporaryFile() as log,
    ):
      process = _start(seed, number, count, folder, log)
      kind = 'traceback'
      for line in _lines(process):
        if line is None:
          kind = 'hang'
        elif line[0] == 'end':
          yield number, cases.Outcome(*line[2:])
          number += 1
      process.kill()
      process.communicate()
      if number < count:
        log.seek(0)
        end = log.read()[-3_000:].decode(errors='replace')
        yield number, cases.Outcome(kind, 'the process ended', end)
        number += 1
