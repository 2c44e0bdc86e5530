# SPDX-License-Identifier: Apache-2.0
"""Features don't depend on how many devices and processes make them."""

import json
import os
import pathlib
import socket
import subprocess
import sys

import numpy as np
import small

from neucrab_jax import features
from neucrab_jax.features import extraction

_ROOT = pathlib.Path(__file__).parents[2]
_TIMEOUT = 120


def start(folder, options, *, devices=1):
  """Runs `small` in a process of its own."""
  flags = os.environ.get('XLA_FLAGS', '')
  environment = {
    **os.environ,
    'JAX_PLATFORMS': 'cpu',
    'PYTHONPATH': str(_ROOT),
    'XLA_FLAGS': f'{flags} --xla_force_host_platform_device_count={devices}',
  }
  return subprocess.Popen(
    [sys.executable, small.__file__, folder, json.dumps(options)],
    env=environment,
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )


def finish(processes):
  """Waits for all, and gives their exit statuses and what they printed."""
  try:
    printed = [
      process.communicate(timeout=_TIMEOUT)[0] for process in processes
    ]
  finally:
    for process in processes:
      process.kill()
  return [process.returncode for process in processes], printed


def start_pod(tmp_path, options, *, processes, devices=1):
  """Starts processes that know of each other through the loopback interface."""
  with socket.socket() as free:
    free.bind(('127.0.0.1', 0))
    address = f'127.0.0.1:{free.getsockname()[1]}'
  return [
    start(
      tmp_path / str(i),
      {
        **options,
        'distributed': {
          'coordinator_address': address,
          'num_processes': processes,
          'process_id': i,
        },
      },
      devices=devices,
    )
    for i in range(processes)
  ]


def assert_same(found, expected):
  np.testing.assert_array_equal(found.labels, expected.labels)
  assert found.labels.dtype == expected.labels.dtype
  for name in ('features', 'source_probs'):
    one, other = getattr(found, name), getattr(expected, name)
    assert one.shape == other.shape
    difference = np.linalg.norm(np.float64(one) - other)
    assert difference <= 1e-6 * np.linalg.norm(other)


def extract_here(num_examples):
  return extraction.extract(
    small.make_backbone(),
    small.make_examples(num_examples),
    batch_size=num_examples,
  )


def test_the_size_of_a_batch_does_not_matter():
  found = extraction.extract(
    small.make_backbone(), small.make_examples(13), batch_size=4
  )
  assert_same(found, extract_here(13))


def test_the_number_of_devices_does_not_matter(tmp_path):
  devices, batch_sizes = 8, (8, 5)
  runs = [(13, batch_size) for batch_size in batch_sizes]
  process = start(tmp_path, {'runs': runs}, devices=devices)
  statuses, printed = finish([process])
  assert statuses == [0], printed[0]
  assert f'devices: {devices}' in printed[0]
  for batch_size in batch_sizes:
    found = features.read(tmp_path / f'13-{batch_size}.npz')
    assert_same(found, extract_here(13))


def test_every_process_gets_what_a_single_one_would(tmp_path):
  # Of two examples the second process has none.
  processes, devices, counts = 2, 2, (13, 2)
  pod = start_pod(
    tmp_path,
    {'runs': [(num_examples, 4) for num_examples in counts]},
    processes=processes,
    devices=devices,
  )
  statuses, printed = finish(pod)
  assert statuses == [0] * processes, '\n'.join(printed)
  for num_examples in counts:
    expected = extract_here(num_examples)
    for i in range(processes):
      found = features.read(tmp_path / str(i) / f'{num_examples}-4.npz')
      assert_same(found, expected)


def test_when_one_process_fails_all_do(tmp_path):
  pod = start_pod(tmp_path, {'runs': [(13, 8)], 'broken': 12}, processes=2)
  statuses, printed = finish(pod)
  assert 0 not in statuses
  assert 'Another process failed on its examples.' in printed[0]
  assert 'The image is a sandwich.' in printed[1]
  assert not list(tmp_path.rglob('*.npz'))
