# SPDX-License-Identifier: Apache-2.0
"""Runs the attack and prints what came of it."""

import argparse
import pathlib
import sys
import tempfile
from collections.abc import Sequence

import numpy as np

from experiments.attack import cases, kills, worker


def attack(
  seed: int,
  inputs: int,
  num_kills: int,
  *,
  killed: Sequence[str] = kills.ROUTES,
  show: bool = False,
) -> cases.Table:
  """Runs cases and kills, and gives the counts of their outcomes.

  Args:
    seed: of all that is drawn.
    inputs: how many cases.
    num_kills: how many kills, over those commands.
    killed: the commands.
    show: prints each fault as it is found.
  """
  table = cases.Table()

  def add(route, number, outcome):
    table.add(route, outcome)
    if show and outcome.kind in cases.FAULTS:
      print(
        f'--- {route} {number}: {outcome.kind}: {outcome.about}\n'
        f'{outcome.details}',
        flush=True,
      )

  for number, outcome in worker.run(seed, inputs):
    add(worker.route_of(number), number, outcome)
  rng = np.random.default_rng([seed, inputs])
  shares = np.array_split(np.arange(num_kills), len(killed))
  for command, share in zip(killed, shares, strict=True):
    if not len(share):
      continue
    with tempfile.TemporaryDirectory(prefix='attack-') as folder:
      storm = kills.Storm(command, pathlib.Path(folder))
      for number in share:
        add(
          f'kills, {command}', number, storm.kill(rng, last=number == share[-1])
        )
  return table


def main() -> int:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--seed', type=int, default=0)
  parser.add_argument('--inputs', type=int, default=1000)
  parser.add_argument('--kills', type=int, default=100)
  # Of the processes that it starts, and one case by its number.
  parser.add_argument('--serve', help=argparse.SUPPRESS)
  parser.add_argument('--only', type=int, help='run this case alone, here')
  arguments = parser.parse_args()
  if arguments.serve:
    seed, first, last, folder = arguments.serve.split(':', 3)
    worker.serve(int(seed), int(first), int(last), pathlib.Path(folder))
    return 0
  if arguments.only is not None:
    with tempfile.TemporaryDirectory(prefix='attack-') as folder:
      found = worker.run_one(
        arguments.seed, arguments.only, pathlib.Path(folder)
      )
    print(f'{found.kind}: {found.about}\n{found.details}')
    return found.kind in cases.FAULTS
  table = attack(arguments.seed, arguments.inputs, arguments.kills, show=True)
  print(table)
  return bool(table.faults)


if __name__ == '__main__':
  sys.exit(main())
