# SPDX-License-Identifier: Apache-2.0
import os
import pathlib
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest
import spread_worker

_HERE = pathlib.Path(__file__).parent
_ROOT = _HERE.parents[1]

# Ample for two processes on a busy machine.
_TIMEOUT = 300


def _launch(*arguments):
  return subprocess.Popen(
    [sys.executable, str(_HERE / 'spread_worker.py'), *map(str, arguments)],
    env={**os.environ, 'PYTHONPATH': str(_ROOT)},
    stderr=subprocess.PIPE,
    text=True,
  )


def _finish(process):
  _, errors = process.communicate(timeout=_TIMEOUT)
  assert process.returncode == 0, errors[-2000:]


@pytest.fixture(scope='module')
def one_device():
  return spread_worker.fit(jax.devices()[:1])


def _assert_same(got, wanted):
  for name in wanted:
    scale = np.abs(wanted[name]).max()
    np.testing.assert_allclose(
      got[name], wanted[name], atol=1e-5 * scale, err_msg=name
    )


@pytest.mark.slow
def test_many_devices_are_one_device(one_device, tmp_path):
  _finish(_launch(tmp_path, 8, 'out'))
  _assert_same(np.load(tmp_path / 'out.npz'), one_device)


@pytest.mark.slow
def test_two_processes_are_one_device(one_device, tmp_path):
  with socket.socket() as probe:
    probe.bind(('127.0.0.1', 0))
    port = probe.getsockname()[1]
  workers = [_launch(tmp_path, 2, rank, port, rank, 2) for rank in (0, 1)]
  for worker in workers:
    _finish(worker)
  for rank in (0, 1):
    _assert_same(np.load(tmp_path / f'{rank}.npz'), one_device)
