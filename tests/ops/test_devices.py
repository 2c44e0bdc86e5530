# SPDX-License-Identifier: Apache-2.0
import os
import pathlib
import socket
import subprocess
import sys

import numpy as np
import pytest

_HERE = pathlib.Path(__file__).parent
_ROOT = _HERE.parents[1]

# Ample for two processes on a busy machine.
_TIMEOUT = 300


def _launch(*arguments):
  environment = {
    **{k: v for k, v in os.environ.items() if k != 'XLA_FLAGS'},
    'PYTHONPATH': str(_ROOT),
  }
  return subprocess.Popen(
    [sys.executable, str(_HERE / 'spread_worker.py'), *map(str, arguments)],
    env=environment,
    stderr=subprocess.PIPE,
    text=True,
  )


def _finish(process):
  _, errors = process.communicate(timeout=_TIMEOUT)
  assert process.returncode == 0, errors[-2000:]


@pytest.fixture(scope='module')
def one_device(tmp_path_factory):
  out = tmp_path_factory.mktemp('one') / 'out.npz'
  _finish(_launch(out, 1))
  return np.load(out)


def _assert_same(got, wanted):
  for name in wanted.files:
    scale = np.abs(wanted[name]).max()
    np.testing.assert_allclose(
      got[name], wanted[name], atol=1e-5 * scale, err_msg=name
    )


@pytest.mark.slow
@pytest.mark.parametrize('num_devices', [2, 8])
def test_many_devices_are_one_device(one_device, num_devices, tmp_path):
  _finish(_launch(tmp_path / 'out.npz', num_devices))
  _assert_same(np.load(tmp_path / 'out.npz'), one_device)


@pytest.mark.slow
def test_two_processes_are_one_device(one_device, tmp_path):
  with socket.socket() as probe:
    probe.bind(('127.0.0.1', 0))
    port = probe.getsockname()[1]
  workers = [
    _launch(tmp_path / f'out{rank}.npz', 2, port, rank, 2) for rank in (0, 1)
  ]
  for worker in workers:
    _finish(worker)
  for rank in (0, 1):
    _assert_same(np.load(tmp_path / f'out{rank}.npz'), one_device)
