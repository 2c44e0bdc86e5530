# SPDX-License-Identifier: Apache-2.0
"""The loss curve does not depend on how many devices share a batch."""

import json
import os
import pathlib
import socket
import subprocess
import sys

import numpy as np
import pytest
import small_trainers

_ROOT = pathlib.Path(__file__).parents[2]
_TIMEOUT = 300
_OPTIONS = {'steps': 6}


def start(out, *, devices, **options):
  flags = os.environ.get('XLA_FLAGS', '')
  return subprocess.Popen(
    [
      sys.executable,
      small_trainers.__file__,
      out,
      json.dumps(_OPTIONS | options),
    ],
    env={
      **os.environ,
      'PYTHONPATH': str(_ROOT),
      'XLA_FLAGS': f'{flags} --xla_force_host_platform_device_count={devices}',
    },
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )


def finish(processes):
  try:
    printed = [p.communicate(timeout=_TIMEOUT)[0] for p in processes]
  finally:
    for process in processes:
      process.kill()
  assert [p.returncode for p in processes] == [0] * len(processes), printed
  return printed


@pytest.fixture(scope='module')
def one_device():
  return small_trainers.train_images(_OPTIONS['steps'])


def assert_same(curve, wanted):
  assert len(curve) == len(wanted) == _OPTIONS['steps']
  for name in ('loss', 'validation_loss', 'accuracy'):
    found = [point[name] for point in curve]
    expected = [getattr(point, name) for point in wanted]
    np.testing.assert_allclose(found, expected, atol=1e-4, err_msg=name)


def test_many_devices_are_one_device(one_device, tmp_path):
  out = tmp_path / 'curve.json'
  (printed,) = finish([start(out, devices=8)])
  assert 'devices: 8' in printed
  assert_same(json.loads(out.read_text()), one_device)


def test_two_processes_are_one_device(one_device, tmp_path):
  with socket.socket() as free:
    free.bind(('127.0.0.1', 0))
    address = f'127.0.0.1:{free.getsockname()[1]}'
  processes = [
    start(
      tmp_path / f'{i}.json',
      devices=2,
      folder=str(tmp_path / 'states'),
      distributed={
        'coordinator_address': address,
        'num_processes': 2,
        'process_id': i,
      },
    )
    for i in range(2)
  ]
  for printed in finish(processes):
    assert 'devices: 4' in printed
  for i in range(2):
    assert_same(json.loads((tmp_path / f'{i}.json').read_text()), one_device)
