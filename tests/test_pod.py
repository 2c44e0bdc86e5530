# SPDX-License-Identifier: Apache-2.0
"""A command on several processes, which find each other as on a cluster."""

import json
import os
import pathlib
import socket
import subprocess
import sys

from configs import measure as measure_config
from tests.ranking import ranked

ROOT = pathlib.Path(__file__).parents[1]
# The ports from which JAX takes one, by the number of the job.
_FIRST_PORT, _PORTS = 61_440, 4096


def free_job():
  """The number of a job whose port is free."""
  for job in range(_PORTS):
    with socket.socket() as tried:
      try:
        tried.bind(('127.0.0.1', _FIRST_PORT + job))
      except OSError:
        continue
      return job
  raise OSError('There is no free port.')


def test_two_processes_of_slurm_rank_as_one(tmp_path, make_home):
  config = measure_config.get_config('knn')
  config.checkpoints = 'mini_vae'
  config.task.num_examples = 61
  config.batch_size = 20
  config.cache_dir = str(tmp_path / 'cache_of_one')
  expected = ranked.rank(config, str(tmp_path / 'one'))
  job, home = free_job(), make_home(tmp_path)
  processes = [
    subprocess.Popen(
      [
        sys.executable,
        '-m',
        'neucrab_jax.rank',
        '--config=configs/measure.py:knn',
        '--distributed',
        '--config.checkpoints=mini_vae',
        '--config.task.num_examples=61',
        '--config.batch_size=20',
        f'--config.cache_dir={tmp_path}/cache',
        f'--workdir={tmp_path}/run',
      ],
      env={
        **os.environ,
        **home,
        'JAX_PLATFORMS': 'cpu',
        'JAX_DISABLE_MOST_OPTIMIZATIONS': '1',
        'SLURM_JOB_ID': str(job),
        'SLURM_STEP_NODELIST': '127.0.0.1',
        'SLURM_NTASKS': '2',
        'SLURM_PROCID': str(number),
        'SLURM_LOCALID': str(number),
      },
      cwd=ROOT,
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      text=True,
    )
    for number in range(2)
  ]
  try:
    printed = [one.communicate(timeout=120)[0] for one in processes]
  finally:
    for process in processes:
      process.kill()
  assert [one.returncode for one in processes] == [0, 0], printed
  # The first alone tells of it.
  assert 'Written to' in printed[0]
  assert 'Written to' not in printed[1]
  found = json.loads((tmp_path / 'run' / 'ranking.json').read_text())
  assert found['environment']['processes'] == 2
  assert ranked.scores_of(found) == ranked.scores_of(expected)
  assert [file.name for file in (tmp_path / 'cache').glob('*.npz')]
